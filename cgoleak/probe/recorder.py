"""Records one measurement: snapshots from the moment the hooks are in until they are out.

session + sink → capture. Whatever happens meanwhile (the target ends, Ctrl-C, the disk is full),
what was counted until then is written, and the hooks go out first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cgoleak.errors import CgoleakError
from cgoleak.model.capture import Cost, Sampling, Window
from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import Snapshot
from cgoleak.probe.overhead import Overhead
from cgoleak.target.kernel.cgroup import STAY_BYTES
from cgoleak.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgoleak.capture.writer import CaptureWriter
    from cgoleak.model.goprofile import GoProfile
    from cgoleak.probe.session import Farewell, ProbeSession
    from cgoleak.target.kernel.cgroup import Room

__all__ = ["Counting", "Ending", "Recorded", "record"]

_BEAT_S: Final = 0.1
"""How often the loop looks at the target, the clock and the stop event."""
_ENDING_BEAT_S: Final = 0.02
"""The same where the target waits for it at its exit."""
_SETTLING_CYCLES: Final = 2
_VERIFY_AT_S: Final = (0.3, 1.0, 3.0)
"""When slots are looked at again that the lazy binder may have overwritten."""
_SNAPSHOTS: Final = 30
_SHORTEST_S: Final = 0.5
_LONGEST_S: Final = 5.0
_COUNT_S: Final = 0.2
"""How often a display gets new numbers."""
_PROFILE_S: Final = 2.0
_PROFILE_PAUSE: Final = 200
"""As many times as long as reading Go's heap profile took is it left alone then."""
_WATCH_LIBRARY_S: Final = 2.0
"""How long after a dlopen began its modules are looked for."""


@dataclass(frozen=True, slots=True)
class Counting:
    """What a progress display wants to know."""

    elapsed_s: float
    events: int
    outstanding_bytes: int
    outstanding_blocks: int


