"""A curve in one line of block characters."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["sparkline"]

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_LEAST_SHARE: Final = 16
"""A curve that moves by less than this part of its height does not look as if it rose steeply."""


def sparkline(seconds: Sequence[float], values: Sequence[int | None], width: int) -> str:
    """Draw the values over time, from the first instant to the last.

    Each column shows the newest value of its time; one where nobody looked is blank. The lowest
    value is at the bottom, the highest at the top.
    """
    known = [(at, value) for at, value in zip(seconds, values, strict=True) if value is not None]
    if not known or width < 1:
        return " " * max(0, width)
    high = max(value for _, value in known)
    low = min(value for _, value in known)
    low = min(low, high - high // _LEAST_SHARE) if high > 0 else low
    begin, end = seconds[0], seconds[-1]
    times = [at for at, _ in known]
    shown = []
    for column in range(1, width + 1):
        place = bisect_right(times, begin + (end - begin) * column / width) - 1
        shown.append(" " if place < 0 else _level(known[place][1], low, high))
    return "".join(shown)


def _level(value: int, low: int, high: int) -> str:
    if high <= low:
        return _LEVELS[0]
    return _LEVELS[round((value - low) / (high - low) * (len(_LEVELS) - 1))]
