"""Everything that a rule may look at, measured once per site."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgoleak.verdict.shape import Shape, shape_of

if TYPE_CHECKING:
    from cgoleak.ledger import Ledger, Series
    from cgoleak.stacks import Site

__all__ = ["Facts", "Surroundings", "facts_of"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for the whole process.

    Attributes:
        gc_cycles: in this window; None if Go's runtime was not read.
        cleans: whether cleanups freed a block of any site: the program uses them for C memory.
    """

    ledger: Ledger
    gc_cycles: int | None
    cleans: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured of one site.

    Attributes:
        shape: of the blocks that outlived an interval, or of all where ages are unknown.
        sizes: shape of the outstanding bytes.
        gc_since_oldest: GC cycles that the oldest block lived through, or None if unknown.
        late_unmatched: frees of blocks from before the attach in the last third.
        late_events: share of the process's events in the last third, as a third expects it (1 is
            even), or None if events were not counted.
    """

    site: Site
    series: Series
    shape: Shape | None
    sizes: Shape | None
    around: Surroundings
    gc_since_oldest: int | None
    late_unmatched: int
    late_events: float | None


def facts_of(site: Site, series: Series, around: Surroundings) -> Facts:
    """Measure a site."""
    shape = shape_of(series.times_ns, series.survivors)
    return Facts(
        site=site,
        series=series,
        shape=shape,
        sizes=shape_of(series.times_ns, series.bytes),
        around=around,
        gc_since_oldest=_gc_since_oldest(series, around.ledger),
        late_unmatched=_late(around.ledger, "unmatched_frees", shape)[0],
        late_events=_late(around.ledger, "events", shape)[1],
    )


def _gc_since_oldest(series: Series, ledger: Ledger) -> int | None:
    if not series.last.oldest_ns:
        return None
    birth = series.times_ns[-1] - series.last.oldest_ns
    known = [
        (at, go.gc_cycles)
        for at, go in zip(ledger.times_ns, ledger.go, strict=True)
        if go is not None and at >= birth
    ]
    return max(0, known[-1][1] - known[0][1]) if len(known) > 1 else None


def _late(ledger: Ledger, counter: str, shape: Shape | None) -> tuple[int, float | None]:
    """Give a counter's change in the last third, and how that compares with an even flow."""
    times = ledger.times_ns
    if shape is None or not times:
        return 0, None
    values = [getattr(counters, counter) for counters in ledger.counters]
    before = bisect_right(times, shape.marks_ns[2]) - 1
    so_far = values[before] if before >= 0 else 0
    late = values[-1] - so_far
    if not values[-1]:
        return late, None
    share_of_time = 1 - shape.marks_ns[2] / max(1, times[-1])
    return late, late / values[-1] / share_of_time if share_of_time > 0 else None