class Ending(Protocol):
    """What holds the target at its exit."""

    def is_here(self) -> bool:
        """Whether the target stands at its exit."""

    def look(self) -> None:
        """Look at what will be gone."""

    def let_go(self) -> None:
        """Let it end."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """How it ended; ``notices`` are those of the cost."""

    window: Window
    cost: Cost
    farewell: Farewell
    notices: tuple[Notice, ...] = ()


def record(
    session: ProbeSession,
    sink: CaptureWriter,
    *,
    seconds: float | None,
    interval_s: float | None,
    should_stop: Callable[[], bool],
    started_unix_ns: int,
    on_count: Callable[[Counting], None],
    on_detach: Callable[[], None],
    origin_ns: int = 0,
    clock: Callable[[], float] = time.monotonic,
    ending: Ending | None = None,
    settle_s: float = 0.0,
    max_overhead: float | None = None,
    look_at_room: Callable[[], Room | None] = lambda: None,
) -> Recorded:
    """Take snapshots until time is over, ``should_stop`` says so or the target ends; detach.

    ``origin_ns`` is when this begins in a window that began before; snapshots are given its times.
    ``clock`` gives seconds since whenever. ``ending`` holds the target at its exit. ``settle_s`` is
    how long after ``seconds`` two GC cycles are waited for. ``max_overhead`` is the share of the
    target's CPU time above which blocks are sampled. ``look_at_room`` tells what memory its cgroup
    has left: when that is little, it is left as it is.
    """
    overhead = Overhead(session, max_overhead, seconds)
    recorder = _Recorder(session, sink, on_count, origin_ns, clock, overhead)
    recorder.ending, recorder.settle_s = ending, settle_s
    recorder.look_at_room = look_at_room
    try:
        ended = recorder.measure(seconds, interval_s, should_stop)
    finally:
        try:
            if ending is not None:
                ending.let_go()  # who stands at an exit cannot answer the detach
            on_detach()
        finally:  # a display that fails keeps no hook in
            over_ns = recorder.elapsed_ns
            recorder.look_at_cost(last=True)
            farewell = session.detach()
    if not recorder.looked_last:
        # The hooks are out: these numbers are final.
        recorder.snapshot(over_ns, thorough=True)
    recorder.last_profile(over_ns)
    mode = "sampled" if session.tables.rates() else "exact"
    window = Window(started_unix_ns, over_ns / 1e9, mode, ended)
    sink.put_sampling(recorder.sampling())
    sink.put_families(session.families)
    cost = Cost(session.pause_seconds, recorder.table_bytes, overhead.ns_per_event, overhead.share)
    return Recorded(window, cost, farewell, (*overhead.notices(), *recorder.notices))


class _Recorder:
    def __init__(
        self,
        session: ProbeSession,
        sink: CaptureWriter,
        on_count: Callable[[Counting], None],
        origin_ns: int,
        clock: Callable[[], float],
        overhead: Overhead,
    ) -> None:
        self._session = session
        self._overhead = overhead
        self._asked = session.tables.rates()
        self._sink = sink
        self._on_count = on_count
        self._origin_ns = origin_ns
        self._clock = clock
        self._began = clock()
        self._modules = 0
        self._counted_at = -1.0
        self._library_until = 0.0
        self._verify_at = list(_VERIFY_AT_S)
        self.table_bytes = 0
        self.ending: Ending | None = None
        self.settle_s = 0.0
        self.look_at_room: Callable[[], Room | None] = lambda: None
        self.notices: list[Notice] = []
        self.looked_last = False
        self._settled_at: int | None = None
        self._profile: GoProfile | None = None
        self._profile_at = -_PROFILE_S

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    @property
    def elapsed_ns(self) -> int:
        return int(self.elapsed * 1e9)

    def measure(
        self, seconds: float | None, interval_s: float | None, should_stop: Callable[[], bool]
    ) -> str:
        """Return why it ended: ``detached``, ``interrupted`` or ``target-exited``."""
        self.look_at_cost()
        self.snapshot(0, thorough=True)
        if (profile := self._session.go_profile(self._origin_ns)) is not None:
            self._sink.add_go_profile(profile)
        due = _due(seconds, interval_s)
        next_at = next(due)
        while not should_stop():
            until = next_at if seconds is None else min(next_at, seconds)
            self._wait(max(until - self.elapsed, 0.0 if self._settled_at is None else _BEAT_S))
            if (over := self._is_over()) is not None:
                return over
            try:
                self._look_at_slots()
                self.look_at_cost()
                if seconds is not None and self.elapsed >= seconds and self._is_settled(seconds):
                    return "detached"
                if self.elapsed >= next_at:
                    self._session.rescan()
                    self.snapshot(self.elapsed_ns)
                    self._keep_profile()
                    next_at = next(t for t in due if t > self.elapsed)
            except CgoleakError:
                if self.ending is not None and self.ending.is_here():
                    self._look_last(self.ending)
                elif self._session.is_alive():
                    raise
                return "target-exited"
        return "interrupted"

    def _is_over(self) -> str | None:
        """Say how it ended, if the target came to its end or close to a limit."""
        if self.ending is not None and self.ending.is_here():
            self._look_last(self.ending)
            return "target-exited"
        if not self._session.is_alive():
            return "target-exited"
        if self._count() and self._is_narrow():
            return "detached"
        return None

    def look_at_cost(self, *, last: bool = False) -> None:
        """See what the hooks cost, and slow down if that is too much."""
        self._overhead.look(self.elapsed, at_ns=self._origin_ns + self.elapsed_ns, last=last)

    def sampling(self) -> tuple[Sampling, ...]:
        """Give since when blocks were sampled: because it was asked for, or of the cost."""
        asked = (Sampling(self._origin_ns, rate) for rate in self._asked)
        return (*asked, *self._overhead.changes)

    def _look_last(self, ending: Ending) -> None:
        """Take the final numbers with everything still there, and let the target end."""
        try:
            self.snapshot(self.elapsed_ns, thorough=True)
            self.looked_last = True
            ending.look()
        finally:
            ending.let_go()

    def _is_settled(self, seconds: float) -> bool:
        """Wait until two GC cycles have ended since the time was over, or no longer.

        The first finds Go objects dead, whose finalizers free C memory before the second ends.
        """
        if self.elapsed >= seconds + self.settle_s:
            return True
        go = self._session.observe().go
        if go is None:
            return True
        if self._settled_at is None:
            self._settled_at = go.gc_cycles + _SETTLING_CYCLES
        return go.gc_cycles >= self._settled_at

    def _keep_profile(self) -> None:
        """Read Go's heap profile now and then: of a process that has ended none can be read."""
        if self.elapsed - self._profile_at < _PROFILE_S:
            return
        began = self.elapsed
        self._profile = self._session.go_profile(self._origin_ns + self.elapsed_ns)
        # A program with very many stacks is not asked all the time.
        self._profile_at = self.elapsed + _PROFILE_PAUSE * (self.elapsed - began)

    def last_profile(self, at_ns: int) -> None:
        """Store Go's heap profile as it is, or as it was last."""
        now = self._session.go_profile(self._origin_ns + at_ns) or self._profile
        if now is not None:
            self._sink.add_go_profile(now)

    def _wait(self, at_most: float) -> None:
        """Sleep a beat, or shorter while a library is on its way in."""
        beat = 0.01 if self.elapsed < self._library_until else _BEAT_S
        if self.ending is not None:
            beat = min(beat, _ENDING_BEAT_S)
        if self._session.wait_for_event(max(0.0, min(beat, at_most))):
            self._library_until = self.elapsed + _WATCH_LIBRARY_S

    def _look_at_slots(self) -> None:
        if self.elapsed < self._library_until:
            self._session.rescan()
        if self._verify_at and self.elapsed >= self._verify_at[0]:
            self._verify_at.pop(0)
            self._session.rescan()
            self._session.verify()

    def _is_narrow(self) -> bool:
        """Whether we must go, before our pages have the target killed."""
        room = self.look_at_room()
        if room is None or room.left_bytes >= STAY_BYTES:
            return False
        left, limit = format_bytes(room.left_bytes), format_bytes(room.limit_bytes)
        text = f"the hooks were taken out early: the memory cgroup had {left} left of {limit}"
        self.notices.append(Notice("probe.memory-limit", text, "raise the limit"))
        return True

    def _count(self) -> bool:
        """Tell the display now and then; return whether it was time."""
        if self.elapsed - self._counted_at < _COUNT_S:
            return False
        self._counted_at = self.elapsed
        events, outstanding_bytes, outstanding_blocks = self._session.tables.totals()
        self._on_count(Counting(self.elapsed, events, outstanding_bytes, outstanding_blocks))
        return True

    def snapshot(self, at_ns: int, *, thorough: bool = False) -> None:
        tables = self._session.tables
        if families := self._session.families:
            self._sink.put_families(families)
        for module in self._session.modules[self._modules :]:
            self._sink.add_module(module.described)
        self._modules = len(self._session.modules)
        counts = tables.counts()
        # After the counts: a stack that they name has been entered by then.
        for stack in tables.new_stacks():
            self._sink.add_stack(stack)
        counters = tables.counters(counts)
        self.table_bytes = max(self.table_bytes, counters.table_bytes)
        seen = self._session.observe(thorough=thorough)
        if mappings := tables.mapping_stacks():
            self._sink.put_mappings(mappings)
        self._sink.add_snapshot(
            Snapshot(
                at_ns=self._origin_ns + at_ns,
                stacks=counts,
                counters=counters,
                process=seen.process,
                go=seen.go,
                native=seen.native,
            )
        )


def _due(seconds: float | None, interval_s: float | None) -> Iterator[float]:
    """Yield when snapshots are due.

    Without an interval: evenly, thirty in a window of known length; in one of unknown length every
    half second at first, and ever more rarely, so that a short run has enough and a long one not
    too many.
    """
    at = 0.0
    while True:
        if interval_s is not None:
            step = interval_s
        else:
            step = at / 40 if seconds is None else seconds / _SNAPSHOTS
            step = min(max(step, _SHORTEST_S), _LONGEST_S)
        at += step
        yield at
