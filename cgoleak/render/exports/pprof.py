"""The sites as a heap profile for ``go tool pprof`` and everything else that reads its format.

Report → gzipped ``profile.proto`` (google/pprof, ``proto/profile.proto``). Sample types are those
of Go's own heap profile, so that the same commands work on both. All names are in it: mappings say
so, that pprof does not look for symbols itself.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.model.catalog import CAUSES
from cgoleak.model.frames import Frame, Language
from cgoleak.render.exports.protobuf import field, number_field, numbers_field, text_field
from cgoleak.render.visible import visible
from cgoleak.units import format_seconds, plural

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from cgoleak.model.capture import Module
    from cgoleak.model.report import Finding, Report

__all__ = ["PprofRenderer"]

_SAMPLE_TYPES: Final = (("inuse_objects", "count"), ("inuse_space", "bytes"))
_DEFAULT: Final = "inuse_space"
_NANOSECONDS: Final = 1_000_000_000
_NO_STACK: Final = Frame(Language.UNKNOWN, "unknown stack")


@dataclass(frozen=True, slots=True)
class PprofRenderer:
    """Writes the same bytes for the same report: no time stamp is in the gzip header."""

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the profile."""
        out.write(gzip.compress(_Profile(report).encoded(), mtime=0))


class _Profile:
    """Collects strings, functions, locations and mappings, each once; ids count from 1."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[Hashable, int] = {}
        self._locations: dict[Hashable, int] = {}
        self._mappings: dict[str, int] = {}
        self._modules = {module.path.rpartition("/")[2]: module for module in report.modules}
        self._tables: list[bytes] = []

    def encoded(self) -> bytes:
        """Write the whole message; the string table comes last, when all strings are known."""
        report = self._report
        parts = [field(1, self._value_type(*one)) for one in _SAMPLE_TYPES]
        # pprof takes the first mapping for the program itself.
        self._mapping(report.target.exe.rpartition("/")[2])
        parts += [field(2, self._sample(finding)) for finding in report.findings]
        parts += self._tables
        if report.window.started_unix_seconds is not None:
            parts.append(number_field(9, int(report.window.started_unix_seconds * _NANOSECONDS)))
        parts.append(number_field(10, int(report.window.seconds * _NANOSECONDS)))
        parts += [field(11, self._value_type("space", "bytes")), number_field(12, 1)]
        parts.append(numbers_field(13, [self._string(text) for text in _comments(report)]))
        parts.append(number_field(14, self._string(_DEFAULT)))
        parts += [text_field(6, text) for text in self._strings]
        return b"".join(parts)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(visible(text), len(self._strings))

    def _value_type(self, name: str, unit: str) -> bytes:
        return number_field(1, self._string(name)) + number_field(2, self._string(unit))

    def _sample(self, finding: Finding) -> bytes:
        blocks, size = finding.outstanding_blocks, finding.outstanding_bytes
        stack = finding.stack or (_NO_STACK,)
        locations = [self._location(lines) for lines in _by_location(stack)]
        labels = [
            self._label("site", finding.site),
            self._label("verdict", finding.verdict.value),
        ]
        if blocks > 0:
            # Go's heap profile has the size of an object here; this is the mean.
            mean = number_field(1, self._string("bytes")) + number_field(3, size // blocks)
            labels.append(mean + number_field(4, self._string("bytes")))
        return (
            numbers_field(1, locations)
            + numbers_field(2, (blocks, size))
            + b"".join(field(3, label) for label in labels)
        )

    def _label(self, key: str, text: str) -> bytes:
        return number_field(1, self._string(key)) + number_field(2, self._string(text))

    def _location(self, frames: Sequence[Frame]) -> int:
        """Give the id of a place: a function and those that the compiler merged into it."""
        known = self._locations.get(tuple(frames))
        if known is not None:
            return known
        lines = b"".join(
            field(4, number_field(1, self._function(frame)) + number_field(2, frame.line or 0))
            for frame in frames
        )
        mapping = self._mapping(frames[-1].module or "")
        place = self._locations[tuple(frames)] = len(self._locations) + 1
        # Without addresses, which differ from run to run: a place is known by its lines, so that
        # -diff_base finds it again.
        self._tables.append(field(4, number_field(1, place) + number_field(2, mapping) + lines))
        return place

    def _function(self, frame: Frame) -> int:
        key = (frame.function, frame.file)
        known = self._functions.get(key)
        if known is not None:
            return known
        place = self._functions[key] = len(self._functions) + 1
        name = self._string(frame.function or "?")
        self._tables.append(
            field(
                5,
                number_field(1, place)
                + number_field(2, name)
                + number_field(3, name)
                + number_field(4, self._string(frame.file or "")),
            )
        )
        return place

    def _mapping(self, name: str) -> int:
        if not name:
            return 0
        known = self._mappings.get(name)
        if known is not None:
            return known
        place = self._mappings[name] = len(self._mappings) + 1
        module: Module | None = self._modules.get(name)
        size = 0 if module is None else max(0, module.end - module.start)
        self._tables.append(
            field(
                3,
                number_field(1, place)
                + number_field(3, size)
                + number_field(5, self._string(name if module is None else module.path))
                + number_field(6, self._string("" if module is None else module.build_id))
                + b"".join(number_field(has, 1) for has in (7, 8, 9, 10)),
            )
        )
        return place


def _by_location(stack: Sequence[Frame]) -> Iterator[tuple[Frame, ...]]:
    """Part a stack, leaf first, into functions with what is inlined in them, innermost first."""
    held: list[Frame] = []
    for frame in stack:
        held.append(frame)
        if not frame.inlined:
            yield tuple(held)
            held = []
    if held:
        yield tuple(held)


def _comments(report: Report) -> Iterator[str]:
    """Say what was measured, for ``pprof -comments``."""
    target, window = report.target, report.window
    yield f"cgoleak: {CAUSES[report.cause].label}: {report.summary}"
    yield (
        f"C memory allocated and not freed since attach, {format_seconds(window.seconds)}, "
        f"{plural(window.snapshots, 'snapshot')}, pid {target.pid} {target.exe}"
    )
    for notice in report.notices:
        yield f"{notice.code}: {notice.text}"
