"""What RSS grew by, and in which parts: the sheets of a window → one value to judge.

The parts are those of the balance sheet. What a process does in the window's beginning (it warms
up, fills caches, takes its first load) is told from what goes on to its end.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cgoleak.ledger.series import largest_fall
from cgoleak.verdict.balance import sheet_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.ledger import Ledger
    from cgoleak.model.snapshot import GoMemory
    from cgoleak.verdict.balance import Sheet

__all__ = ["LEAST_BYTES", "LEAST_SHARE", "Growth", "Parts", "growth_of"]

LEAST_BYTES: Final = 4 << 20
LEAST_SHARE: Final = 0.05
"""RSS growth below both is what any busy process shows."""
_FEWEST_COLLECTIONS: Final = 2
_IDLE_SHARE: Final = 0.01
"""Share of all that Go allocated in the window, below which its last third was idle."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Changes of the parts of RSS, in bytes."""

    go_in_use: int
    go_held: int
    native: int
    slack: int
    other: int


@dataclass(frozen=True, slots=True)
class Growth:
    """RSS over a window.

    Attributes:
        start, now, peak: RSS in bytes.
        parts: by what each part has changed from start to now.
        parts_at_peak: the same from start to the peak; what Go and malloc hold free is the most
            from there on, since what was in use at the peak is freed after it.
        slack_reused: the deepest fall of what malloc holds free: so much is taken again.
        has_settled: in the later half RSS has not gone on growing, or goes up and down between the
            same bounds.
        late: by how much it rose in that half.
        heights: the most of each half, if it came down in between and went up no higher again.
        go_live_room: how large a heap Go allows for by which its live heap rose, which is
            (1 + GOGC/100) times as much (gcController.commit, mgcpacer.go); 0 unless it rose in
            each third of the window.
        go_is_idle: in the last third Go allocated next to nothing and did not collect.
    """

    start: int
    now: int
    peak: int
    parts: Parts
    parts_at_peak: Parts
    slack_reused: int
    has_settled: bool
    late: int
    heights: tuple[int, int] | None
    go_live_room: int
    go_is_idle: bool

    @property
    def least(self) -> int:
        """Growth below this is not worth the name."""
        return max(LEAST_BYTES, int(LEAST_SHARE * self.start))


def growth_of(ledger: Ledger) -> Growth | None:
    """Measure a window; None unless two snapshots at least looked at the mappings."""
    places = [place for place, native in enumerate(ledger.native) if native is not None]
    if len(places) < 2:
        return None
    first = sheet_at(ledger, places[0], None)
    sheets = [sheet_at(ledger, place, first.before) for place in places]
    sizes = [sheet.rss for sheet in sheets]
    peak = sizes.index(max(sizes))
    steady = _without_tables(sheets)
    times = [ledger.times_ns[place] for place in places]
    half = bisect_left(times, (times[0] + times[-1]) / 2)
    return Growth(
        start=sizes[0],
        now=sizes[-1],
        peak=sizes[peak],
        parts=_between(first, sheets[-1]),
        parts_at_peak=_at_peak(first, sheets[peak:]),
        slack_reused=largest_fall(tuple(sheet.slack for sheet in sheets)),
        has_settled=_has_settled(steady, half, bisect_left(times, (times[0] + 3 * times[-1]) / 4)),
        late=steady[-1] - steady[half],
        heights=_heights(steady, half),
        go_live_room=_live_room(ledger),
        go_is_idle=_is_idle(ledger),
    )


def _without_tables(sheets: Sequence[Sheet]) -> list[int]:
    """Give RSS without what the probe's tables add between the first sheet and the last.

    They grow with what is followed, and go when the hooks do: the last sheet is read after that.
    Growth that is as large would seem to have stopped, and RSS to have come back.
    """
    usual = max(sheets[0].own, sheets[-1].own)
    return [sheet.rss - max(0, sheet.own - usual) for sheet in sheets]


def _has_settled(sizes: Sequence[int], half: int, last_quarter: int) -> bool:
    """Tell if the later half stays where it is; its quarters begin at ``half, last_quarter``.

    What is used and given back in turns, a pool for one, ends anywhere between its bounds: then
    both of them stay. Steady growth would move them by half of what it adds in that time.
    """
    least = _least(sizes)
    if _heights(sizes, half) is not None:
        return True
    if sizes[-1] - min(sizes[half:]) < least:
        return True
    third, fourth = sizes[half:last_quarter], sizes[last_quarter:]
    if not third or not fourth:
        return False
    return max(min(fourth) - min(third), max(fourth) - max(third)) < least / 2


