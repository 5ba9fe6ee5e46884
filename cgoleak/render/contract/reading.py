"""A JSON report back into the value that it was written from.

Bytes → ``Report``, by the contract ``cgoleak.report/1``. Reports from CI artifacts can so be
compared and rendered again, without the capture. What a newer version has added is passed over;
what the contract promises must be there.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cgoleak.errors import NewerCapture, NotACapture
from cgoleak.model.capture import Module, Target
from cgoleak.model.frames import Frame, Language
from cgoleak.model.gate import Gate, Level, Violation
from cgoleak.model.goprofile import GoSiteGrowth
from cgoleak.model.handles import HandleFamily
from cgoleak.model.ids import Address, SiteKey
from cgoleak.model.notice import Notice
from cgoleak.model.report import (
    BalanceLine,
    Cause,
    Finding,
    GoReturn,
    HandleFinding,
    Report,
    ReportCost,
    ReportWindow,
    Restart,
    Timeline,
    Verdict,
)
from cgoleak.render.contract.document import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_report"]

_Made = TypeVar("_Made")
_SCHEMAS: Final = SCHEMA.partition("/")[0]
_COLUMNS: Final = (
    "rss_bytes",
    "go_in_use_bytes",
    "go_held_bytes",
    "outstanding_bytes",
    "slack_bytes",
    "gc_cycles",
)


def read_report(content: bytes, name: str) -> Report:
    """Read a report; ``name`` is for errors.

    Raises:
        NewerCapture: it is of a later major version.
        NotACapture: it is no report, or what the contract promises is missing.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotACapture(f"{name} is not a cgoleak report", cause="it is no JSON") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(f"{_SCHEMAS}/"):
            raise NewerCapture(f"{name} is of another version: {schema}", fix="update cgoleak")
        raise NotACapture(f"{name} is not a cgoleak report", cause=f"its schema is not {SCHEMA}")
    try:
        return _report(_Part(document, ""))
    except _Missing as error:
        raise NotACapture(f"{name} is not a whole report", cause=str(error)) from error


class _Missing(Exception):
    """Something that the contract promises is not there, or is of another kind."""


