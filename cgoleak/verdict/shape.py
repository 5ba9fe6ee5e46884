"""The shape of a curve: how much its low points rose in each third of the window.

A site under load goes up and down with what is in flight. What stays lifts the floor: the lowest
value of each part of the window. A leak lifts it in every part, up to the end; a cache that has
filled, a burst and an allocation made once do not lift it in the last.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Shape", "last_third", "late_share", "shape_of"]

_FEWEST: Final = 5
"""Instants (the attach is one) below which thirds cannot be told apart."""
_MANY: Final = 14
"""Instants from which each of seven parts has at least two, so that its lowest means something."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Thirds of a curve.

    Attributes:
        rises: by how much the floor rose in each third; negative where it sank.
        fall: the deepest fall from any value to a later one: the size of ordinary ups and downs.
        level: the floor of the last part.
        flat_seconds: for how long, up to the end, it has been where it is, ups and downs aside.
        marks_ns: where the thirds begin and end.
    """

    rises: tuple[int, int, int]
    fall: int
    level: int
    flat_seconds: float
    marks_ns: tuple[int, int, int, int]

    @property
    def keeps_rising(self) -> bool:
        """Whether each third rose, the later two by more than it ever fell."""
        first, second, third = self.rises
        return first > 0 and second > 0 and third > 0 and min(second, third) > self.fall

    @property
    def rises_at_the_end(self) -> bool:
        """Whether the last third rose by more than the curve ever fell."""
        return self.rises[2] > self.fall

    @property
    def creeps(self) -> bool:
        """Whether the floor rises although the ups and downs are larger than its steps."""
        _, second, third = self.rises
        return second > 0 and third > 0 and second + third >= self.fall

    @property
    def pace(self) -> float:
        """Rate of the last third, compared with the mean rate before; 1 is steady.

        Rounded, so that the same curve at another scale has the same pace.
        """
        before = (self.rises[0] + self.rises[1]) / max(1, self.marks_ns[2] - self.marks_ns[0])
        last = self.rises[2] / max(1, self.marks_ns[3] - self.marks_ns[2])
        return round(last / before, 9) if before > 0 else 1.0

    @property
    def missing_blocks(self) -> float:
        """How many blocks its earlier pace would have added since it went flat."""
        before = self.marks_ns[2] - self.marks_ns[0]
        return (self.rises[0] + self.rises[1]) / max(1, before) * self.flat_seconds * 1e9


@lru_cache(maxsize=4096)
def shape_of(times_ns: tuple[int, ...], values: tuple[int, ...]) -> Shape | None:
    """Measure a curve; None if it has too few instants.

    Thousands of sites have the same: what was made once and is there.
    """
    if len(values) < _FEWEST:
        return None
    edges = _edges(times_ns)
    first, second, third, last = [min(values[begin:end]) for begin, end in edges]
    peaks, fall = sorted(values), 0
    if peaks != list(values):  # most curves never fall, which takes a tenth of this to tell
        peaks = list(accumulate(values, max))
        fall = max(map(sub, peaks, values))
    reached = bisect_left(peaks, peaks[-1] - fall)
    return Shape(
        rises=(second - first, third - second, last - third),
        fall=fall,
        level=last,
        flat_seconds=(times_ns[-1] - times_ns[reached]) / 1e9,
        marks_ns=(
            times_ns[edges[0][0]],
            times_ns[edges[1][0]],
            times_ns[edges[2][0]],
            times_ns[edges[3][0]],
        ),
    )


def late_share(times_ns: tuple[int, ...], values: tuple[int, ...]) -> float:
    """Give the part of what it was after the first third by which the floor has risen since then.

    For itself, since it costs a fraction of a shape, and tells most sites apart; 0 without thirds.
    """
    if len(values) < _FEWEST:
        return 0.0
    _, (begin, end), _, (last, _) = _edges(times_ns)
    then = min(values[begin:end])
    return (min(values[last:]) - then) / max(1, then)


def last_third(times_ns: tuple[int, ...]) -> int:
    """Give the place of the instant at which the last third begins; -1 if there are too few.

    A curve that stays the same from there on has risen by nothing in its last third.
    """
    return _edges(times_ns)[2][0] if len(times_ns) >= _FEWEST else -1


@lru_cache(maxsize=16)
def _edges(times_ns: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Give begin and end of the four parts whose floors are compared; sites share their times."""
    parts = 7 if len(times_ns) >= _MANY else 4
    cuts = _cuts(times_ns, parts)
    return tuple((cuts[part], cuts[part + 1]) for part in range(0, parts, (parts - 1) // 3))


def _cuts(times_ns: Sequence[int], parts: int) -> list[int]:
    """Cut the window into parts of equal time; of equal count where one would be empty."""
    count = len(times_ns)
    begin, span = times_ns[0], times_ns[-1] - times_ns[0]
    length = span + span / (count - 1)  # the last instant stands for an interval as well
    cuts = [bisect_right(times_ns, begin + length * k / parts) - 1 for k in range(parts)]
    if len(set(cuts)) < parts:
        return [k * count // parts for k in range(parts + 1)]
    return [*cuts, count]
