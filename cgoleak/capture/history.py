"""Running totals of every stack over time, kept as they are stored: where they changed.

Input: columns of ``stack_count`` in order of time. Output: per snapshot a mapping that looks like a
dict of all stacks, and per stack where in the columns its numbers are over any snapshots. An hour
of snapshots of ten thousand stacks at rest then costs what one costs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import ItemsView, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from cgoleak.model.ids import StackId
from cgoleak.model.snapshot import StackCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["GONE", "NOTHING", "Changes", "CountRow", "CountsAt", "History"]


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
class Changes:
    """Changes of stacks in order of time, as columns: what a ``History`` is made of.

    A column is None as long as it has nothing but zeros, as half of them have in most captures.
    """

    __slots__ = ("columns", "numbers", "stacks")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.stacks: list[StackId] = []
        self.columns: list[list[Any] | None] = [None] * len(CountRow._fields)

    def add(
        self,
        snapshot: int,
        stacks: Sequence[StackId],
        columns: Iterable[Sequence[int | None] | None],
    ) -> None:
        """Add those of the next snapshot: the stacks, and a column per field of ``CountRow``.

        ``born_blocks`` is None where a stack is no longer reported. A column may be None for zeros.
        """
        for place, more in enumerate(columns):
            mine = self.columns[place]
            if mine is None and more is not None:
                mine = self.columns[place] = [0] * len(self.numbers)
            if mine is not None:
                mine += [0] * len(stacks) if more is None else more
        self.numbers += [snapshot] * len(stacks)
        self.stacks += stacks


@final
class History:
    """Per stack the numbers of the snapshots where it changed, and what it had from there on.

    Kept as columns, a value per change, in order of time: a judge takes three of the twelve numbers
    of each, and of a stack at rest the last. A place is that of a change in them. At place -1, the
    end, is ``NOTHING``.

    Attributes:
        numbers: the snapshot of each place.
        last: the place of the last change of each stack that was ever reported.
        previous: of each place, that of the change before of the same stack; -1 for the first.
        ends: places from where on a stack is no longer reported.
    """

    __slots__ = ("_columns", "ends", "last", "numbers", "previous")

    def __init__(self, changes: Changes | None = None) -> None:
        changes = changes or Changes()
        self.numbers = changes.numbers
        zeros: list[Any] = [0] * (len(self.numbers) + 1)
        self._columns: list[list[Any]] = []
        for stored, nothing in zip(changes.columns, NOTHING, strict=True):
            column = zeros
            if stored is not None or nothing != 0:
                column = stored or zeros[1:]
                column.append(nothing)
            self._columns.append(column)
        self.last: dict[StackId, int] = {}
        self.previous: list[int] = []
        self._link(changes.stacks)
        born = self._columns[0]
        self.ends: frozenset[int] = frozenset()
        if None in born:
            self.ends = frozenset(at for at, blocks in enumerate(born) if blocks is None)

    def column(self, field: str) -> list[Any]:
        """Give a field of ``CountRow`` at each place."""
        return self._columns[CountRow._fields.index(field)]

    def row(self, place: int) -> CountRow:
        """Give the counts at a place."""
        return _count_row([column[place] for column in self._columns])

    def rows(self, places: Sequence[int]) -> Iterator[CountRow]:
        """Give the counts at many places, which takes half as long by columns."""
        columns = [map(column.__getitem__, places) for column in self._columns]
        return map(_count_row, zip(*columns, strict=True))

    def until(self, snapshot: int, begin: int = 0) -> int:
        """Give where the places of ``snapshot`` and of those before it end, from ``begin`` on."""
        return bisect_right(self.numbers, snapshot, begin)

    def place(self, snapshot: int, stack: StackId) -> int:
        """Give the place of what ``stack`` had at ``snapshot``, -1 if it was not reported."""
        place = self.last.get(stack, -1)
        if place >= 0 and self.numbers[place] > snapshot:
            places = self._of(stack)
            later = bisect_right(places, snapshot, key=self.numbers.__getitem__)
            place = places[later - 1] if later else -1
        return -1 if place in self.ends else place

    def over(self, snapshots: Sequence[int], stack: StackId) -> Sequence[int]:
        """Give the places of what ``stack`` had at each of some snapshots.

        Once it is no longer reported, it keeps what it had: the counts are totals since attach.
        """
        places = self._of(stack)
        numbers = [self.numbers[place] for place in places]
        if numbers == snapshots and not self.ends:
            return places  # it changed at each of them
        found: list[int] = []
        before = -1
        for place, number in zip(places, numbers, strict=True):
            if place not in self.ends:
                found += [before] * (bisect_left(snapshots, number) - len(found))
                before = place
        return found + [before] * (len(snapshots) - len(found))

    def at(self, snapshot: int) -> Iterator[tuple[StackId, int]]:
        """Go through the stacks that were reported at ``snapshot``, each with its place."""
        for stack in sorted(self.last):
            place = self.place(snapshot, stack)
            if place >= 0:
                yield stack, place

    def reported(self, snapshot: int) -> Iterable[StackId]:
        """Give the stacks that were reported at ``snapshot``."""
        if self.ends or self.numbers[-1:] > [snapshot]:
            return (stack for stack, _ in self.at(snapshot))
        return sorted(self.last)

    def _of(self, stack: StackId) -> list[int]:
        """Give the places of a stack."""
        places = []
        place = self.last.get(stack, -1)
        while place >= 0:
            places.append(place)
            place = self.previous[place]
        places.reverse()
        return places

    def _link(self, stacks: Sequence[StackId]) -> None:
        """Find the last place of each stack, and from each place the one before."""
        last, link = self.last, self.previous.append
        before = last.get
        for place, stack in enumerate(stacks):
            link(before(stack, -1))
            last[stack] = place


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
        if place < 0:
            raise KeyError(stack)
        return self.history.row(place).at(self.at_ns)

    def __iter__(self) -> Iterator[StackId]:
        return iter(self.history.reported(self.number))

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
