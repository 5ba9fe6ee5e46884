"""A curve in one line of block characters."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["sparkline"]

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_LEAST_SHARE: Final = 16
"""A curve that moves by less than this part of its height does not look as if it rose steeply."""


def sparkline(seconds: Sequence[float], values: Sequence[int | None], width: int) -> str:
    """Draw the values over time, from the first instant to the last.

    Between two values the curve is a straight line; before the first one it is blank. The lowest
    value is at the bottom, the highest at the top.
    """
    known = [(at, value) for at, value in zip(seconds, values, strict=True) if value is not None]
    if not known or width < 1:
        return " " * max(0, width)
    high = max(value for _, value in known)
    low = min(high - high / _LEAST_SHARE, *(value for _, value in known))
    begin, end = seconds[0], seconds[-1]
    shown = []
    for column in range(1, width + 1):
        at = end if column == width else begin + (end - begin) * column / width
        value = _value_at(known, at)
        shown.append(" " if value is None else _level(value, low, high))
    return "".join(shown)


def _value_at(known: Sequence[tuple[float, int]], at: float) -> float | None:
    place = bisect_right(known, at, key=itemgetter(0))
    if not place:
        return None
    before, value = known[place - 1]
    if place == len(known):
        return value
    after, following = known[place]
    return value + (following - value) * (at - before) / (after - before)


def _level(value: float, low: float, high: float) -> str:
    if high <= low:
        return _LEVELS[0]
    return _LEVELS[round((value - low) / (high - low) * (len(_LEVELS) - 1))]
