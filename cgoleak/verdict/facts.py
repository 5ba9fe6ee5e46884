"""Everything that a rule may look at, measured once per site."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import Enum, auto
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cgoleak.ledger.estimate import interval, seen, unseen
from cgoleak.model.holding import Holding
from cgoleak.model.snapshot import NO_LIMIT
from cgoleak.verdict.shape import Shape, last_third, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgoleak.capture.history import CountRow
    from cgoleak.ledger import Ledger, Series
    from cgoleak.ledger.series import Line
    from cgoleak.model.ids import StackId
    from cgoleak.stacks import Site

__all__ = ["BLOCK", "HANDLE", "NO_ACCIDENT", "Facts", "GcOff", "Surroundings", "facts_of"]


BLOCK: Final = "block"
HANDLE: Final = "handle"
"""What is judged; sentences name it, in the plural with an s."""

_TRIFLE: Final = 0.01
"""Share of all events that does not count as work: health checks, timers."""
_PAUSE: Final = 1 / 6
"""Share of the window, at its end, that is more than a pause between requests."""
NO_ACCIDENT: Final = 5
"""Events that a pause has to be short of: if they come at random, e^-5 is less than one in 100."""


_FOLLOWED: Final = 64
"""Blocks a second that a call place has followed for sure (docs/decisions/0003)."""


_AT_WORK: Final = 10
"""A process works on if it takes more than one part in so many of the CPU time that it took."""


_LEAST_CPU_MS: Final = 30
"""Less may be ticks (of 10 ms, as proc_pid_stat(5) has them), and what attach and detach take."""


class GcOff(Enum):
    """What starts a collection where GOGC is off (gcTrigger.test in mgc.go).

    Without GOGC two minutes of idleness do not either.
    """

    UNTIL_ASKED = auto()
    UNTIL_LIMIT = auto()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for the whole process.

    Attributes:
        gc_cycles: in this window; None if Go's runtime was not read.
        owners: by how many Go's objects with a finalizer or cleanup rose; None if not known.
        more_threads: by how many threads the process has grown, if it still does; else 0.
        gc_off: whether GOGC is off, and if so, whether there is a memory limit in its place; None
            where Go collects as its heap grows, or that is not known.
        cleans: whether cleanups freed a block of any site: the program uses them for C memory.
        active: instants, the attach included, until the process went idle for good.
        late: stacks at which something happened since the last third of these began; all of them
            if there are too few instants for thirds.
        collected: instants at which Go's runtime was read, and its GC cycles up to then.
        unmatched: frees of blocks from before the attach, up to each snapshot.
        holdings: of a command that was held at its exit, who still knew its blocks; else None.
        mappings: stacks whose blocks are mappings, which only munmap gives back.
        noun: what is counted, ``BLOCK`` or ``HANDLE``.
        sample_bytes: one block per so many was followed at last; 0 where all were.
    """

    ledger: Ledger
    gc_cycles: int | None
    cleans: bool
    active: int
    late: frozenset[StackId]
    collected: tuple[tuple[int, int], ...]
    unmatched: tuple[int, ...]
    holdings: Mapping[StackId, Holding] | None = None
    mappings: frozenset[StackId] = frozenset()
    noun: str = BLOCK
    owners: int | None = None
    more_threads: int = 0
    gc_off: GcOff | None = None
    sample_bytes: int = 0

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        holdings: Mapping[StackId, Holding] | None = None,
        mappings: frozenset[StackId] = frozenset(),
        *,
        noun: str = BLOCK,
        sample_bytes: int = 0,
    ) -> Self:
        """Look at the whole process once."""
        active = _active(ledger)
        return cls(
            noun=noun,
            sample_bytes=sample_bytes,
            holdings=holdings,
            mappings=mappings,
            ledger=ledger,
            gc_cycles=ledger.gc_cycles,
            owners=ledger.owners,
            more_threads=_more_threads(ledger),
            gc_off=_gc_off(ledger),
            cleans=ledger.cleans,
            active=active,
            late=ledger.changed_since(last_third((0, *ledger.times_ns)[:active])),
            collected=tuple(
                (at, go.gc_cycles)
                for at, go in zip(ledger.times_ns, ledger.go, strict=True)
                if go is not None
            ),
            unmatched=tuple(counters.unmatched_frees for counters in ledger.counters),
        )