class _Part:
    """One object of the document, read by the names and kinds of the contract."""

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, dict):
            raise _Missing(f"{path or 'the document'} is no object")
        self._values: dict[str, Any] = values
        self._path = path

    def text(self, name: str) -> str:
        return self._of(name, str)

    def text_or_none(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self._of(name, str)

    def flag(self, name: str) -> bool:
        return self._of(name, bool)

    def whole(self, name: str) -> int:
        return _whole(self._values.get(name), self._at(name))

    def whole_or_none(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """A number; null, which stands for one that is not finite, is 0."""
        return _number(self._values.get(name), self._at(name))

    def number_or_none(self, name: str) -> float | None:
        return None if self._values.get(name) is None else self.number(name)

    def all_of(self, name: str, read: Callable[[_Part], _Made]) -> tuple[_Made, ...]:
        """Read a list of objects; one that is missing is empty, since it may be newer than it."""
        found = self._list(name)
        return tuple(read(_Part(one, f"{self._at(name)}[{at}]")) for at, one in enumerate(found))

    def one_of(self, name: str, read: Callable[[_Part], _Made]) -> _Made | None:
        found = self._values.get(name)
        return None if found is None else read(_Part(found, self._at(name)))

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._list(name)
        if not all(isinstance(one, str) for one in found):
            raise _Missing(f"{self._at(name)} has something other than text in it")
        return tuple(found)

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(_number(one, self._at(name)) for one in self._list(name))

    def wholes(self, name: str) -> tuple[int, ...]:
        return tuple(_whole(one, self._at(name)) for one in self._list(name))

    def wholes_or_none(self, name: str) -> tuple[int | None, ...]:
        return tuple(
            None if one is None else _whole(one, self._at(name)) for one in self._list(name)
        )

    def choice(self, name: str, kinds: type[_Made]) -> _Made:
        found = self._of(name, str)
        try:
            return kinds(found)  # type: ignore[call-arg]
        except ValueError as error:
            raise _Missing(f"{self._at(name)} is {found!r}, which is not known") from error

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def part(self, name: str) -> _Part:
        return _Part(self._values.get(name), self._at(name))

    def _of(self, name: str, kind: type[_Made]) -> _Made:
        found = self._values.get(name)
        if not isinstance(found, kind):
            raise _Missing(f"{self._at(name)} is missing or of another kind")
        return found

    def _list(self, name: str) -> list[Any]:
        found = self._values.get(name, [])
        if not isinstance(found, list):
            raise _Missing(f"{self._at(name)} is no list")
        return found

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _whole(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Missing(f"{path} is no whole number")
    return value


def _number(value: object, path: str) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Missing(f"{path} is no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise _Missing(f"{path} is too large") from error
    return number if math.isfinite(number) else 0.0


def _two(values: tuple[_Made, ...]) -> tuple[_Made, _Made] | None:
    """Give the ends of a range; None if they are not two."""
    return (values[0], values[1]) if len(values) == 2 else None


def _report(part: _Part) -> Report:
    return Report(
        target=_target(part.part("target")),
        window=_window(part.part("window")),
        cause=part.choice("cause", Cause),
        summary=part.text("summary"),
        balance=part.all_of("balance", _line),
        findings=part.all_of("findings", _finding),
        cost=_cost(part.part("cost")),
        notices=part.all_of("notices", _notice),
        go_return=part.one_of("go_return", _go_return),
        restarts=part.all_of("restarts", _restart),
        go_sites=part.all_of("go_sites", _go_site),
        gate=part.one_of("gate", _gate),
        timeline=part.one_of("timeline", _timeline),
        history_seconds=part.numbers("history_seconds"),
        modules=part.all_of("modules", _module),
        handles=part.all_of("handles", _handle),
        families=part.all_of("families", _family),
    )


def _target(part: _Part) -> Target:
    return Target(
        pid=part.whole("pid"),
        exe=part.text("exe"),
        go_version=part.text_or_none("go_version"),
        libc=part.text_or_none("libc"),
        allocator=part.text_or_none("allocator"),
        arch=part.text("arch"),
        stripped=part.flag("stripped"),
        godebug=part.text_or_none("godebug") or "",
    )


def _window(part: _Part) -> ReportWindow:
    return ReportWindow(
        seconds=part.number("seconds"),
        snapshots=part.whole("snapshots"),
        gc_cycles=part.whole_or_none("gc_cycles"),
        mode=part.text("mode"),
        started_unix_seconds=part.number_or_none("started_unix_seconds"),
        ended=part.text_or_none("ended"),
        sample_bytes=part.whole_or_none("sample_bytes"),
        sampled_since_seconds=part.number_or_none("sampled_since_seconds"),
        go_owners_change=part.whole_or_none("go_owners_change"),
    )


def _line(part: _Part) -> BalanceLine:
    return BalanceLine(
        part=part.text("part"),
        start_bytes=part.whole_or_none("start_bytes"),
        now_bytes=part.whole("now_bytes"),
        change_bytes=part.whole_or_none("change_bytes"),
        source=part.text("source"),
    )


def _finding(part: _Part) -> Finding:
    return Finding(
        site=SiteKey(part.text("site")),
        verdict=part.choice("verdict", Verdict),
        outstanding_bytes=part.whole("outstanding_bytes"),
        outstanding_blocks=part.whole("outstanding_blocks"),
        growth_bytes_per_second=part.number("growth_bytes_per_second"),
        oldest_seconds=part.number("oldest_seconds"),
        stack=part.all_of("stack", _frame),
        evidence=part.texts("evidence"),
        advice=part.text("advice"),
        suppression=part.text("suppression"),
        history_bytes=part.wholes("history_bytes"),
        samples=part.whole_or_none("samples") or 0,
        interval_bytes=_two(part.wholes("interval_bytes")) if part.has("interval_bytes") else None,
    )


def _handle(part: _Part) -> HandleFinding:
    return HandleFinding(
        site=SiteKey(part.text("site")),
        family=part.text("family"),
        verdict=part.choice("verdict", Verdict),
        outstanding=part.whole("outstanding"),
        outstanding_bytes=part.whole("outstanding_bytes"),
        growth_per_second=part.number("growth_per_second"),
        oldest_seconds=part.number("oldest_seconds"),
        stack=part.all_of("stack", _frame),
        evidence=part.texts("evidence"),
        advice=part.text("advice"),
        suppression=part.text("suppression"),
        creates=part.texts("creates"),
        destroys=part.texts("destroys"),
    )


def _family(part: _Part) -> HandleFamily:
    return HandleFamily(
        name=part.text("name"),
        creates=part.texts("creates"),
        destroys=part.texts("destroys"),
        created=part.whole("created"),
        destroyed=part.whole("destroyed"),
        gone=part.whole("gone"),
        unmatched=part.whole("unmatched"),
        dropped=part.whole("dropped"),
    )


def _frame(part: _Part) -> Frame:
    return Frame(
        lang=part.choice("lang", Language),
        function=part.text("function"),
        file=part.text_or_none("file"),
        line=part.whole_or_none("line"),
        module=part.text_or_none("module"),
        inlined=part.flag("inlined"),
    )


def _cost(part: _Part) -> ReportCost:
    return ReportCost(
        pause_seconds=part.number("pause_seconds"),
        target_bytes=part.whole("target_bytes"),
        events=part.whole("events"),
        dropped=part.whole("dropped"),
        unmatched_frees=part.whole("unmatched_frees"),
        ns_per_event=part.number_or_none("ns_per_event"),
        cpu_share=part.number_or_none("cpu_share"),
    )


def _notice(part: _Part) -> Notice:
    return Notice(part.text("code"), part.text("text"), part.text_or_none("fix"))


def _go_return(part: _Part) -> GoReturn:
    return GoReturn(
        held_bytes=part.whole("held_bytes"),
        returning_bytes=part.whole("returning_bytes"),
        buffer_bytes=part.whole("buffer_bytes"),
        within_seconds=_two(part.numbers("within_seconds")) if part.has("within_seconds") else None,
        why=part.text("why"),
    )


def _restart(part: _Part) -> Restart:
    return Restart(
        at=part.number("at"),
        old_pid=part.whole("old_pid"),
        new_pid=part.whole("new_pid"),
        reason=part.text("reason"),
        rss_before_bytes=part.whole("rss_before_bytes"),
        rss_after_bytes=part.whole("rss_after_bytes"),
    )


def _go_site(part: _Part) -> GoSiteGrowth:
    return GoSiteGrowth(
        function=part.text("function"),
        file=part.text_or_none("file"),
        line=part.whole_or_none("line"),
        in_use_bytes=part.whole("in_use_bytes"),
        change_bytes=part.whole("change_bytes"),
        stack=part.all_of("stack", _frame),
    )


def _timeline(part: _Part) -> Timeline | None:
    """Read the columns; without those of equal length there is no timeline."""
    seconds = part.numbers("seconds")
    columns = {name: part.wholes_or_none(name) for name in _COLUMNS}
    if any(len(column) != len(seconds) for column in columns.values()):
        return None
    return Timeline(seconds=seconds, **columns)


def _gate(part: _Part) -> Gate:
    return Gate(
        passed=part.flag("passed"),
        program=part.text("program"),
        policy=part.text_or_none("policy"),
        summary=part.text("summary"),
        violations=part.all_of("violations", _violation),
        iterations=part.whole_or_none("iterations"),
        tolerated=tuple(map(SiteKey, part.texts("tolerated"))),
        unused_suppressions=part.texts("unused_suppressions"),
        stale_baseline=tuple(map(SiteKey, part.texts("stale_baseline"))),
        compared=part.has("compared") and part.flag("compared"),
    )


def _violation(part: _Part) -> Violation:
    return Violation(
        site=SiteKey(part.text("site")),
        level=part.choice("level", Level),
        text=part.text("text"),
        baseline=part.text_or_none("baseline"),
        bytes_per_iteration=part.number_or_none("bytes_per_iteration"),
    )


def _module(part: _Part) -> Module:
    return Module(
        path=part.text("path"),
        build_id=part.text("build_id"),
        bias=part.whole("bias"),
        start=Address(part.whole("start")),
        end=Address(part.whole("end")),
    )
