"""One site over time, and what can be measured on it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from cgoleak.ledger.totals import Totals
from cgoleak.model.snapshot import StackCounts

__all__ = ["NOTHING", "Line", "Series", "add_counts", "fit", "largest_fall"]

NOTHING: Final = StackCounts(0, 0, 0, 0, old_blocks=0)
"""What every stack had at the attach."""


class Line(NamedTuple):
    """A straight line through a curve; ``r2`` is 1 for a straight curve and 0 for no trend."""

    per_second: float
    r2: float


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of one site at each instant; the first is the attach, where nothing was there."""

    times_ns: tuple[int, ...]
    counts: tuple[StackCounts, ...]

    @property
    def last(self) -> StackCounts:
        """The newest counts."""
        return self.counts[-1]

    @property
    def seconds(self) -> float:
        """From attach to the newest counts."""
        return self.times_ns[-1] / 1e9

    @property
    def blocks(self) -> tuple[int, ...]:
        """Outstanding blocks."""
        return tuple(counts.outstanding_blocks for counts in self.counts)

    @property
    def bytes(self) -> tuple[int, ...]:
        """Outstanding bytes."""
        return tuple(counts.outstanding_bytes for counts in self.counts)

    @property
    def survivors(self) -> tuple[int, ...]:
        """Outstanding blocks older than one interval; all outstanding ones if ages are not known.

        Blocks in flight are young. Without them a few that stay show under any amount of churn.
        """
        olds = [counts.old_blocks for counts in self.counts]
        known = [old for old in olds if old is not None]
        return tuple(known) if len(known) == len(olds) else self.blocks

    @property
    def has_ages(self) -> bool:
        """Whether every snapshot looked at single blocks."""
        return all(counts.old_blocks is not None for counts in self.counts)

    @property
    def mean_lifetime_seconds(self) -> float | None:
        """How long the freed blocks had lived, or None if none was freed."""
        freed = self.last.freed_blocks
        return self.last.lifetime_ns_sum / freed / 1e9 if freed else None

    @property
    def growing_intervals(self) -> tuple[int, int]:
        """In how many intervals the outstanding blocks grew, and how many there are."""
        blocks = self.blocks
        steps = [later > earlier for earlier, later in itertools.pairwise(blocks)]
        return sum(steps), len(steps)

    def until(self, count: int) -> Series:
        """Give the first ``count`` instants, or all if there are no more."""
        if count >= len(self.times_ns):
            return self
        return Series(self.times_ns[:count], self.counts[:count])

    def change(self, start: int, end: int) -> Totals:
        """What happened between two instants, given by their places."""
        return Totals.of(self.counts[end]) - Totals.of(self.counts[start])

    def growth(self) -> Line:
        """Fit the outstanding bytes, without the warm-up.

        At attach nothing is outstanding, so that every site rises to its normal level first; the
        first sixth of the time is left out if enough instants remain.
        """
        begin = next(place for place, at in enumerate(self.times_ns) if at * 6 >= self.times_ns[-1])
        begin = min(begin, max(0, len(self.times_ns) - 4))
        return fit(self.times_ns[begin:], self.bytes[begin:])


def add_counts(one: StackCounts, other: StackCounts) -> StackCounts:
    """Add two stacks at the same instant; ages are known only if both are."""
    if one is NOTHING:
        return other
    if other is NOTHING:
        return one
    old = None
    if one.old_blocks is not None and other.old_blocks is not None:
        old = one.old_blocks + other.old_blocks
    return StackCounts(
        born_blocks=one.born_blocks + other.born_blocks,
        born_bytes=one.born_bytes + other.born_bytes,
        freed_blocks=one.freed_blocks + other.freed_blocks,
        freed_bytes=one.freed_bytes + other.freed_bytes,
        cleaned_blocks=one.cleaned_blocks + other.cleaned_blocks,
        lifetime_ns_sum=one.lifetime_ns_sum + other.lifetime_ns_sum,
        lifetime_ns_max=max(one.lifetime_ns_max, other.lifetime_ns_max),
        oldest_ns=max(one.oldest_ns, other.oldest_ns),
        old_blocks=old,
        samples=one.samples + other.samples,
        blocks_error=_beside(one.blocks_error, other.blocks_error),
        bytes_error=_beside(one.bytes_error, other.bytes_error),
    )


def _beside(one: int, other: int) -> int:
    """Give the standard error of a sum of two, which were sampled independently."""
    return round(math.hypot(one, other)) if one and other else one or other


def fit(times_ns: tuple[int, ...], values: tuple[int, ...]) -> Line:
    """Least squares; a curve without extent in time or in value has no slope."""
    count = len(times_ns)
    mid_time = sum(times_ns) / count
    mid_value = sum(values) / count
    times = [at - mid_time for at in times_ns]
    offsets = [value - mid_value for value in values]
    spread = sum(at * at for at in times)
    variance = sum(offset * offset for offset in offsets)
    if not spread or not variance:
        return Line(0.0, 0.0)
    covariance = sum(at * offset for at, offset in zip(times, offsets, strict=True))
    return Line(covariance / spread * 1e9, covariance * covariance / (spread * variance))


def largest_fall(values: tuple[int, ...]) -> int:
    """Give the deepest fall from any value to a later one; 0 if the curve never falls."""
    peak = fall = 0
    for value in values:
        peak = max(peak, value)
        fall = max(fall, peak - value)
    return fall
