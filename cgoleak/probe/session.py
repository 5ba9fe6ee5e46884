"""One measurement of one process: in, counting, out, and the proof that nothing was left behind."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cgoleak.errors import (
    AlreadyTraced,
    AttachFailed,
    CgoleakError,
    ProbeError,
    TargetBusy,
    TargetExited,
)
from cgoleak.model.notice import Notice
from cgoleak.probe import proof
from cgoleak.probe.calls.callsites import CallSites
from cgoleak.probe.calls.libraries import Libraries
from cgoleak.probe.calls.modules import mapped_modules
from cgoleak.probe.calls.pairs import Pairs
from cgoleak.probe.entry.filters import refuse_filters
from cgoleak.probe.entry.orders import Order
from cgoleak.probe.survey import survey_target
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.go import wire_go
from cgoleak.probe.wire.layout import (
    PAIR_FUNCTIONS,
    PAIR_THUNK_BYTES,
    RATE_MOST,
    Function,
    SlotState,
    State,
)
from cgoleak.probe.wire.resident import (
    Resident,
    find_residents,
    is_measuring,
    may_leave_by_itself,
)
from cgoleak.probe.wire.tables import Tables
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.mark import find_mark
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.procfs import PROC
from cgoleak.target.observer import MemoryObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cgoleak.model.goprofile import GoProfile
    from cgoleak.model.handles import Family, HandleFamily
    from cgoleak.probe.calls.modules import LoadedModule
    from cgoleak.probe.entry.injector import Injector
    from cgoleak.probe.wire.layout import Header
    from cgoleak.target.go.heap import GoHeap
    from cgoleak.target.observer import Observation
    from cgoleak.target.preflight import TargetFacts

__all__ = ["Farewell", "ProbeSession"]

_Found = TypeVar("_Found")

_START_S: Final = 5.0
_COMMAND_S: Final = 5.0
_LEAVING_S: Final = 12.0
_ORPHANED_S: Final = 2.0
"""Within a second a probe sees that its controller has died (``cg_controller_lives``)."""
_UNLED_S: Final = 15.0
"""For ten seconds it waits for a controller (``cg_control``), then for whoever is in a hook."""
_POLL_S: Final = 0.0005
_FILTERED: Final = 2
_TOO_LATE: Final = 0xFFFFFFFF
"""Answer to an install whose hold has run out."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """What was found after the probe had gone.

    Attributes:
        slots: how many had been taken.
        clean: every slot and every byte of code is what it was.
        seconds: how long the hooks took to go.
    """

    slots: int
    clean: bool
    seconds: float
    notices: tuple[Notice, ...]


class ProbeSession:
    """The probe in one process: ``attach``, read ``tables``, ``detach``, ``close``."""

    def __init__(
        self, facts: TargetFacts, *, families: Sequence[Family] = (), root: Path = PROC
    ) -> None:
        """Learn everything that can be learnt from outside; nothing is touched.

        ``families`` are kinds of handles to count beside the blocks.

        Raises:
            AlreadyTraced: another cgoleak measures this process.
            UnsupportedTarget: no slot leads to its allocator.
        """
        self._pid = facts.pid
        self._pid_inside = facts.status.ns_pids[-1] if facts.status.ns_pids else facts.pid
        self._root = root
        self._artifact = load_artifact()
        self._is_filtered = facts.status.seccomp == _FILTERED
        self._resident: Resident | None = None
        self._tables: Tables | None = None
        self._command_fd = -1
        self._event_fd = -1
        with contextlib.ExitStack() as opened:
            self._memory = opened.enter_context(Memory(self._pid, root))
            self._mark = find_mark(self._pid, self._memory, root)
            self._start = self._idle_start()
            regions = procfs.maps(self._pid, root)
            self._survey = seen = survey_target(facts, regions, self._memory, root)
            self._calls = CallSites(self._pid, self._memory, self._survey.calls, root)
            self._pairs = Pairs(families, self._memory)
            self._pair_calls = tuple(
                CallSites(self._pid, self._memory, inside, root)
                for inside in self._pairs.survey_calls(
                    seen.modules, seen.go.text if seen.go else None, regions
                )
            )
            own = dict(self._calls.own_code)
            for sites in self._pair_calls:
                own |= sites.own_code
            if (dead := self._survey.dead) is not None:
                own[dead.start] = dead.own
            self._code = proof.code_sums(self._pid, self._memory, root, own)
            self.libraries = Libraries(
                self._pid,
                self._memory,
                root,
                self._pairs,
                modules=seen.modules,
                slots=seen.slots,
                notices=seen.notices,
            )
            heap = self._survey.heap
            self._observer = MemoryObserver(self._pid, root=root, facts=facts, heap=heap)
            opened.pop_all()
        self.notices: list[Notice] = []
        self.pause_seconds = 0.0
        self.attempts = 0

    @property
    def tables(self) -> Tables:
        """The probe's tables, from ``attach`` until ``close``, even if the target dies."""
        if self._tables is None:
            raise ProbeError("the probe is not attached")
        return self._tables

    @property
    def heap(self) -> GoHeap | None:
        """What reads Go's numbers, if Go's variables were found."""
        return self._survey.heap

    @property
    def modules(self) -> tuple[LoadedModule, ...]:
        """Every module that was seen since the session began."""
        return self.libraries.modules

    @property
    def control_tid(self) -> int:
        """The probe's own thread in the target; 0 before ``attach``."""
        header = self._resident.header(self._memory) if self._resident else None
        return int(header.control_tid) if header else 0

    # --- coming in ---------------------------------------------------------------------------

    def attach(
        self, injector: Injector, *, held: bool = False, sample_bytes: int | None = None
    ) -> None:
        """Bring the probe in and take the slots over.

        ``sample_bytes``: one block per so many bytes is followed; None: every one.

        Raises:
            ProbeError: it could not be done; the target runs on as before.
            UnsupportedTarget: its seccomp filter would end it; nothing was done.
            TargetExited: it ended meanwhile.
        """
        if self._is_filtered and not held:  # what we hold ourselves cannot be looked at twice
            refuse_filters(self._pid, self._root)
        result = injector.inject(
            Order(
                pid=self._pid,
                image=str(self._artifact.path),
                start=self._start,
                namespaced=self._pid_inside != self._pid,
                held=held,
                risky=list(self._survey.risky),
                risky_data=list(self._survey.risky_data),
                returns=list(self._survey.handler_returns),
                arch=platform.machine(),
                dead=(dead.start, dead.end) if (dead := self._survey.dead) else (),
                dead_code=dead.own.hex() if dead else "",
                mark_at=self._mark.address if self._mark else 0,
                mark=self._mark.content.hex() if self._mark else "",
            )
        )
        self._open_tables()
        shared = self.tables.shared
        if (header := self._resident_header()) is not None:
            self._pairs.begin(self.tables, header)
        if self._survey.go is not None:
            shared.go = wire_go(self._survey.go)
        shared.main_stack_top = self._survey.main_stack_top
        for function, address in self._survey.slots.providers.items():
            shared.real[function] = address
        self.tables.write_modules(mapped_modules(self._survey.modules))
        self.order(b"M")
        if sample_bytes is not None:
            self.sample(sample_bytes)
        modules = self._survey.modules
        pairs = self._pairs.slots(self.tables, modules, modules)
        # Before the slots: until these are in, hooks count nothing, and no free can be missed.
        self._calls.take(self, held=held)
        if self._survey.dead is not None and not self._calls.are_taken:
            # A static program has nothing else: without them it would seem never to allocate.
            raise TargetBusy(
                f"cannot take over the calls of pid {self._pid}",
                cause="; ".join(notice.text for notice in self._calls.notices),
                fix="try again; cgoleak watch needs no entry",
            )
        self._take_pair_calls(held=held)
        self.libraries.take_first(self, (*self._survey.slots.slots, *pairs), held=held)
        # dlclose is taken by itself, and before the others: it says nothing of them.
        slots = [slot for slot in self.tables.slots() if slot.function != Function.DLCLOSE]
        if self._survey.dead is None and all(slot.state != SlotState.TAKEN for slot in slots):
            raise AttachFailed(
                f"no slot of pid {self._pid} could be taken over",
                cause="the process may not do what the probe needs (a seccomp filter, as a rule)",
                fix=f"see: cgoleak doctor {self._pid}",
            )
        if held:
            result = injector.release()
        self.pause_seconds = float(result["pause_seconds"])
        self.pause_seconds += sum(sites.seconds for sites in self._all_calls)
        self.attempts = int(result["attempts"])
        if not result["unloaded"]:
            self.notices.append(
                Notice("probe.loader-left", "Frida's loader pages (72 kB) stay in the target")
            )

    @property
    def _all_calls(self) -> tuple[CallSites, ...]:
        return self._calls, *self._pair_calls

    def _take_pair_calls(self, *, held: bool) -> None:
        """Take the calls of handles' functions; where some could not be, their kinds are left out.

        Places are given first, all of them: what has no room is left out as a whole.
        """
        self._pairs.calls(self.tables)
        for sites, found in zip(self._pair_calls, self._pairs.calls(self.tables), strict=True):
            sites.find_again(found)
            sites.take(self, held=held)
            if found is not None and found.why is None and not sites.are_all_taken:
                self._pairs.leave_out(self.tables, found)

    def _idle_start(self) -> int:
        """Return the start function of a copy that waits to be started again, or 0.

        A copy that leaves by itself, because its controller died or never came, is waited for.
        """
        began = time.monotonic()
        while True:
            busy = unled = False
            for resident in self._residents():
                header = resident.header(self._memory)
                if header is None:
                    continue
                if is_measuring(header, self._pid_inside):
                    busy = True
                    unled = unled or may_leave_by_itself(header)
                elif header.owner_pid == self._pid_inside:
                    return int(header.start)
            if not busy:
                return 0
            if time.monotonic() - began > (_UNLED_S if unled else _ORPHANED_S):
                raise _measured_already(self._pid)
            time.sleep(0.02)

    def _residents(self) -> tuple[Resident, ...]:
        regions = procfs.maps(self._pid, self._root)
        return find_residents(regions, self._memory, self._artifact)

    def _open_tables(self) -> None:
        """Take our ends of memfd and pipes out of the target's file descriptors."""
        header = self._wait("the probe did not start", self._running_header, _START_S)
        directory = self._root / str(self._pid) / "fd"
        try:
            fd = os.open(directory / str(header.shared_fd), os.O_RDWR | os.O_CLOEXEC)
            self._tables = Tables(fd, self._artifact)
            self._tables.lock()
            self._command_fd = os.open(
                directory / str(header.command_fd), os.O_WRONLY | os.O_CLOEXEC
            )
            self._event_fd = os.open(
                directory / str(header.event_fd), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except BlockingIOError as exc:
            # The lock: somebody started the waiting copy a moment before us.
            raise _measured_already(self._pid) from exc
        except OSError as exc:
            raise AttachFailed(
                f"cannot open the probe's files in pid {self._pid}",
                cause=str(exc),
                fix=f"see: cgoleak doctor {self._pid}",
            ) from exc
        self.order(b"C")

    def _running_header(self) -> Header | None:
        for resident in self._residents():
            header = resident.header(self._memory)
            if header is None or header.owner_pid != self._pid_inside:
                continue
            if header.state == State.FAILED:
                raise AttachFailed(
                    f"the probe could not start in pid {self._pid}",
                    cause=f"step {header.step}: {os.strerror(header.error)}",
                    fix="check the target's limits (RLIMIT_AS, RLIMIT_NOFILE, memory cgroup)",
                )
            if header.state == State.RUNNING:
                self._resident = resident
                return header
        return None

    # --- orders ------------------------------------------------------------------------------

    def order(self, command: bytes) -> None:
        """Give an order and wait until it is carried out."""
        shared = self.tables.shared
        expected = (shared.cmd_done + 1) & 0xFFFFFFFF
        try:
            os.write(self._command_fd, command)
        except OSError as exc:
            raise self._gone("the probe does not listen any more") from exc
        self._wait(
            f"the probe did not carry out {command.decode()!r}",
            lambda: shared.cmd_done == expected or None,
            _COMMAND_S,
        )

    def _wait(self, what: str, ready: Callable[[], _Found | None], seconds: float) -> _Found:
        """Ask until something comes; tell a target that ended from a probe that hangs."""
        deadline = time.monotonic() + seconds
        while (found := ready()) is None:
            if not self.is_alive() or time.monotonic() > deadline:
                raise self._gone(what)
            time.sleep(_POLL_S)
        return found

    def _gone(self, what: str) -> CgoleakError:
        if not self.is_alive():
            return TargetExited(f"pid {self._pid} ended while it was being measured")
        return ProbeError(what, fix=f"see: cgoleak doctor {self._pid}")

    def observe(self, *, thorough: bool = False) -> Observation:
        """Look at the process's memory from outside; parts that cannot be had are None."""
        return self._observer.observe(thorough=thorough)

    def go_profile(self, at_ns: int) -> GoProfile | None:
        """Read Go's own heap profile from outside; None where there is nothing to read."""
        return self._observer.go_profile(at_ns)

    def cpu_seconds(self) -> float | None:
        """Read how much CPU time the target has taken since its start; None if it has ended."""
        try:
            return procfs.cpu_seconds(self._pid, self._root)
        except CgoleakError:
            return None

    def is_alive(self) -> bool:
        """True while the target runs, and is still the program that we entered."""
        try:
            state = procfs.stat(self._pid, self._root).state
        except CgoleakError:
            return False
        if state in "ZX":
            return False
        if self._resident is None:
            return True
        # After exec the process is another program: the resident copy is gone with the old one.
        return self._resident.header(self._memory) is not None

    def sample(self, rate: int, *, rare: int = 0) -> None:
        """Sample one block per ``rate`` bytes from now on, instead of following every one.

        ``rare``: so many blocks a second, 255 at most, are followed for sure at each place that
        allocates, the first ones.

        Raises:
            ProbeError: it cannot be done: not a rate, or the seventh change of it.
        """
        self.tables.shared.cmd_rate = min(max(rate, 1), RATE_MOST)
        self.tables.shared.cmd_rare = rare
        self.order(b"S")
        if self.tables.shared.cmd_status:
            raise ProbeError(f"the probe does not sample one block per {rate} bytes")

    def install(self, first: int, last: int, *, held: bool = False, counting: bool = True) -> bool:
        """Take slots over; false if ``held`` was wanted and the hold has run out.

        ``counting``: from here on what is hooked is counted.
        """
        shared = self.tables.shared
        shared.cmd_first, shared.cmd_last, shared.cmd_held = first, last, held
        self.order(b"I" if counting else b"P")
        return bool(shared.cmd_status != _TOO_LATE)

    # --- while it measures -------------------------------------------------------------------

    def wait_for_event(self, seconds: float) -> bool:
        """Wait for the target to load or unload a library; true if it did."""
        if self._event_fd < 0:
            time.sleep(seconds)
            return False
        try:
            ready, _, _ = select.select([self._event_fd], [], [], seconds)
            if not ready:
                return False
            if os.read(self._event_fd, 4096):
                return True
        except BlockingIOError:
            return False
        time.sleep(seconds)  # end of file: the target has closed its end, nothing more will come
        return False

    def rescan(self) -> None:
        """Look for modules that have come, and take their slots.

        A thread of the target may wait for this (``cg_before_dl``): it is told in the end.
        """
        shared = self.tables.shared
        wanted = shared.dl_wanted
        self.libraries.look(self)
        shared.dl_done = wanted

    def hooks(self) -> tuple[int, ...]:
        """Return the addresses of the probe's functions in the target."""
        header = self._resident_header()
        return (*header.hook, *self._pairs.hooks()) if header else ()

    def near_hooks(self) -> tuple[int, ...]:
        """Return the addresses that a near page leads to, the same ones each time."""
        header = self._resident_header()
        if header is None:
            return ()
        thunks = range(0, PAIR_FUNCTIONS * PAIR_THUNK_BYTES, PAIR_THUNK_BYTES)
        return (*header.hook[: Function.MMAP], *(header.pair_hook + at for at in thunks))

    def _resident_header(self) -> Header | None:
        return self._resident.header(self._memory) if self._resident else None

    @property
    def families(self) -> tuple[HandleFamily, ...]:
        """What was counted of each kind of handles so far."""
        return self._pairs.counted(self.tables)

    def verify(self) -> int:
        """Take back slots that the lazy binder has overwritten; return how many."""
        self.order(b"V")
        return int(self.tables.shared.cmd_status)

    # --- going out ---------------------------------------------------------------------------

    def detach(self) -> Farewell:
        """Give the slots back, wait until the probe has gone, and look whether all is as before.

        Never raises for a target that has ended: then there is nothing to restore.
        """
        began = time.monotonic()
        notices: list[Notice] = []
        taken = sum(s.state == SlotState.TAKEN for s in self.tables.slots())
        with contextlib.suppress(OSError):  # it has gone by itself
            os.write(self._command_fd, b"D")
        deadline = began + _LEAVING_S
        shared = self.tables.shared
        while not shared.detached and self.is_alive() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        seconds = time.monotonic() - began
        self._close_fds()
        if not self.is_alive():
            return Farewell(taken, clean=True, seconds=seconds, notices=())
        notices += [notice for sites in self._all_calls for notice in sites.put_back()]
        if not shared.detached:
            notices.append(
                Notice(
                    "probe.not-gone",
                    f"the probe did not answer within {_LEAVING_S:.0f} s; it gives its slots back"
                    " as soon as it runs again",
                )
            )
            return Farewell(taken, clean=False, seconds=seconds, notices=tuple(notices))
        self._wait_until_idle(deadline)
        notices += self._check_leftover()
        notices += self._check_slots()
        notices += self._check_code()
        return Farewell(taken, clean=not notices, seconds=seconds, notices=tuple(notices))

    def _wait_until_idle(self, deadline: float) -> None:
        while self._resident is not None and time.monotonic() < deadline:
            header = self._resident.header(self._memory)
            if header is None or header.state == State.IDLE:
                return
            time.sleep(_POLL_S)

    def _check_leftover(self) -> list[Notice]:
        header = self._resident.header(self._memory) if self._resident else None
        if header is None or not header.leftover:
            return []
        text = "a thread was still in a hook: the tables stay in the target until the next attach"
        return [Notice("probe.tables-left", text)]

    def _check_slots(self) -> list[Notice]:
        wrong = proof.changed_slots(self.tables, self._memory)
        if not wrong:
            return []
        text = (
            f"{len(wrong)} slots do not hold what they held before,"
            f" the first at {wrong[0].address:#x}"
        )
        return [Notice("probe.slots-changed", text)]

    def _check_code(self) -> list[Notice]:
        after = proof.code_sums(self._pid, self._memory, self._root)
        changed = proof.differences(self._code, after)
        if not changed:
            return []
        return [Notice("probe.code-changed", f"code differs from before: {', '.join(changed)}")]

    def summary_notices(self) -> list[Notice]:
        """Give what the user should know of the measurement, once, at its end."""
        found = [*self.notices, *(one for sites in self._all_calls for one in sites.notices)]
        found += self.libraries.notices
        found += [*self._observer.notices, *self._pairs.notices(self.modules)]
        with contextlib.suppress(CgoleakError):  # it may have ended
            running = len(procfs.tasks(self._pid, self._root))
            if self._tables is not None and running:
                ended = self._pairs.ended_threads(self._tables, running)
                found += [ended] if ended else []
        if foreign := sorted(self.libraries.foreign):
            found.append(
                Notice(
                    "probe.slots-foreign",
                    f"{len(foreign)} slots lead elsewhere and were left alone, so blocks from"
                    f" there are not seen: {', '.join(foreign[:5])}",
                )
            )
        if self._tables is not None and self._tables.shared.dl_timeouts:
            found.append(
                Notice(
                    "probe.late-library",
                    f"{self._tables.shared.dl_timeouts} libraries were used before their slots were"
                    " taken; their first blocks are not seen",
                )
            )
        return found

    def _close_fds(self) -> None:
        for fd in (self._command_fd, self._event_fd):
            if fd >= 0:
                os.close(fd)
        self._command_fd = self._event_fd = -1

    def close(self) -> None:
        """Let go of everything here. If the hooks are still in, the probe now leaves by itself."""
        self._close_fds()
        for sites in self._all_calls:
            sites.close()
        if self._tables is not None:
            self._tables.close()
            self._tables = None
        self._observer.close()
        self._memory.close()


def _measured_already(pid: int) -> AlreadyTraced:
    return AlreadyTraced(
        f"pid {pid} is being measured already",
        cause="another cgoleak is attached to it",
        fix="wait for it or end it; its probe leaves by itself",
    )
