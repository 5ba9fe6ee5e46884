"""All stacks over time.

Input: snapshots in order of time. Output: a ``Series`` for any group of stacks. It knows nothing of
sites, so that stacks can be counted before there are names and grouped afterwards.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import itemgetter, sub
from typing import TYPE_CHECKING, final

from cgoleak.capture.history import GONE, NOTHING, Changes, CountRow, CountsAt, History
from cgoleak.errors import DamagedCapture
from cgoleak.ledger.series import Series, add_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cgoleak.model.ids import StackId
    from cgoleak.model.snapshot import Snapshot

    _Curves = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None, CountRow]

__all__ = ["Ledger"]


@final
class Ledger:
    """Counts per stack at each snapshot.

    Attributes:
        times_ns: when the snapshots were taken, since attach.
        counters: what the probe said of itself at each snapshot.
        process: what the kernel said.
        go: what Go's runtime said.
        native: where RSS lay, as far as it was looked at.
    """

    def __init__(self, snapshots: Iterable[Snapshot] = ()) -> None:
        """Take snapshots; the order of the stacks in each does not matter.

        A stack that is missing from one keeps what it had: its counts are totals since attach.

        Raises:
            DamagedCapture: a snapshot is older than the one before.
        """
        snapshots = tuple(snapshots)
        self.times_ns = tuple(one.at_ns for one in snapshots)
        for earlier, later in pairwise(self.times_ns):
            if later < earlier:
                raise DamagedCapture(
                    "the snapshots are out of order",
                    cause=f"one at {later} ns follows one at {earlier} ns",
                )
        self.counters = tuple(one.counters for one in snapshots)
        self.process = tuple(one.process for one in snapshots)
        self.go = tuple(one.go for one in snapshots)
        self.native = tuple(one.native for one in snapshots)
        taken = _of_one_history(snapshots) or _recorded(snapshots)
        self._history = taken[0].history if taken else History()
        self._numbers = [one.number for one in taken]
        self._clock = [one.at_ns for one in taken]
        self._blocks = self._difference("born_blocks", "freed_blocks")
        self._bytes = self._difference("born_bytes", "freed_bytes")
        self._old_blocks = self._history.column("old_blocks")
        self._births_ns = self._history.column("oldest_born_ns")
        self._newest, self._newest_ns = self._newest_places()
        self._last: dict[StackId, CountRow] | None = None
        self._sums: dict[
            Callable[[Sequence[int], Sequence[int]], Sequence[int]], tuple[int, ...]
        ] = {}
        self._instants = (0, *self.times_ns)

    @property
    def stacks(self) -> frozenset[StackId]:
        """Every stack that was ever counted."""
        return frozenset(self._history.last)

    @property
    def seconds(self) -> float:
        """From attach to the last snapshot."""
        return self.times_ns[-1] / 1e9 if self.times_ns else 0.0

    @property
    def gc_cycles(self) -> int | None:
        """GC cycles from the first to the last snapshot that know, or None if fewer than 2 do."""
        known = [go.gc_cycles for go in self.go if go is not None]
        return max(0, known[-1] - known[0]) if len(known) > 1 else None

    @property
    def owners(self) -> int | None:
        """By how many Go's objects with a finalizer or cleanup rose, as ``gc_cycles`` is known."""
        known = [go.owners for go in self.go if go is not None and go.owners is not None]
        return known[-1] - known[0] if len(known) > 1 else None

    @property
    def outstanding_bytes(self) -> tuple[int, ...]:
        """Bytes allocated since attach and not freed, at each snapshot."""
        return self.sums(_bytes_of)

    def last(self, stack: StackId) -> CountRow:
        """Give the newest counts of a stack; nothing, if it was never counted."""
        if self._last is None:
            rows = self._history.rows(list(self._newest.values()))
            self._last = dict(zip(self._newest, rows, strict=True))
        return self._last.get(stack, NOTHING)

    def oldest_ns(self, stacks: Iterable[StackId]) -> int:
        """Give the age of the oldest outstanding block of some stacks; 0: none or not known."""
        oldest = 0
        for stack in stacks:
            born_ns = self._births_ns[self._newest.get(stack, -1)]
            if born_ns is not None:
                oldest = max(oldest, self._newest_ns.get(stack, self._clock[-1]) - born_ns)
        return oldest

    @property
    def cleans(self) -> bool:
        """Whether Go's finalizers or cleanups freed a block."""
        cleaned = self._history.column("cleaned_blocks")
        return any(cleaned) and any(map(cleaned.__getitem__, self._newest.values()))

    @property
    def sampled(self) -> bool:
        """Whether some blocks were never looked at, neither when they were made nor when freed."""
        return any(self._history.column("samples"))

    def total(self, stacks: Sequence[StackId]) -> CountRow:
        """Give the newest counts of some stacks together."""
        if len(stacks) == 1:  # as nearly all sites have
            return self.last(stacks[0])
        return reduce(add_rows, map(self.last, stacks))

    def changed_since(self, instant: int) -> frozenset[StackId]:
        """Give the stacks at which something changed after an instant; 0 is the attach."""
        begin = self._history.until(self._numbers[instant - 1]) if instant > 0 else 0
        return frozenset(stack for stack, at in self._history.last.items() if at >= begin)

    def sums(
        self, measure: Callable[[Sequence[int], Sequence[int]], Sequence[int]]
    ) -> tuple[int, ...]:
        """Add up a measure of all stacks at each snapshot.

        It is given the outstanding blocks and bytes of each stored change, as columns.
        """
        found = self._sums.get(measure)
        if found is None:
            found = self._sums[measure] = self._added(measure)
        return found

    def series(self, stacks: Iterable[StackId], *, instants: int | None = None) -> Series:
        """Give the sum of some stacks over time; nothing was there at the attach.

        ``instants`` is how many of these are taken, the attach is the first; all without it.
        """
        times = self._instants[:instants]
        found = [self._curves(stack, instants) for stack in stacks]
        if len(found) == 1:
            of_blocks, of_bytes, of_old, last = found[0]
            return Series(times, of_blocks, of_bytes, of_old or of_blocks, last)
        nothing = (0,) * len(times)
        blocks, sizes, old, rows = zip(
            *found or [(nothing, nothing, nothing, NOTHING)], strict=True
        )
        known = [one for one in old if one is not None]
        outstanding = _sum(blocks)
        return Series(
            times,
            blocks=outstanding,
            bytes=_sum(sizes),
            survivors=_sum(known) if len(known) == len(old) else outstanding,
            last=reduce(add_rows, rows),
        )

    def _curves(self, stack: StackId, instants: int | None) -> _Curves:
        """Give a stack's blocks, bytes and old blocks over time, and its counts at the end.

        Old blocks are None if they are not known at each.
        """
        places = [-1, *self._history.over(self._numbers, stack)][:instants]
        take = _taker(places)
        old = take(self._old_blocks)
        return (
            take(self._blocks),
            take(self._bytes),
            None if None in old else old,
            self._row(stack, places[-1]),
        )

    def _row(self, stack: StackId, place: int) -> CountRow:
        """Give the counts of a stack at a place; the newest of all are made together."""
        if place >= 0 and place == self._newest.get(stack):
            return self.last(stack)
        return self._history.row(place)

    def _newest_places(self) -> tuple[dict[StackId, int], dict[StackId, int]]:
        """Give the place of what each stack had when it was reported last.

        And of those that were not reported by the last snapshot, when that was.
        """
        history, numbers = self._history, self._numbers
        if not numbers:
            return {}, {}
        if not history.ends and max(history.numbers, default=0) <= numbers[-1]:
            return history.last, {}
        found: dict[StackId, int] = {}
        earlier: dict[StackId, int] = {}
        for stack in history.last:
            for number, at_ns in zip(reversed(numbers), reversed(self._clock), strict=True):
                place = history.place(number, stack)
                if place >= 0:
                    found[stack] = place
                    earlier[stack] = at_ns
                    break
        return found, earlier

    def _difference(self, born: str, freed: str) -> list[int]:
        """Give what is outstanding at each place of the history.

        A stack that is no longer reported keeps what it had.
        """
        columns = self._history.column(born), self._history.column(freed)
        if not self._history.ends:
            return list(map(sub, *columns)) if any(columns[1]) else columns[0]
        found = [0 if one is None else one - other for one, other in zip(*columns, strict=True)]
        for place in sorted(self._history.ends):
            found[place] = found[self._history.previous[place]]
        return found

    def _added(
        self, measure: Callable[[Sequence[int], Sequence[int]], Sequence[int]]
    ) -> tuple[int, ...]:
        measured = measure(self._blocks, self._bytes)
        added: list[int] = []
        total = begin = 0
        for number in self._numbers:
            end = self._history.until(number, begin)
            replaced = map(measured.__getitem__, self._history.previous[begin:end])
            total += sum(measured[begin:end]) - sum(replaced)
            added.append(total)
            begin = end
        return tuple(added)


