"""The balance sheet as two bars on one scale, and as the table that explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.sheetwords import PLAIN_WORDS
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_bytes_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import BalanceLine
    from cgoleak.model.words import Words

__all__ = ["KINDS", "Bar", "Row", "Segment", "Sheet", "sheet_of"]

KINDS: Final = {
    "Go heap in use": "go-use",
    "Go heap held back": "go-held",
    "Go heap released": "go-held",
    "Go stacks and metadata": "go-meta",
    "native outstanding": "native",
    "malloc's headers": "headers",
    "native from before": "before",
    "native in use": "before",
    "native, not split": "before",
    "allocator slack": "slack",
    "thread stacks": "stacks",
    "files and code": "files",
    "other files, shared": "shared",
    "cgoleak's own": "own",
    "unexplained": "unexplained",
}
"""Part → class of its colour; what is not here is ``other``."""

_TOTAL: Final = "RSS"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a bar; positions in percent of the bar's place."""

    kind: str
    title: str
    start: str
    width: str


@dataclass(frozen=True, slots=True)
class Bar:
    """RSS at one instant."""

    label: str
    total: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the sheet, as text; ``trend`` is ``up``, ``down`` or empty.

    ``source`` is empty where the meaning says it already.
    """

    kind: str
    part: str
    start: str
    now: str
    change: str
    trend: str
    meaning: str
    source: str
    is_total: bool


@dataclass(frozen=True, slots=True)
class Sheet:
    """Bars from the same numbers as the rows; no bars where nothing is known of the start."""

    bars: tuple[Bar, ...]
    rows: tuple[Row, ...]


def sheet_of(
    balance: Sequence[BalanceLine],
    words: Words,
    *,
    start: str | None = None,
    now: str | None = None,
) -> Sheet:
    """Lay out the sheet; ``start`` and ``now`` name the two bars, if not by these words."""
    labels = (start or words("at start"), now or words("now"))
    parts = [line for line in balance if line.part != _TOTAL]
    columns = (
        _sizes([line.start_bytes for line in parts]),
        _sizes([line.now_bytes for line in parts]),
    )
    scale = max(map(sum, columns))
    bars = []
    if scale:
        bars = [
            _bar(label, parts, sizes, scale, words)
            for label, sizes in zip(labels, columns, strict=True)
        ]
    return Sheet(tuple(bars), tuple(_row(line, words) for line in balance))


def _sizes(column: Sequence[int | None]) -> list[int]:
    """A difference may be below zero; a bar cannot."""
    return [max(0, size or 0) for size in column]


def _bar(
    label: str, parts: Sequence[BalanceLine], sizes: Sequence[int], scale: int, words: Words
) -> Bar:
    segments, at = [], 0
    for line, size in zip(parts, sizes, strict=True):
        if size:
            segments.append(
                Segment(
                    kind=KINDS.get(line.part, "other"),
                    title=f"{words(visible(line.part))}: {format_bytes(size)}",
                    start=f"{100 * at / scale:.3f}%",
                    width=f"{100 * size / scale:.3f}%",
                )
            )
        at += size
    return Bar(label, format_bytes(sum(sizes)), tuple(segments))


def _row(line: BalanceLine, words: Words) -> Row:
    change = line.change_bytes
    meaning, source = words(PLAIN_WORDS.get(line.part, "")), words(visible(line.source))
    said = source.startswith(meaning)
    return Row(
        kind="total" if line.part == _TOTAL else KINDS.get(line.part, "other"),
        part=words(visible(line.part)),
        start="-" if line.start_bytes is None else format_bytes(line.start_bytes),
        now=format_bytes(line.now_bytes),
        change="-" if change is None else format_bytes_change(change),
        trend="" if not change else "up" if change > 0 else "down",
        meaning=source if said else meaning,
        source="" if said else source,
        is_total=line.part == _TOTAL,
    )
