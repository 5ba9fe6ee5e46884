"""The edge of the recorder: a session without a target, and a clock that moves when it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.errors import CaptureError
from cgoleak.model.goprofile import GoProfile
from cgoleak.probe.session import Farewell
from cgoleak.target.observer import Observation
from support.builders import process_memory
from support.probe_tables import MadeTables

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgoleak.model.capture import Module, RawStack
    from cgoleak.model.handles import HandleFamily
    from cgoleak.model.notice import Notice
    from cgoleak.model.snapshot import Snapshot
    from cgoleak.probe.calls.modules import LoadedModule
    from cgoleak.probe.wire.tables import Tables

__all__ = ["FullDisk", "RecordedSession"]


class RecordedSession:
    """Plays the part of ``ProbeSession``.

    Attributes:
        now: the time, in seconds; waiting moves it.
        did: what was asked of it, in order, without the waiting.
        at: what happens at a time: called once, when waiting gets there.
        libraries_at: when the target loads something.
        dies_at: when the target ends.
        broken: raised by ``rescan``.
        cpu_s: CPU time that it has taken, by elapsed time; a second per second if not set.
    """

    def __init__(self, *, modules: tuple[LoadedModule, ...] = ()) -> None:
        self.made = MadeTables()
        self.tables: Tables = self.made.open()
        self.modules = modules
        self.notices: list[Notice] = []
        self.farewell_notices: tuple[Notice, ...] = ()
        self.pause_seconds = 0.012
        self.now = 100.0
        self.did: list[str] = []
        self.at: list[tuple[float, Callable[[], None]]] = []
        self.libraries_at: list[float] = []
        self.dies_at: float | None = None
        self.broken: Exception | None = None
        self.cpu_s: Callable[[float], float] = lambda elapsed: elapsed
        self.rescanned_at: list[float] = []
        self.verified_at: list[float] = []
        self.thorough: list[bool] = []
        self.profiled_at: list[float] = []

    @property
    def families(self) -> tuple[HandleFamily, ...]:
        return ()

    @property
    def elapsed(self) -> float:
        return self.now - 100.0

    def clock(self) -> float:
        return self.now

    def wait_for_event(self, seconds: float) -> bool:
        # A little longer than asked for, as every wait is.
        self.now += seconds + 0.0001
        for when, happens in [entry for entry in self.at if entry[0] <= self.elapsed]:
            self.at.remove((when, happens))
            happens()
        if self.libraries_at and self.libraries_at[0] <= self.elapsed:
            self.libraries_at.pop(0)
            return True
        return False

    def cpu_seconds(self) -> float | None:
        return self.cpu_s(self.elapsed) if self.is_alive() else None

    def sample(self, rate: int, *, rare: int = 0) -> None:
        self.did.append(f"sample {rate}")
        shared = self.tables.shared
        shared.epoch += 1
        shared.rates[shared.epoch] = rate

    def is_alive(self) -> bool:
        return self.dies_at is None or self.elapsed < self.dies_at

    def rescan(self) -> tuple[LoadedModule, ...]:
        self.rescanned_at.append(self.elapsed)
        if self.broken is not None:
            raise self.broken
        return ()

    def verify(self) -> int:
        self.verified_at.append(self.elapsed)
        return 0

    def observe(self, *, thorough: bool = True) -> Observation:
        self.thorough.append(thorough)
        return Observation(process_memory(rss=int(self.elapsed) + (64 << 20)), None, None)

    def go_profile(self, at_ns: int) -> GoProfile | None:
        if not self.is_alive():
            return None
        self.profiled_at.append(self.elapsed)
        return GoProfile(at_ns, rate=1, missing="made up")

    def detach(self) -> Farewell:
        self.did.append("detach")
        return Farewell(3, clean=True, seconds=0.001, notices=self.farewell_notices)

    def summary_notices(self) -> list[Notice]:
        return list(self.notices)

    def close(self) -> None:
        self.did.append("close")
        self.tables.close()
        self.made.close()


class FullDisk:
    """A capture that takes some snapshots, and then no more."""

    def __init__(self, room: int, did: list[str]) -> None:
        self._room = room
        self._did = did

    def add_module(self, module: Module) -> None:
        pass

    def add_stack(self, stack: RawStack) -> None:
        if not self._room:
            self._refuse()

    def add_snapshot(self, snapshot: Snapshot) -> None:
        if not self._room:
            self._refuse()
        self._room -= 1

    def add_go_profile(self, profile: GoProfile) -> None:
        pass

    def _refuse(self) -> None:
        self._did.append("refused")
        raise CaptureError("cannot write capture", cause="disk full")