def _taker(places: Sequence[int]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """Give what takes a column's values at some places; for one ``itemgetter`` gives no tuple."""
    return itemgetter(*places) if len(places) > 1 else lambda column: (column[places[0]],)


def _bytes_of(blocks: Sequence[int], sizes: Sequence[int]) -> Sequence[int]:  # noqa: ARG001 - a measure takes both
    return sizes


def _sum(curves: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return curves[0] if len(curves) == 1 else tuple(map(sum, zip(*curves, strict=True)))


def _of_one_history(snapshots: Sequence[Snapshot]) -> list[CountsAt]:
    """Take the rows that a capture has stored as they are; none if this is no capture's."""
    taken = [one.stacks for one in snapshots if isinstance(one.stacks, CountsAt)]
    whole = len(taken) == len(snapshots) and len({id(one.history) for one in taken}) == 1
    return taken if whole else []


def _recorded(snapshots: Sequence[Snapshot]) -> list[CountsAt]:
    """Store what changed from one snapshot to the next, as a capture does."""
    changes = Changes()
    before: dict[StackId, CountRow] = {}
    for number, snapshot in enumerate(snapshots):
        now = {
            stack: CountRow.of(counts, snapshot.at_ns) for stack, counts in snapshot.stacks.items()
        }
        changed: dict[StackId, Sequence[int | None]] = {
            stack: row for stack, row in now.items() if before.get(stack) != row
        }
        for stack in before.keys() - now.keys():
            changed[stack] = GONE
        if changed:
            changes.add(number, list(changed), zip(*changed.values(), strict=True))
        before = now
    history = History(changes)
    return [CountsAt(history, number, one.at_ns) for number, one in enumerate(snapshots)]
