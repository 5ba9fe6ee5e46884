"""THE line, in one place: record (impure) → capture → analyse (pure). Read this first.

::

    target ─► probe ─► capture ─► symbols ─► stacks ─► ledger ─► verdict ─► Report ─► render

Stages are imported where they are used: who renders a report again waits for none that records.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cgoleak.errors import CgoleakError, SymbolError
from cgoleak.model.capture import RawStack, Span
from cgoleak.model.ids import StackId
from cgoleak.model.notice import Notice
from cgoleak.units import format_seconds

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cgoleak.capture.writer import CaptureWriter
    from cgoleak.interim import Interim
    from cgoleak.model.capture import Capture, Cost, Module, Window
    from cgoleak.model.handles import Family
    from cgoleak.model.report import Report
    from cgoleak.probe.closing import Closing
    from cgoleak.probe.entry.spawn import HeldProcess
    from cgoleak.probe.recorder import Counting, Recorded
    from cgoleak.probe.session import ProbeSession
    from cgoleak.symbols.elf.object_file import ObjectFile
    from cgoleak.target.ending import Ending
    from cgoleak.verdict.policy import Policy

__all__ = [
    "Progress",
    "ProgressState",
    "RecordPlan",
    "RecordResult",
    "analyse",
    "attach",
    "attach_within",
    "run",
    "writer",
]


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """How to measure.

    Attributes:
        duration_s: for how long; None until stopped.
        interval_s: between two snapshots; None for what suits the duration.
        settle_s: how long after the duration two GC cycles are waited for: the first finds Go
            objects dead whose finalizers free C memory, which run before the second ends.
        closing: hold a command at its exit, and look who still knows its blocks.
        sample_bytes: follow one block per so many bytes, in the mean; None: every one.
        max_overhead: share of the target's CPU time, 0 to 1, above which blocks are sampled that
            were all followed until then; None: whatever it costs.
        families: kinds of handles to count beside the blocks.
    """

    duration_s: float | None
    interval_s: float | None
    settle_s: float = 0.0
    closing: bool = False
    sample_bytes: int | None = None
    max_overhead: float | None = None
    families: tuple[Family, ...] = ()

    @property
    def mode(self) -> str:
        """As it begins: ``exact`` or ``sampled``."""
        return "exact" if self.sample_bytes is None else "sampled"


@dataclass(frozen=True, slots=True)
class ProgressState:
    """Where a measurement is.

    ``phase`` is ``preparing``, ``attaching``, ``measuring``, ``detaching`` or ``reading symbols``.
    """

    elapsed_s: float
    duration_s: float | None
    events: int
    outstanding_bytes: int
    outstanding_blocks: int
    phase: str


class Progress(Protocol):
    """Called at every change of phase and about five times a second while measuring."""

    def __call__(self, state: ProgressState) -> None:
        """Show it; must return soon and not raise."""


@dataclass(frozen=True, slots=True)
class RecordResult:
    """A sealed capture; and of ``run`` the command's exit status, 128 and the signal if killed."""

    capture: Capture
    exit_status: int | None


def attach(
    pid: int,
    plan: RecordPlan,
    *,
    capture: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event,
    interim: Interim | None = None,
) -> RecordResult:
    """Measure a running process; ``interim`` is told of what is recorded.

    Raises:
        TargetError: it cannot be measured; nothing was touched.
        ProbeError: the probe could not be brought in.
        CaptureError, OutputError: the capture cannot be written.
    """
    from cgoleak.probe.entry.injector import Injector  # noqa: PLC0415
    from cgoleak.probe.session import ProbeSession  # noqa: PLC0415
    from cgoleak.target import preflight  # noqa: PLC0415
    from cgoleak.target.ending import Ending  # noqa: PLC0415

    show = _Shown(progress, plan)
    show.phase("preparing")
    facts = preflight.require(pid)
    with (
        Injector() as injector,
        Ending(pid) as end,
        closing(ProbeSession(facts, families=plan.families)) as session,
    ):
        show.phase("attaching")
        started = time.time_ns()
        session.attach(injector, sample_bytes=plan.sample_bytes)
        with _sink(capture, session, interim) as sink:
            sink.write_target(facts.target, mode=plan.mode, started_unix_ns=started)
            _record(session, sink, pid, plan, show, stop.is_set, started, end=end)
            return RecordResult(sink.capture(), None)