def _heights(sizes: Sequence[int], half: int) -> tuple[int, int] | None:
    """Give the most of each half, if both are as high and most of the rise was gone in between.

    Where in its course the window began and ends says nothing then: batches come and go. Growth
    beside it would lift the second; two heights that are the same by chance are rare.
    """
    if not 0 < half < len(sizes):
        return None
    earlier, later = max(sizes[:half]), max(sizes[half:])
    lowest = min(sizes[sizes.index(earlier) : half + list(sizes[half:]).index(later) + 1])
    rise = max(sizes[-1] - sizes[0], _least(sizes))
    if abs(later - earlier) >= _least(sizes) / 2 or 2 * (min(earlier, later) - lowest) < rise:
        return None
    return earlier, later


def _least(sizes: Sequence[int]) -> float:
    """Give half of what any busy process shows, or a tenth of what it grew by."""
    return max(LEAST_BYTES / 2, LEAST_SHARE / 2 * sizes[0], 0.1 * (sizes[-1] - sizes[0]))


def _between(one: Sheet, other: Sheet) -> Parts:
    def change(*names: str) -> int:
        return sum(getattr(other, name) - getattr(one, name) for name in names)

    return Parts(
        go_in_use=change("go_in_use"),
        go_held=change("go_held", "go_lingering"),
        native=change("outstanding", "headers", "before"),
        slack=change("slack"),
        other=change("go_other", "stacks", "files", "shared", "unexplained"),
    )


def _at_peak(first: Sheet, from_peak: Sequence[Sheet]) -> Parts:
    since = [_between(first, sheet) for sheet in from_peak]
    return replace(
        since[0],
        go_held=max(parts.go_held for parts in since),
        slack=max(parts.slack for parts in since),
    )


def _thirds(ledger: Ledger) -> list[list[GoMemory]]:
    """Part the snapshots that know Go's numbers by thirds of the window."""
    known = [(at, go) for at, go in zip(ledger.times_ns, ledger.go, strict=True) if go is not None]
    if not known:
        return []
    begin, length = known[0][0], max(1, known[-1][0] - known[0][0])
    parts: list[list[GoMemory]] = [[], [], []]
    for at, go in known:
        parts[min(2, 3 * (at - begin) // length)].append(go)
    return parts if all(parts) else []


def _live_room(ledger: Ledger) -> int:
    """Measure the floor of the live heap; between collections it goes up whatever becomes of it.

    ``heap_marked`` is what the last collection found reachable (mgcpacer.go). Where there was none
    in the last third, the heap may be garbage as well as not: then nothing is known to rise, unless
    collections come ever more seldom because each finds more alive.
    """
    thirds = _thirds(ledger)
    if not thirds:
        return 0
    floors = [min(go.heap_marked for go in third) for third in thirds]
    collected = thirds[2][-1].gc_cycles > thirds[1][-1].gc_cycles
    tops = [third[-1].heap_marked for third in thirds]
    rises = floors[0] < floors[1] < floors[2] and tops[0] < tops[1] < tops[2]
    if not (collected and rises) and not _finds_ever_more(ledger):
        return 0
    return (tops[2] - floors[0]) * (100 + max(0, thirds[2][-1].gc_percent)) // 100


def _finds_ever_more(ledger: Ledger) -> bool:
    """Tell whether each collection found more alive than the one before, up to the later half.

    A heap that grows steadily is collected each time that it has grown by GOGC percent, so that
    the time between two collections doubles, and a third of the window need not have one. Two in
    the window at least: with what was alive at the attach these are three numbers that rise.
    Cannot know: what has become of what was allocated since the last one.
    """
    known = [(at, go) for at, go in zip(ledger.times_ns, ledger.go, strict=True) if go is not None]
    found: dict[int, tuple[int, int]] = {}
    for at, go in known:
        found.setdefault(go.gc_cycles, (at, go.heap_marked))
    if len(found) <= _FEWEST_COLLECTIONS or len(found) <= known[-1][1].gc_cycles - min(found):
        return False
    last, _ = found[max(found)]
    marked = [size for _, size in found.values()]
    return 2 * last >= known[0][0] + known[-1][0] and all(
        before < after for before, after in pairwise(marked)
    )


def _is_idle(ledger: Ledger) -> bool:
    thirds = _thirds(ledger)
    if not thirds:
        return False
    first, last = thirds[0][0], thirds[2][-1]
    late = last.total_alloc - thirds[1][-1].total_alloc
    everything = last.total_alloc - first.total_alloc
    same_cycle = last.gc_cycles == thirds[1][-1].gc_cycles
    return same_cycle and late <= _IDLE_SHARE * max(1, everything)
