"""One site over time, and what can be measured on it."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from functools import lru_cache
from operator import mul, sub
from typing import TYPE_CHECKING, NamedTuple

from cgoleak.capture.history import NOTHING, CountRow

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Line", "Series", "add_rows", "fit", "largest_fall"]


class Line(NamedTuple):
    """A straight line through a curve; ``r2`` is 1 for a straight curve and 0 for no trend."""

    per_second: float
    r2: float


class Series(NamedTuple):
    """Counts of one site at each instant; the first is the attach, where nothing was there.

    A tuple, because ten thousand sites have one each, and those take a third of the time to make.

    Attributes:
        blocks: outstanding ones.
        bytes: their bytes.
        survivors: outstanding blocks older than one interval; all of them if ages are not known.
            Blocks in flight are young. Without them a few that stay show under any amount of churn.
        last: the newest counts.
    """

    times_ns: tuple[int, ...]
    blocks: tuple[int, ...]
    bytes: tuple[int, ...]
    survivors: tuple[int, ...]
    last: CountRow

    @property
    def seconds(self) -> float:
        """From attach to the newest counts."""
        return self.times_ns[-1] / 1e9

    @property
    def mean_lifetime_seconds(self) -> float | None:
        """How long the freed blocks had lived, or None if none was freed."""
        freed = self.last.freed_blocks
        return self.last.lifetime_ns_sum / freed / 1e9 if freed else None

    @property
    def growing_intervals(self) -> tuple[int, int]:
        """In how many intervals the outstanding blocks grew, and how many there are."""
        return _steps_up(self.blocks)

    @property
    def larger_intervals(self) -> tuple[int, int]:
        """The same of the outstanding bytes."""
        return _steps_up(self.bytes)

    def rise(self) -> Line:
        """Fit the number of outstanding blocks."""
        return fit(self.times_ns, self.blocks)

    def growth(self) -> Line:
        """Fit the outstanding bytes, without the warm-up.

        At attach nothing is outstanding, so that every site rises to its normal level first; the
        first sixth of the time is left out if enough instants remain.
        """
        return _growth(self.times_ns, self.bytes)


def _steps_up(values: tuple[int, ...]) -> tuple[int, int]:
    steps = [later > earlier for earlier, later in itertools.pairwise(values)]
    return sum(steps), len(steps)


@lru_cache(maxsize=4096)
def _growth(times_ns: tuple[int, ...], values: tuple[int, ...]) -> Line:
    """Fit a curve without its warm-up; thousands of sites have the same, and it is flat."""
    begin = bisect_left(times_ns, times_ns[-1], key=lambda at: at * 6)
    begin = min(begin, max(0, len(times_ns) - 4))
    return fit(times_ns[begin:], values[begin:])


def add_rows(one: CountRow, other: CountRow) -> CountRow:
    """Add two stacks at the same instant; ages are known only if both are."""
    if one is NOTHING:
        return other
    if other is NOTHING:
        return one
    born = [at for at in (one.oldest_born_ns, other.oldest_born_ns) if at is not None]
    old = None
    if one.old_blocks is not None and other.old_blocks is not None:
        old = one.old_blocks + other.old_blocks
    return CountRow(
        born_blocks=one.born_blocks + other.born_blocks,
        born_bytes=one.born_bytes + other.born_bytes,
        freed_blocks=one.freed_blocks + other.freed_blocks,
        freed_bytes=one.freed_bytes + other.freed_bytes,
        cleaned_blocks=one.cleaned_blocks + other.cleaned_blocks,
        lifetime_ns_sum=one.lifetime_ns_sum + other.lifetime_ns_sum,
        lifetime_ns_max=max(one.lifetime_ns_max, other.lifetime_ns_max),
        oldest_born_ns=min(born, default=None),
        old_blocks=old,
        samples=one.samples + other.samples,
        blocks_error=_beside(one.blocks_error, other.blocks_error),
        bytes_error=_beside(one.bytes_error, other.bytes_error),
    )


def _beside(one: int, other: int) -> int:
    """Give the standard error of a sum of two, which were sampled independently."""
    return round(math.hypot(one, other)) if one and other else one or other


def fit(times_ns: tuple[int, ...], values: Sequence[int]) -> Line:
    """Least squares; a curve without extent in time or in value has no slope."""
    times, spread = _centred(times_ns)
    mid_value = sum(values) / len(times)
    offsets = [value - mid_value for value in values]
    variance = sum(map(mul, offsets, offsets))
    if not spread or not variance:
        return Line(0.0, 0.0)
    covariance = sum(map(mul, times, offsets))
    return Line(covariance / spread * 1e9, covariance * covariance / (spread * variance))


@lru_cache(maxsize=64)
def _centred(times_ns: tuple[int, ...]) -> tuple[list[float], float]:
    """Give times less their mean, and the sum of their squares; all sites have the same times."""
    middle = sum(times_ns) / len(times_ns)
    times = [at - middle for at in times_ns]
    return times, sum(map(mul, times, times))


def largest_fall(values: Sequence[int]) -> int:
    """Give the deepest fall from any value to a later one; 0 if the curve never falls."""
    return max(map(sub, itertools.accumulate(values, max), values), default=0)
