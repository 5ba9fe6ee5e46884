"""Running totals of every stack over time, kept as they are stored: where they changed.

Input: rows of ``stack_count`` in order of time. Output: per snapshot a mapping that looks like a
dict of all stacks. An hour of snapshots of ten thousand stacks at rest then costs what one costs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import ItemsView, Iterator, Mapping
from typing import NamedTuple, final

from cgoleak.model.ids import StackId
from cgoleak.model.snapshot import StackCounts

__all__ = ["CountRow", "CountsAt", "History"]


class CountRow(NamedTuple):
    """What one stack had from some snapshot on; columns of ``stack_count``, ``sample_count``."""

    born_blocks: int
    born_bytes: int
    freed_blocks: int
    freed_bytes: int
    cleaned_blocks: int
    lifetime_ns_sum: int
    lifetime_ns_max: int
    oldest_born_ns: int | None
    old_blocks: int | None
    samples: int = 0
    blocks_error: int = 0
    bytes_error: int = 0

    def at(self, at_ns: int) -> StackCounts:
        """Give the counts as a snapshot at ``at_ns`` reports them."""
        # By position: a long watch makes millions of these.
        return StackCounts(
            *self[:7],
            0 if self.oldest_born_ns is None else at_ns - self.oldest_born_ns,
            *self[8:],
        )


@final
class History:
    """Per stack the numbers of the snapshots where it changed, and what it had from there on."""

    __slots__ = ("_numbers", "_rows")

    def __init__(self) -> None:
        self._numbers: dict[StackId, list[int]] = {}
        self._rows: dict[StackId, list[CountRow | None]] = {}

    def add(self, snapshot: int, stack: StackId, row: CountRow | None) -> None:
        """Add the next change of a stack, in order of snapshots; None: no longer reported."""
        self._numbers.setdefault(stack, []).append(snapshot)
        self._rows.setdefault(stack, []).append(row)

    def row(self, snapshot: int, stack: StackId) -> CountRow | None:
        """Give what ``stack`` had at ``snapshot``, or None."""
        numbers = self._numbers.get(stack)
        if numbers is None:
            return None
        place = bisect_right(numbers, snapshot)
        return self._rows[stack][place - 1] if place else None

    def rows(self, snapshot: int) -> Iterator[tuple[StackId, CountRow]]:
        """Go through what was reported at ``snapshot``."""
        for stack in self._numbers:
            row = self.row(snapshot, stack)
            if row is not None:
                yield stack, row

    def stacks(self, snapshot: int) -> Iterator[StackId]:
        """Go through the stacks that were reported at ``snapshot``."""
        return (stack for stack, _ in self.rows(snapshot))


@final
class CountsAt(Mapping[StackId, StackCounts]):
    """All stacks at one snapshot; equal to a dict of the same content."""

    __slots__ = ("_at_ns", "_history", "_snapshot")

    def __init__(self, history: History, snapshot: int, at_ns: int) -> None:
        self._history = history
        self._snapshot = snapshot
        self._at_ns = at_ns

    def __getitem__(self, stack: StackId) -> StackCounts:
        row = self._history.row(self._snapshot, stack)
        if row is None:
            raise KeyError(stack)
        return row.at(self._at_ns)

    def __iter__(self) -> Iterator[StackId]:
        return self._history.stacks(self._snapshot)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> ItemsView[StackId, StackCounts]:
        """Give the pairs in one pass; the ledger asks for all of them."""
        return _Pairs(self)

    def pairs(self) -> Iterator[tuple[StackId, StackCounts]]:
        """Go through the pairs."""
        return ((stack, row.at(self._at_ns)) for stack, row in self._history.rows(self._snapshot))

    def __repr__(self) -> str:
        return f"CountsAt({dict(self)!r})"


@final
class _Pairs(ItemsView[StackId, StackCounts]):
    __slots__ = ()
    _mapping: CountsAt

    def __iter__(self) -> Iterator[tuple[StackId, StackCounts]]:
        return self._mapping.pairs()
