"""What the page's scripts read: all findings and the timeline, in columns with shared strings.

Report → JSON for ``<script type="application/json">``. Five thousand sites share most of their
frames; each name and each frame stands there once.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.difference import Change
from cgoleak.model.frames import Language
from cgoleak.model.golibrary import go_package, is_go_library
from cgoleak.model.names import readable_name
from cgoleak.model.report import Verdict
from cgoleak.render.growth import growth_shown
from cgoleak.render.html.sites import LANGUAGE_CLASSES, name_of
from cgoleak.render.html.timechart import chart_of
from cgoleak.render.stacklines import GUTTER, brief_place, called_by_stub, place_of
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from cgoleak.model.difference import SiteChange
    from cgoleak.model.frames import Frame
    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["payload_of", "payload_of_difference", "safe_json"]

_LANGUAGES: Final = tuple(Language)


def payload_of(report: Report, words: Words, script_words: Sequence[str]) -> dict[str, Any]:
    """Return the document; ``script_words`` are the texts that scripts show."""
    tables = _Tables(words)
    sites = [_site(one, tables) for one in report.findings]
    names = ("key", "verdict", "bytes", "blocks", "growth", "oldest", "name", "stack")
    more = ("evidence", "advice", "mute", "history", "range")
    columns = list(zip(*sites, strict=True)) or [()] * len(names + more)
    chart = chart_of(report, words)
    line = report.timeline
    return {
        **_shared(tables, words, script_words),
        "verdicts": {one.value: words(VERDICTS[one].label) for one in Verdict},
        "sites": dict(zip(names + more, columns, strict=True)),
        "chart": None
        if chart is None or line is None
        else {
            "end": chart.end,
            "top": chart.top,
            "seconds": line.seconds,
            "curves": [
                {"name": one.name, "label": one.label, "values": getattr(line, one.name)}
                for one in chart.curves
            ],
            "gc": line.gc_cycles,
        },
    }


def payload_of_difference(
    changes: Sequence[SiteChange], words: Words, script_words: Sequence[str]
) -> dict[str, Any]:
    """Return what the flame view of a difference reads: by how much each site changed.

    What became of a site stands where a report has its verdict.
    """
    tables = _Tables(words)
    sites = [_changed(one, tables) for one in changes]
    names = ("key", "verdict", "bytes", "blocks", "growth", "stack")
    columns = list(zip(*sites, strict=True)) or [()] * len(names)
    return {
        **_shared(tables, words, script_words),
        "signed": True,
        "verdicts": {one.value: words(one.value) for one in Change},
        "sites": dict(zip(names, columns, strict=True)),
    }


def _changed(one: SiteChange, tables: _Tables) -> tuple[Any, ...]:
    def change(of: Callable[[Finding], float]) -> float:
        before, after = (0 if side is None else of(side) for side in (one.base, one.new))
        return after - before

    return (
        tables.of_text[one.site],
        one.change.value,
        change(lambda side: side.outstanding_bytes),
        change(lambda side: side.outstanding_blocks),
        _number(change(lambda side: side.growth_bytes_per_second)),
        [tables.of_frame[frame] for frame in one.shown.stack],
    )


def _shared(tables: _Tables, words: Words, script_words: Sequence[str]) -> dict[str, Any]:
    """Return what all scripts read; the tables have to be filled by then."""
    return {
        "lang": words.lang,
        "words": {text: words(text) for text in script_words if words(text) != text},
        "languages": [[LANGUAGE_CLASSES[one], GUTTER[one], one.value] for one in _LANGUAGES],
        "strings": tables.strings.rows,
        "frames": _columns(tables.frames.rows, 7),
    }


def safe_json(document: object) -> str:
    """Write JSON that no HTML parser takes for the end of its element, or for a comment."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Table:
    """Rows, each kept once; gives their places."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._places: dict[Hashable, int] = {}

    def place(self, row: Hashable) -> int:
        found = self._places.get(row)
        if found is None:
            found = self._places[row] = len(self.rows)
            self.rows.append(row)
        return found


_Key = TypeVar("_Key")


class _Places(dict[_Key, int]):
    """Places by what stands there; what was not met before is entered."""

    def __init__(self, enter: Callable[[_Key], int]) -> None:
        super().__init__()
        self._enter = enter

    def __missing__(self, key: _Key) -> int:
        place = self[key] = self._enter(key)
        return place


class _Tables:
    def __init__(self, words: Words) -> None:
        self.words = words
        self.strings = _Table()
        self.frames = _Table()
        self.of_text = _Places(self._text)
        self.of_frame = _Places(self._frame)
        self.of_said = _Places(self._said)

    def _text(self, foreign: str) -> int:
        return self.strings.place(visible(foreign))

    def _said(self, sentence: str) -> int:
        return self.of_text[self.words(sentence)]

    def _frame(self, frame: Frame) -> int:
        place = place_of(frame, parts=3) or (visible(frame.module) if frame.module else "")
        return self.frames.place(
            (
                _LANGUAGES.index(frame.lang),
                self.of_text[readable_name(frame)],
                self.of_text[place],
                int(frame.inlined),
                self.of_text[brief_place(frame, self.words)],
                self.of_text[go_package(frame) if is_go_library(frame) else ""],
                self.of_text[called_by_stub(frame)],
            )
        )


def _site(one: Finding, tables: _Tables) -> tuple[Any, ...]:
    text, said = tables.of_text, tables.of_said
    return (
        text[one.site],
        one.verdict.value,
        one.outstanding_bytes,
        one.outstanding_blocks,
        _number(growth_shown(one)),
        _number(one.oldest_seconds),
        text[name_of(one)],
        list(map(tables.of_frame.__getitem__, one.stack)),
        list(map(said.__getitem__, one.evidence)),
        said[one.advice],
        text[one.suppression],
        one.history_bytes,
        one.interval_bytes,
    )


def _number(value: float) -> float:
    """Give what JSON can say, with as many digits as anybody reads."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(count)]
