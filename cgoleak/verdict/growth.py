"""What RSS grew by, and in which parts: the sheets of a window → one value to judge.

The parts are those of the balance sheet. What a process does in the window's beginning (it warms
up, fills caches, takes its first load) is told from what goes on to its end.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgoleak.ledger.series import largest_fall
from cgoleak.model.value import dataclass
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
    times = [ledger.times_ns[place] for place in places]
    half = bisect_left(times, (times[0] + times[-1]) / 2)
    return Growth(
        start=sizes[0],
        now=sizes[-1],
        peak=sizes[peak],
        parts=_between(first, sheets[-1]),
        parts_at_peak=_at_peak(first, sheets[peak:]),
        slack_reused=largest_fall(tuple(sheet.slack for sheet in sheets)),
        has_settled=_has_settled(sizes, half, bisect_left(times, (times[0] + 3 * times[-1]) / 4)),
        late=sizes[-1] - sizes[half],
        go_live_room=_live_room(ledger),
        go_is_idle=_is_idle(ledger),
    )


def _has_settled(sizes: Sequence[int], half: int, last_quarter: int) -> bool:
    """Tell if the later half stays where it is; its quarters begin at ``half, last_quarter``.

    What is used and given back in turns, a pool for one, ends anywhere between its bounds: then
    both of them stay. Steady growth would move them by half of what it adds in that time.
    """
    least = max(LEAST_BYTES / 2, LEAST_SHARE / 2 * sizes[0], 0.1 * (sizes[-1] - sizes[0]))
    if sizes[-1] - min(sizes[half:]) < least:
        return True
    third, fourth = sizes[half:last_quarter], sizes[last_quarter:]
    if not third or not fourth:
        return False
    return max(min(fourth) - min(third), max(fourth) - max(third)) < least / 2


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
    in the last third, the heap may be garbage as well as not: then nothing is known to rise.
    """
    thirds = _thirds(ledger)
    if not thirds:
        return 0
    floors = [min(go.heap_marked for go in third) for third in thirds]
    collected = thirds[2][-1].gc_cycles > thirds[1][-1].gc_cycles
    tops = [third[-1].heap_marked for third in thirds]
    if not collected or not floors[0] < floors[1] < floors[2] or not tops[0] < tops[1] < tops[2]:
        return 0
    return (tops[2] - floors[0]) * (100 + max(0, thirds[2][-1].gc_percent)) // 100


def _is_idle(ledger: Ledger) -> bool:
    thirds = _thirds(ledger)
    if not thirds:
        return False
    first, last = thirds[0][0], thirds[2][-1]
    late = last.total_alloc - thirds[1][-1].total_alloc
    everything = last.total_alloc - first.total_alloc
    same_cycle = last.gc_cycles == thirds[1][-1].gc_cycles
    return same_cycle and late <= _IDLE_SHARE * max(1, everything)