class Facts(NamedTuple):
    """What was measured of one site; a tuple, as ten thousand are made.

    Attributes:
        shape: of the blocks that outlived an interval, or of all where ages are unknown.
        oldest_ns: age of the oldest outstanding block; 0 where it is not known.
        looked: the part of ``series`` while the process worked; what did not happen while it
            stood idle is no evidence of anything.
        holding: who knew its blocks when the command ended, or None where nobody looked.
        stands_for: how many blocks each one that was looked at stands for; 1 where all were.
    """

    site: Site
    series: Series
    shape: Shape | None
    around: Surroundings
    oldest_ns: int
    looked: Series
    holding: Holding | None = None
    stands_for: float = 1.0

    @property
    def noun(self) -> str:
        """What is counted: a block or a handle."""
        return self.around.noun

    @property
    def growth(self) -> Line:
        """Growth of the outstanding bytes, while the process worked; few are asked for it."""
        return self.looked.growth()

    @property
    def sizes(self) -> Shape | None:
        """Shape of the outstanding bytes; few rules ask for it."""
        return shape_of(self.looked.times_ns, self.looked.bytes)

    @property
    def sampled(self) -> bool:
        """Whether some of its numbers are estimates."""
        return self.series.last.samples > 0

    @property
    def gc_since_oldest(self) -> int | None:
        """GC cycles that the oldest block lived through, or None if unknown."""
        if not self.oldest_ns:
            return None
        return _gc_since(self.series.times_ns[-1] - self.oldest_ns, self.around)

    @property
    def range_bytes(self) -> tuple[int, int] | None:
        """Between what its outstanding bytes lie, or None where each of its blocks was followed.

        Where more are made in a second than are followed for sure, the others have a chance each:
        that no sample is among the outstanding ones says how many there may be, not that there
        are none. Cannot know: a busy second of a site that has few on average.
        """
        last, rate = self.series.last, self.around.sample_bytes
        if last.samples:
            return interval(last.outstanding_bytes, last.bytes_error)
        if not rate or last.born_blocks <= _FOLLOWED * self.series.seconds:
            return None
        weight = max(rate, last.born_bytes // last.born_blocks)
        return last.outstanding_bytes, last.outstanding_bytes + unseen(weight)

    @property
    def cleaning(self) -> tuple[int, int | None]:
        """In how many intervals cleanups freed some of its blocks; GC cycles since, if known."""
        last, times = self.series.last, self.series.times_ns
        if not last.cleaned_blocks:
            return 0, None

        def cleaned(instants: int) -> int:
            series = self.around.ledger.series(self.site.stack_ids, instants=instants)
            return series.last.cleaned_blocks

        counts = range(1, len(times) + 1)
        instants = 1 + bisect_left(counts, last.cleaned_blocks, key=cleaned)
        steps = len(set(map(cleaned, counts[:instants]))) - 1
        return steps, _gc_since(times[instants - 1], self.around)

    def born_until(self, at_ns: int) -> int:
        """Blocks that were allocated from the attach to the last snapshot at this time or before.

        As counted by the probe; sampled ones by the estimate.
        """
        instants = bisect_right(self.looked.times_ns, at_ns)
        return self.around.ledger.series(self.site.stack_ids, instants=instants).last.born_blocks

    @property
    def late_unmatched(self) -> int:
        """Frees of blocks from before the attach in the last third."""
        return _late_unmatched(self.around, self.shape)

    @property
    def late_rise_of_all(self) -> int:
        """By how many blocks all sites together rose in the last third."""
        around = self.around
        times = (0, *around.ledger.times_ns)[: around.active]
        shape = shape_of(times, (0, *around.ledger.sums(_blocks_of))[: around.active])
        return 0 if shape is None else shape.rises[2]


def _blocks_of(blocks: Sequence[int], sizes: Sequence[int]) -> Sequence[int]:  # noqa: ARG001 - a measure takes both
    return blocks


def facts_of(site: Site, around: Surroundings) -> Facts:
    """Measure a site."""
    series = looked = around.ledger.series(site.stack_ids)
    if around.active < len(series.times_ns):
        before = around.ledger.series(site.stack_ids, instants=around.active)
        if not _moved(before.last, series.last):
            looked = before
    return Facts(
        site=site,
        series=series,
        shape=shape_of(looked.times_ns, looked.survivors),
        around=around,
        oldest_ns=around.ledger.oldest_ns(site.stack_ids),
        looked=looked,
        holding=_holding(site, around),
        stands_for=_stands_for(series.last),
    )


def _moved(then: CountRow, now: CountRow) -> bool:
    return now.born_blocks > then.born_blocks or now.freed_blocks > then.freed_blocks


def _stands_for(last: CountRow) -> float:
    if not last.samples or not last.outstanding_blocks:
        return 1.0
    return max(1.0, last.outstanding_blocks / seen(last.outstanding_blocks, last.blocks_error))


def _holding(site: Site, around: Surroundings) -> Holding | None:
    if around.holdings is None:
        return None
    found = [around.holdings[one] for one in site.stack_ids if one in around.holdings]
    return Holding(
        lost_blocks=sum(one.lost_blocks for one in found),
        lost_bytes=sum(one.lost_bytes for one in found),
        owned_blocks=sum(one.owned_blocks for one in found),
        known_blocks=sum(one.known_blocks for one in found),
    )


def _active(ledger: Ledger) -> int:
    """Find where all but a trifle of the work had been done, if that was well before the end."""
    everything = len(ledger.times_ns) + 1
    events = [counters.events for counters in ledger.counters]
    if not events or not events[-1]:
        return everything
    busy = next(place for place, done in enumerate(events) if done >= (1 - _TRIFLE) * events[-1])
    if not _go_rests(ledger, busy) or _works_on(ledger, busy):
        return everything
    pause = ledger.times_ns[-1] - ledger.times_ns[busy]
    # A busy start followed by light work is no load that ended: most of the window must be work.
    long_enough = _PAUSE * ledger.times_ns[-1] <= pause <= ledger.times_ns[-1] / 2
    # Work that seldom allocates makes such pauses without being over.
    missing = events[-1] * pause / max(1, ledger.times_ns[busy])
    long_enough = long_enough and missing >= NO_ACCIDENT
    return busy + 2 if long_enough else everything


def _go_rests(ledger: Ledger, since: int) -> bool:
    """Tell whether Go allocated next to nothing from a snapshot on, either, as far as is known.

    C code may be done with allocating while the process works on: a pool that is full, tables that
    are loaded.
    """
    before = [go.total_alloc for go in ledger.go[: since + 1] if go is not None]
    after = [go.total_alloc for go in ledger.go[since + 1 :] if go is not None]
    if not before or not after:
        return True
    return after[-1] - before[-1] <= _TRIFLE * (after[-1] - before[0])


def _works_on(ledger: Ledger, since: int) -> bool:
    """Tell whether the process still takes CPU time as it did, or a tenth of it, if it is known.

    Work need not allocate: a cache is full and is only asked, a pool hands out what it has.
    """
    known = [
        (at, one.cpu_ms)
        for at, one in zip(ledger.times_ns, ledger.process, strict=True)
        if one is not None and one.cpu_ms is not None
    ]
    middle = bisect_right(known, ledger.times_ns[since], key=itemgetter(0)) - 1
    if not 0 < middle < len(known) - 1:
        return False
    (begin, before), (then, at_rest), (end, now) = known[0], known[middle], known[-1]
    if now - at_rest < _LEAST_CPU_MS:
        return False
    return _AT_WORK * (now - at_rest) * (then - begin) > (at_rest - before) * (end - then)


def _more_threads(ledger: Ledger) -> int:
    """Count what came from the first to the last snapshot, if a third of it did in the later half.

    A process that takes its first load starts threads and keeps them.
    """
    known = [
        (at, one.threads)
        for at, one in zip(ledger.times_ns, ledger.process, strict=True)
        if one is not None
    ]
    if len(known) < 3:
        return 0
    middle = bisect_left(known, (known[0][0] + known[-1][0]) / 2, key=itemgetter(0))
    more, late = known[-1][1] - known[0][1], known[-1][1] - known[middle][1]
    return more if 3 * late >= more > 0 else 0


def _gc_off(ledger: Ledger) -> GcOff | None:
    go = next((one for one in reversed(ledger.go) if one is not None), None)
    if go is None or go.gc_percent >= 0:
        return None
    return GcOff.UNTIL_ASKED if go.memory_limit == NO_LIMIT else GcOff.UNTIL_LIMIT


def _gc_since(birth_ns: int, around: Surroundings) -> int | None:
    known = around.collected
    first = bisect_left(known, birth_ns, key=itemgetter(0))
    return max(0, known[-1][1] - known[first][1]) if len(known) - first > 1 else None


def _late_unmatched(around: Surroundings, shape: Shape | None) -> int:
    if shape is None or not around.unmatched:
        return 0
    before = bisect_right(around.ledger.times_ns, shape.marks_ns[2]) - 1
    return around.unmatched[-1] - (around.unmatched[before] if before >= 0 else 0)
