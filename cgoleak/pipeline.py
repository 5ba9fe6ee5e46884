"""THE line, in one place: record (impure) → capture → analyse (pure). Read this first.

::

    target ─► probe ─► capture ─► symbols ─► stacks ─► ledger ─► verdict ─► Report ─► render
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cgoleak.capture.writer import CaptureWriter
from cgoleak.errors import CgoleakError, SymbolError
from cgoleak.model.notice import Notice
from cgoleak.symbols.resolver import seal
from cgoleak.target import preflight
from cgoleak.target.procfs import PROC
from cgoleak.verdict.policy import Policy
from cgoleak.verdict.report import analyse as _judge

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cgoleak.model.capture import Capture, Module
    from cgoleak.model.report import Report
    from cgoleak.probe.injector import Injector
    from cgoleak.probe.recorder import Counting
    from cgoleak.probe.session import ProbeSession
    from cgoleak.symbols.elf import ObjectFile

__all__ = ["Progress", "ProgressState", "RecordPlan", "RecordResult", "analyse", "attach", "run"]


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """How to measure: for how long (None: until stopped), how often to look, in which mode."""

    duration_s: float | None
    interval_s: float
    mode: str = "exact"
    min_age_s: float = 0.0


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
) -> RecordResult:
    """Measure a running process.

    Raises:
        TargetError: it cannot be measured; nothing was touched.
        ProbeError: the probe could not be brought in.
        CaptureError, OutputError: the capture cannot be written.
    """
    from cgoleak.probe.injector import Injector  # noqa: PLC0415  (only recording needs the probe)
    from cgoleak.probe.session import ProbeSession  # noqa: PLC0415

    show = _Shown(progress, plan)
    show.phase("preparing")
    facts = preflight.require(pid)
    with Injector() as injector, CaptureWriter(capture, overwrite=True) as sink:
        session = ProbeSession(facts)
        try:
            show.phase("attaching")
            started = time.time_ns()
            sink.write_target(facts.target, mode=plan.mode, started_unix_ns=started)
            session.attach(injector)
            _record(session, sink, pid, plan, show, stop, started)
            return RecordResult(sink.capture(), None)
        finally:
            session.close()


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
    from cgoleak.probe.injector import Injector  # noqa: PLC0415
    from cgoleak.probe.session import ProbeSession  # noqa: PLC0415
    from cgoleak.probe.spawn import HeldProcess  # noqa: PLC0415

    show = _Shown(progress, plan)
    show.phase("preparing")
    with Injector() as injector, CaptureWriter(capture, overwrite=True) as sink:
        held = HeldProcess(command, tracer=injector.pid)
        session = None
        try:
            facts = preflight.require(held.pid, held=True)
            session = ProbeSession(facts)
            show.phase("attaching")
            started = time.time_ns()
            sink.write_target(facts.target, mode=plan.mode, started_unix_ns=started)
            session.attach(injector, held=True)
        except BaseException:
            held.kill()
            if session is not None:
                session.close()
            raise
        try:
            _record(session, sink, held.pid, plan, show, stop, started)
            status = held.wait()
            return RecordResult(sink.capture(), status)
        finally:
            session.close()


def analyse(capture: Capture, policy: Policy | None = None) -> Report:
    """Judge a sealed capture. Pure: it reads no file and asks no process.

    Raises:
        DamagedCapture: its snapshots are out of order.
    """
    return _judge(capture, policy or Policy())


def _record(
    session: ProbeSession,
    sink: CaptureWriter,
    pid: int,
    plan: RecordPlan,
    show: _Shown,
    stop: threading.Event,
    started_unix_ns: int,
) -> None:
    from cgoleak.probe.recorder import record  # noqa: PLC0415

    recorded = record(
        session,
        sink,
        pid=pid,
        seconds=plan.duration_s,
        interval_s=plan.interval_s,
        stop=stop,
        started_unix_ns=started_unix_ns,
        on_count=show.counting,
        on_detach=lambda: show.phase("detaching"),
    )
    show.phase("reading symbols")
    notices = [*session.summary_notices(), *recorded.farewell.notices]
    notices += _seal(sink, session, pid)
    for notice in notices:
        sink.add_notice(notice)
    sink.finish(recorded.window, recorded.cost)


def _seal(sink: CaptureWriter, session: ProbeSession, pid: int) -> list[Notice]:
    """Put names to all addresses; what goes wrong here costs names, never the measurement."""
    opened = {module.described: module.obj for module in session.modules}

    def open_module(module: Module) -> ObjectFile:
        if module not in opened:
            raise SymbolError(f"cannot open {module.path}", cause="it was unloaded")
        return opened[module]

    capture = sink.capture()
    root = PROC / str(pid) / "root"
    try:
        frames, notices = seal(
            capture.stacks.values(), capture.modules, open_module, root=root
        )
        sink.seal_frames(frames)
    except CgoleakError as exc:
        return [Notice("symbols.not-sealed", f"addresses have no names: {exc.what}", exc.fix)]
    return list(notices)


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