def attach_within(
    sink: CaptureWriter,
    pid: int,
    plan: RecordPlan,
    *,
    clock_ns: Callable[[], int],
    progress: Progress | None = None,
    should_stop: Callable[[], bool],
    interim: Interim | None = None,
) -> tuple[Span, Cost]:
    """Measure a process with hooks as a part of a watch; give when that was, and its cost.

    ``clock_ns`` is the time in the capture's window. Snapshots, stacks and names go to ``sink``,
    which tells ``interim`` of them.

    Raises:
        TargetError, ProbeError, CaptureError: as for ``attach``.
    """
    from cgoleak.probe.entry.injector import Injector  # noqa: PLC0415
    from cgoleak.probe.session import ProbeSession  # noqa: PLC0415
    from cgoleak.target import preflight  # noqa: PLC0415

    show = _Shown(progress, plan)
    show.phase("preparing")
    facts = preflight.require(pid)
    with Injector() as injector, closing(ProbeSession(facts, families=plan.families)) as session:
        show.phase("attaching")
        session.attach(injector, sample_bytes=plan.sample_bytes)
        if interim is not None:
            interim.open_with(_opener(session))
        since = clock_ns()
        recorded = _measure(
            session, sink, pid, plan, show, should_stop, time.time_ns(), origin_ns=since
        )
        return Span(since, since + int(recorded.window.seconds * 1e9)), recorded.cost


def run(
    command: Sequence[str],
    plan: RecordPlan,
    *,
    capture: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event,
) -> RecordResult:
    """Start a command, measure it from its first allocation to its end.

    Raises:
        TargetError: it cannot be started or measured; it is ended then.
        ProbeError, CaptureError, OutputError: as for ``attach``.
    """
    from cgoleak.probe.closing import Closing  # noqa: PLC0415
    from cgoleak.probe.entry.injector import Injector  # noqa: PLC0415
    from cgoleak.probe.entry.spawn import HeldProcess  # noqa: PLC0415
    from cgoleak.probe.session import ProbeSession  # noqa: PLC0415
    from cgoleak.target import preflight  # noqa: PLC0415

    show = _Shown(progress, plan)
    show.phase("preparing")
    with Injector() as injector, ExitStack() as opened:
        held = HeldProcess(command, tracer=injector.pid)
        try:
            facts = preflight.require(held.pid, held=True)
            session = opened.enter_context(closing(ProbeSession(facts, families=plan.families)))
            show.phase("attaching")
            last = None
            if plan.closing and plan.duration_s is None:
                last = Closing(held, session, facts)
                last.arm()
            started = time.time_ns()
            session.attach(injector, held=True, sample_bytes=plan.sample_bytes)
            sink = opened.enter_context(_sink(capture, session))
            sink.write_target(facts.target, mode=plan.mode, started_unix_ns=started)
            if last is not None:
                last.seize()
        except BaseException:
            held.kill()
            raise
        asked = _AskedToEnd(held, stop)
        _record(session, sink, held.pid, plan, show, asked.is_overdue, started, ending=last)
        status = held.wait(asked.is_overdue)
        if status is None:
            sink.add_notice(
                Notice(
                    "run.still-running",
                    f"the command was asked to end and runs on as pid {held.pid}",
                    f"end it with: kill -KILL {held.pid}",
                )
            )
        return RecordResult(sink.capture(), status)


def analyse(capture: Capture, policy: Policy | None = None) -> Report:
    """Judge a sealed capture. Pure: it reads no file and asks no process.

    ``policy`` has the thresholds and suppressions; the default's are taken without one.

    Raises:
        DamagedCapture: its snapshots are out of order.
    """
    from cgoleak.verdict.report import analyse as judge  # noqa: PLC0415

    return judge(capture, policy)


def writer(path: Path | None, interim: Interim | None) -> CaptureWriter:
    """Open a capture for writing; ``interim`` hears what is written.

    Raises:
        OutputError: it cannot be created.
    """
    from cgoleak.capture.heard import HeardWriter  # noqa: PLC0415
    from cgoleak.capture.writer import CaptureWriter  # noqa: PLC0415

    if interim is None:
        return CaptureWriter(path, overwrite=True)
    return HeardWriter(path, interim, overwrite=True)


def _sink(
    path: Path | None, session: ProbeSession, interim: Interim | None = None
) -> CaptureWriter:
    """Open the capture. Only now, so that a failed attach leaves an older file alone."""
    try:
        sink = writer(path, interim)
    except CgoleakError:
        session.detach()
        raise
    if interim is not None:
        interim.open_with(_opener(session))
    return sink


class _AskedToEnd:
    """What a wrapper owes its command when it is told to stop itself.

    Ctrl-C on a terminal reaches the command as well; a supervisor's SIGTERM reaches only us. So the
    command is asked after two seconds if it has not ended, and measured on until it has.
    """

    def __init__(self, held: HeldProcess, stop: threading.Event) -> None:
        self._held = held
        self._stop = stop
        self._since: float | None = None
        self._told = False

    def is_overdue(self) -> bool:
        """True half a minute after the stop: it is waited for no longer."""
        if not self._stop.is_set():
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > _ASK_AFTER_S and not self._told:
            self._told = True
            self._held.terminate()
        return now - self._since > _WAIT_S


