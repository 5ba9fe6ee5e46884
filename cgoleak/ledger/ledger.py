"""All stacks over time: the one mutable object on the line.

Input: snapshots in order of time. Output: a ``Series`` for any group of stacks. It knows nothing of
sites, so that a live view can fold before there are names and group afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from cgoleak.errors import DamagedCapture
from cgoleak.ledger.series import NOTHING, Series, add_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.model.ids import StackId
    from cgoleak.model.snapshot import (
        GoMemory,
        NativeMemory,
        ProbeCounters,
        ProcessMemory,
        Snapshot,
        StackCounts,
    )

__all__ = ["Ledger"]


@final
class Ledger:
    """Counts per stack at each snapshot that was folded in."""

    def __init__(self) -> None:
        self._first: dict[StackId, int] = {}
        self._counts: dict[StackId, list[StackCounts]] = {}
        self._times: list[int] = []
        self._counters: list[ProbeCounters] = []
        self._process: list[ProcessMemory | None] = []
        self._go: list[GoMemory | None] = []
        self._native: list[NativeMemory | None] = []

    def fold(self, snapshot: Snapshot) -> None:
        """Add the next snapshot; the order of its stacks does not matter.

        A stack that is missing keeps what it had: its counts are totals since attach.

        Raises:
            DamagedCapture: the snapshot is older than the one before.
        """
        if self._times and snapshot.at_ns < self._times[-1]:
            raise DamagedCapture(
                "the snapshots are out of order",
                cause=f"one at {snapshot.at_ns} ns follows one at {self._times[-1]} ns",
            )
        place = len(self._times)
        self._times.append(snapshot.at_ns)
        self._counters.append(snapshot.counters)
        self._process.append(snapshot.process)
        self._go.append(snapshot.go)
        self._native.append(snapshot.native)
        for stack, counts in snapshot.stacks.items():
            row = self._counts.setdefault(stack, [])
            first = self._first.setdefault(stack, place)
            row.extend([row[-1]] * (place - first - len(row)) if row else ())
            row.append(counts)

    @property
    def stacks(self) -> frozenset[StackId]:
        """Every stack that was ever counted."""
        return frozenset(self._counts)

    @property
    def times_ns(self) -> tuple[int, ...]:
        """When the snapshots were taken, since attach."""
        return tuple(self._times)

    @property
    def counters(self) -> tuple[ProbeCounters, ...]:
        """What the probe said of itself at each snapshot."""
        return tuple(self._counters)

    @property
    def process(self) -> tuple[ProcessMemory | None, ...]:
        """What the kernel said at each snapshot."""
        return tuple(self._process)

    @property
    def go(self) -> tuple[GoMemory | None, ...]:
        """What Go's runtime said at each snapshot."""
        return tuple(self._go)

    @property
    def native(self) -> tuple[NativeMemory | None, ...]:
        """Where RSS lay at each snapshot, as far as it was looked at."""
        return tuple(self._native)

    @property
    def seconds(self) -> float:
        """From attach to the last snapshot."""
        return self._times[-1] / 1e9 if self._times else 0.0

    @property
    def gc_cycles(self) -> int | None:
        """GC cycles from the first to the last snapshot that know, or None if fewer than 2 do."""
        known = [go.gc_cycles for go in self._go if go is not None]
        return max(0, known[-1] - known[0]) if len(known) > 1 else None

    def last(self, stack: StackId) -> StackCounts:
        """Give the newest counts of a stack; nothing, if it was never counted."""
        row = self._counts.get(stack)
        return row[-1] if row else NOTHING

    def counts_at(self, place: int) -> Iterator[StackCounts]:
        """Go through the stacks that were known at a snapshot, given by its place."""
        for stack, row in self._counts.items():
            since = place - self._first[stack]
            if since >= 0:
                yield row[min(since, len(row) - 1)]

    def series(self, stacks: Iterable[StackId]) -> Series:
        """Give the sum of some stacks over time; nothing was there at the attach."""
        total: list[StackCounts] = []
        for stack in stacks:
            row = self._row(stack)
            if row:
                total = list(map(add_counts, total, row)) if total else row
        return Series(
            times_ns=(0, *self._times),
            counts=(NOTHING, *(total or [NOTHING] * len(self._times))),
        )

    def _row(self, stack: StackId) -> list[StackCounts]:
        row = self._counts.get(stack, [])
        if not row:
            return []
        before = self._first[stack]
        after = len(self._times) - before - len(row)
        return [NOTHING] * before + row + [row[-1]] * after
