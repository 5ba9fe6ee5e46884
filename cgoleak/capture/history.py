"""Running totals of every stack over time, kept as they are stored: where they changed.

Input: columns of ``stack_count`` in order of time. Output: per snapshot a mapping that looks like a
dict of all stacks, and per stack where in the columns its numbers are over any snapshots. An hour
of snapshots of ten thousand stacks at rest then costs what one costs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import ItemsView, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from cgoleak.model.ids import StackId
from cgoleak.model.snapshot import StackCounts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["GONE", "NOTHING", "CountRow", "CountsAt", "History"]


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

NOTHING: Final = CountRow(0, 0, 0, 0, 0, 0, 0, oldest_born_ns=None, old_blocks=0)
"""What every stack had at the attach."""
GONE: Final = (None,) * len(NOTHING)
"""Stands in the columns from where on a stack is no longer reported."""


@final
class History:
    """Per stack the numbers of the snapshots where it changed, and what it had from there on.

    Kept as columns, a value per change, in order of time: a judge takes three of the twelve numbers
    of each change. A place is that of a change in them; at place 0 is ``NOTHING``.

    Attributes:
        before: for each place that of the same stack's change before, or 0.
        ends: places from where on a stack is no longer reported.
        snapshots: number of each snapshot with changes, with the first place that is not its.
    """

    __slots__ = ("_columns", "_numbers", "_places", "before", "ends", "snapshots")

    def __init__(self) -> None:
        self.before = [0]
        self.ends: list[int] = []
        self.snapshots: list[tuple[int, int]] = []
        self._numbers = [0]
        self._columns: list[list[Any]] = [[value] for value in NOTHING]
        self._places: dict[StackId, list[int]] = defaultdict(list)

    def add(
        self, snapshot: int, stacks: Sequence[StackId], columns: Iterable[Sequence[int | None]]
    ) -> None:
        """Add the changes of the next snapshot: the stacks, and a column per field of ``CountRow``.

        ``born_blocks`` is None where a stack is no longer reported.
        """
        begin = len(self._numbers)
        self._numbers += [snapshot] * len(stacks)
        for mine, more in zip(self._columns, columns, strict=True):
            mine.extend(more)
        if None in self._columns[0][begin:]:
            self.ends += [
                place for place, born in enumerate(self._columns[0][begin:], begin) if born is None
            ]
        self.snapshots.append((snapshot, len(self._numbers)))
        places, before = self._places, self.before
        for place, stack in enumerate(stacks, begin):
            known = places[stack]
            before.append(known[-1] if known else 0)
            known.append(place)

    @property
    def stacks(self) -> Collection[StackId]:
        """Every stack that was ever reported."""
        return self._places.keys()

    def column(self, field: str) -> Sequence[Any]:
        """Give a field of ``CountRow`` at each place."""
        return self._columns[CountRow._fields.index(field)]

    def row(self, place: int) -> CountRow:
        """Give the counts at a place."""
        return _count_row([column[place] for column in self._columns])

    def changes(self, stack: StackId) -> Sequence[int]:
        """Give the places of a stack, without those from where on it was not reported."""
        places = self._places.get(stack, ())
        if not self.ends:
            return places
        born = self._columns[0]
        return [place for place in places if born[place] is not None]

    def place(self, snapshot: int, stack: StackId) -> int:
        """Give the place of what ``stack`` had at ``snapshot``, 0 if it was not reported."""
        places = self._places.get(stack)
        if not places:
            return 0
        last = places[-1]
        if self._numbers[last] > snapshot:
            found = bisect_right(places, snapshot, key=self._numbers.__getitem__)
            last = places[found - 1] if found else 0
        return last if self._columns[0][last] is not None else 0

    def over(self, snapshots: Sequence[int], stack: StackId) -> Sequence[int]:
        """Give the places of what ``stack`` had at the attach and at each of some snapshots.

        Once it is no longer reported, it keeps what it had: the counts are totals since attach.
        """
        places, numbers = self.changes(stack), self._numbers
        if [numbers[place] for place in places] == snapshots:
            return [0, *places]  # it changed at each of them
        found: list[int] = []
        before = 0
        for place in places:
            found += [before] * (bisect_left(snapshots, numbers[place]) + 1 - len(found))
            before = place
        return found + [before] * (len(snapshots) + 1 - len(found))

    def at(self, snapshot: int) -> Iterator[tuple[StackId, int]]:
        """Go through the stacks that were reported at ``snapshot``, each with its place."""
        for stack in self._places:
            place = self.place(snapshot, stack)
            if place:
                yield stack, place


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
        place = self.history.place(self.number, stack)
        if not place:
            raise KeyError(stack)
        return self.history.row(place).at(self.at_ns)

    def __iter__(self) -> Iterator[StackId]:
        return (stack for stack, _ in self.history.at(self.number))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> ItemsView[StackId, StackCounts]:
        """Give the pairs in one pass; a writer asks for all of them."""
        return _Pairs(self)

    def pairs(self) -> Iterator[tuple[StackId, StackCounts]]:
        """Go through the pairs."""
        history = self.history
        return (
            (stack, history.row(place).at(self.at_ns)) for stack, place in history.at(self.number)
        )

    def __repr__(self) -> str:
        return f"CountsAt({dict(self)!r})"


@final
class _Pairs(ItemsView[StackId, StackCounts]):
    __slots__ = ()
    _mapping: CountsAt

    def __iter__(self) -> Iterator[tuple[StackId, StackCounts]]:
        return self._mapping.pairs()
