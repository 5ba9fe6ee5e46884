"""Curves and the shortened sheet: what a small screen can show of a long window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from cgoleak.model.report import BalanceLine
from cgoleak.render.live.sparkline import sparkline
from cgoleak.render.text.paper import left_in
from cgoleak.render.text.styled import Text
from cgoleak.units import format_bytes, format_bytes_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import Report
    from cgoleak.model.words import Words

__all__ = ["curve", "curves", "largest_parts"]

_NUMBERS: Final = 24
"""Columns of the value and of its change, with the blanks before them."""
_SHORTEST: Final = 8
_TOTAL: Final = "RSS"
"""The line of the sheet that the others add up to."""
_TWO_BESIDE: Final = 110


def curves(report: Report, width: int, *, most: int, words: Words) -> list[Text]:
    """Draw native and Go memory, then RSS: at most so many lines, in wide ones two curves."""
    timeline = report.timeline
    if timeline is None or not most:
        return []
    columns = [
        (words("native outstanding"), timeline.outstanding_bytes),
        (words("Go heap in use"), timeline.go_in_use_bytes),
        ("RSS", timeline.rss_bytes),
        (words("Go heap held back"), timeline.go_held_bytes),
    ]
    known = [(name, values) for name, values in columns if any(one is not None for one in values)]
    if not known:
        return []
    label = max(cell_len(name) for name, _ in known)
    beside = 2 if width >= _TWO_BESIDE else 1
    each = width // beside
    drawn = [
        curve(left_in(name, label), timeline.seconds, values, each)
        for name, values in known[: most * beside]
    ]
    if beside == 1:
        return drawn
    lines = []
    for place in range(0, len(drawn), 2):
        line = Text()
        for one in drawn[place : place + 2]:
            line.append_text(one)
        lines.append(line)
    return lines


def curve(name: str, seconds: Sequence[float], values: Sequence[int | None], width: int) -> Text:
    """Draw one curve with its name before it, and its last value and change behind it."""
    known = [value for value in values if value is not None]
    now, change = known[-1], known[-1] - known[0]
    text = Text(f" {name}  ")
    room = max(_SHORTEST, width - text.cell_len - _NUMBERS)
    text.append(sparkline(seconds, values, room), style="cyan")
    text.append(f"{format_bytes(now):>11}")
    text.append(f"{format_bytes_change(change):>12} ", style="bold" if change > 0 else "")
    return text


def largest_parts(
    balance: Sequence[BalanceLine], room: int, words: Words
) -> tuple[BalanceLine, ...]:
    """Keep the parts that changed most, in their order; the others are added up in one line.

    The total stays, whatever it did: it is none of the parts.
    """
    if len(balance) <= room:
        return tuple(balance)
    by_size = sorted(
        range(len(balance)),
        key=lambda place: (
            balance[place].part != _TOTAL,
            -abs(balance[place].change_bytes or 0),
            -balance[place].now_bytes,
        ),
    )
    kept = set(by_size[: max(0, room - 1)])
    rest = [line for place, line in enumerate(balance) if place not in kept]
    starts = [line.start_bytes for line in rest if line.start_bytes is not None]
    changes = [line.change_bytes for line in rest if line.change_bytes is not None]
    others = BalanceLine(
        part=words.count(len(rest), "more part"),
        start_bytes=sum(starts) if len(starts) == len(rest) else None,
        now_bytes=sum(line.now_bytes for line in rest),
        change_bytes=sum(changes) if len(changes) == len(rest) else None,
        source="",
    )
    return (*(line for place, line in enumerate(balance) if place in kept), others)
