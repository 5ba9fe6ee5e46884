"""Running totals of every stack over time, kept as they are stored: where they changed.

Input: rows of ``stack_count`` in order of time. Output: per snapshot a mapping that looks like a
dict of all stacks, and per stack its rows over any snapshots. An hour of snapshots of ten thousand
stacks at rest then costs what one costs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import ItemsView, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, final

from cgoleak.model.ids import StackId
from cgoleak.model.snapshot import StackCounts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["CountRow", "CountsAt", "History"]


class CountRow(NamedTuple):
    """What one stack had from some snapshot on; columns of ``stack_count``, ``sample_count``.

    It is a ``StackCounts`` with a birth instead of an age, so that it stays true until the stack
    allocates or frees again.
    """

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

    @classmethod
    def of(cls, counts: StackCounts, at_ns: int) -> CountRow:
        """Take what a snapshot at ``at_ns`` reports."""
        return cls(
            counts.born_blocks,
            counts.born_bytes,
            counts.freed_blocks,
            counts.freed_bytes,
            counts.cleaned_blocks,
            counts.lifetime_ns_sum,
            counts.lifetime_ns_max,
            at_ns - counts.oldest_ns if counts.oldest_ns else None,
            counts.old_blocks,
            counts.samples,
            counts.blocks_error,
            counts.bytes_error,
        )

    @property
    def outstanding_blocks(self) -> int:
        """Blocks allocated since attach and not freed yet."""
        return self.born_blocks - self.freed_blocks

    @property
    def outstanding_bytes(self) -> int:
        """Bytes allocated since attach and not freed yet."""
        return self.born_bytes - self.freed_bytes

    def age_at(self, at_ns: int) -> int:
        """Give the age of the oldest block at ``at_ns``; 0 if there is none or it is not known."""
        return 0 if self.oldest_born_ns is None else at_ns - self.oldest_born_ns

    def at(self, at_ns: int) -> StackCounts:
        """Give the counts as a snapshot at ``at_ns`` reports them."""
        return StackCounts(*self[:7], self.age_at(at_ns), *self[8:])


_count_row = partial(tuple.__new__, CountRow)
"""Makes a row of a tuple, at half the cost of a call with twelve arguments."""


@final
class History:
    """Per stack the numbers of the snapshots where it changed, and what it had from there on."""

    __slots__ = ("_tracks",)

    def __init__(self) -> None:
        self._tracks: dict[StackId, tuple[list[int], list[CountRow | None]]]
        self._tracks = defaultdict(lambda: ([], []))

    def add(self, snapshot: int, stack: StackId, row: CountRow | None) -> None:
        """Add the next change of a stack, in order of snapshots; None: no longer reported."""
        numbers, rows = self._tracks[stack]
        numbers.append(snapshot)
        rows.append(row)

    def add_stored(self, stored: Iterable[tuple[Any, ...]]) -> None:
        """Add changes, each as a snapshot's number, a stack, and the fields of a ``CountRow``.

        The first of these is None where the stack is no longer reported.
        """
        tracks = self._tracks
        for change in stored:
            numbers, rows = tracks[change[1]]
            numbers.append(change[0])
            rows.append(None if change[2] is None else _count_row(change[2:]))

    @property
    def stacks(self) -> Collection[StackId]:
        """Every stack that was ever reported."""
        return self._tracks.keys()

    def changes(self, stack: StackId) -> Iterator[tuple[int, CountRow | None]]:
        """Go through the snapshots where a stack changed, and what it had from there on."""
        return zip(*self._tracks.get(stack, ((), ())), strict=True)

    def row(self, snapshot: int, stack: StackId) -> CountRow | None:
        """Give what ``stack`` had at ``snapshot``, or None."""
        if stack not in self._tracks:
            return None
        numbers, rows = self._tracks[stack]
        if numbers[-1] <= snapshot:
            return rows[-1]
        place = bisect_right(numbers, snapshot)
        return rows[place - 1] if place else None

    def over(self, snapshots: Sequence[int], stack: StackId, before: CountRow) -> list[CountRow]:
        """Give what ``stack`` had at each of some snapshots: ``before`` until it is reported.

        Once it no longer is, it keeps what it had: the counts are totals since attach.
        """
        if stack not in self._tracks:
            return [before] * len(snapshots)
        numbers, rows = self._tracks[stack]
        known = [row for row in rows if row is not None]
        if numbers == snapshots and len(known) == len(rows):
            return known  # it changed at each of them
        found: list[CountRow] = []
        for number, row in zip(numbers, rows, strict=True):
            if row is not None:
                found += [before] * (bisect_left(snapshots, number) - len(found))
                before = row
        return found + [before] * (len(snapshots) - len(found))

    def rows(self, snapshot: int) -> Iterator[tuple[StackId, CountRow]]:
        """Go through what was reported at ``snapshot``."""
        for stack in self._tracks:
            row = self.row(snapshot, stack)
            if row is not None:
                yield stack, row


@final
class CountsAt(Mapping[StackId, StackCounts]):
    """All stacks at one snapshot; equal to a dict of the same content.

    ``at_ns`` is when it was taken, on the clock of the births.
    """

    __slots__ = ("at_ns", "history", "number")

    def __init__(self, history: History, number: int, at_ns: int) -> None:
        self.history = history
        self.number = number
        self.at_ns = at_ns

    def __getitem__(self, stack: StackId) -> StackCounts:
        row = self.history.row(self.number, stack)
        if row is None:
            raise KeyError(stack)
        return row.at(self.at_ns)

    def __iter__(self) -> Iterator[StackId]:
        return (stack for stack, _ in self.history.rows(self.number))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> ItemsView[StackId, StackCounts]:
        """Give the pairs in one pass; a writer asks for all of them."""
        return _Pairs(self)

    def pairs(self) -> Iterator[tuple[StackId, StackCounts]]:
        """Go through the pairs."""
        return ((stack, row.at(self.at_ns)) for stack, row in self.history.rows(self.number))

    def __repr__(self) -> str:
        return f"CountsAt({dict(self)!r})"


@final
class _Pairs(ItemsView[StackId, StackCounts]):
    __slots__ = ()
    _mapping: CountsAt

    def __iter__(self) -> Iterator[tuple[StackId, StackCounts]]:
        return self._mapping.pairs()