_ASK_AFTER_S: Final = 2.0
_WAIT_S: Final = 30.0


def _record(
    session: ProbeSession,
    sink: CaptureWriter,
    pid: int,
    plan: RecordPlan,
    show: _Shown,
    should_stop: Callable[[], bool],
    started_unix_ns: int,
    *,
    ending: Closing | None = None,
    end: Ending | None = None,
) -> None:
    recorded = _measure(session, sink, pid, plan, show, should_stop, started_unix_ns, ending=ending)
    if ending is not None:
        sink.put_holdings(ending.holdings)
        for notice in ending.notices:
            sink.add_notice(notice)
    if end is not None and recorded.window.ended == "target-exited" and end.wait(0):
        sink.add_notice(_ended(pid, end, recorded.window))
    sink.finish(recorded.window, recorded.cost)


def _ended(pid: int, end: Ending, window: Window) -> Notice:
    return Notice(
        "target.ended",
        f"process {pid} ended {format_seconds(window.seconds)} after the attach: {end.reason()}; "
        "the numbers are those up to then",
        "follow those that come after it: cgoleak watch --exe PATH",
    )


def _measure(
    session: ProbeSession,
    sink: CaptureWriter,
    pid: int,
    plan: RecordPlan,
    show: _Shown,
    should_stop: Callable[[], bool],
    started_unix_ns: int,
    *,
    origin_ns: int = 0,
    ending: Closing | None = None,
) -> Recorded:
    """Record, and put names to what was recorded."""
    from cgoleak.probe.recorder import record  # noqa: PLC0415
    from cgoleak.target.kernel import cgroup  # noqa: PLC0415

    recorded = record(
        session,
        sink,
        seconds=plan.duration_s,
        interval_s=plan.interval_s,
        should_stop=should_stop,
        started_unix_ns=started_unix_ns,
        on_count=show.counting,
        on_detach=lambda: show.phase("detaching"),
        origin_ns=origin_ns,
        ending=ending,
        settle_s=plan.settle_s,
        max_overhead=plan.max_overhead,
        look_at_room=lambda: cgroup.room(pid),
    )
    show.phase("reading symbols")
    notices = [*session.summary_notices(), *recorded.farewell.notices, *recorded.notices]
    notices += _seal(sink, session, pid)
    for notice in notices:
        sink.add_notice(notice)
    return recorded


def _seal(sink: CaptureWriter, session: ProbeSession, pid: int) -> list[Notice]:
    """Put names to all addresses; what goes wrong here costs names, never the measurement."""
    from cgoleak.symbols.resolver import seal  # noqa: PLC0415
    from cgoleak.target.kernel.procfs import PROC  # noqa: PLC0415

    capture = sink.capture()
    root = PROC / str(pid) / "root"
    try:
        in_go = (
            RawStack(StackId(0), use.addresses)
            for profile in capture.go_profiles
            for use in profile.uses
        )
        stacks = (*capture.stacks.values(), *in_go)
        frames, notices = seal(stacks, capture.modules, _opener(session), root=root)
        sink.seal_frames(frames)
    except CgoleakError as exc:
        return [Notice("symbols.not-sealed", f"addresses have no names: {exc.what}", exc.fix)]
    return list(notices)


def _opener(session: ProbeSession) -> Callable[[Module], ObjectFile]:
    """Give what opens a module of the session, one that is loaded later too."""
    opened: dict[Module, ObjectFile] = {}

    def open_module(module: Module) -> ObjectFile:
        if module not in opened:
            opened.update((one.described, one.obj) for one in session.modules)
        if module not in opened:
            raise SymbolError(f"cannot open {module.path}", cause="it was unloaded")
        return opened[module]

    return open_module


class _Shown:
    """Turns what the stages say into ``ProgressState``."""

    def __init__(self, progress: Progress | None, plan: RecordPlan) -> None:
        self._progress = progress
        self._plan = plan
        self._last = (0.0, 0, 0, 0)

    def phase(self, name: str) -> None:
        self._tell(name)

    def counting(self, now: Counting) -> None:
        self._last = (now.elapsed_s, now.events, now.outstanding_bytes, now.outstanding_blocks)
        self._tell("measuring")

    def _tell(self, phase: str) -> None:
        if self._progress is not None:
            elapsed, events, size, blocks = self._last
            self._progress(
                ProgressState(elapsed, self._plan.duration_s, events, size, blocks, phase)
            )
