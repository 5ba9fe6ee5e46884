"""The watch: from process to process, a reading each interval, a report in the end.

plan → a finished capture. Nothing runs in the process, unless native memory grows by the rate that
was asked about: then it is measured with hooks for a while, into the same capture.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from cgoleak.errors import CgoleakError, NoSuchProcess, TargetError
from cgoleak.model.capture import Cost, Window
from cgoleak.model.notice import Notice
from cgoleak.pipeline import RecordPlan, RecordResult, attach_within, writer
from cgoleak.target.ending import Ending
from cgoleak.target.kernel.procfs import PROC
from cgoleak.target.succession import subject_of
from cgoleak.verdict.handback import go_return_of
from cgoleak.watching.growth import GrowthAlarm, NativeGauge, native_bytes
from cgoleak.watching.journal import Journal
from cgoleak.watching.look import Look
from cgoleak.watching.pace import Pace
from cgoleak.watching.plan import WatchState
from cgoleak.watching.search import Search, ticks_now

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from cgoleak.interim import Interim
    from cgoleak.model.capture import Target
    from cgoleak.model.report import Restart
    from cgoleak.model.snapshot import Snapshot
    from cgoleak.pipeline import ProgressState
    from cgoleak.target.succession import Subject
    from cgoleak.watching.plan import WatchPlan, WatchProgress

__all__ = ["watch"]

_BEAT_S: Final = 0.2
"""How soon a stop is noticed."""
_RECENT_NS: Final = 60_000_000_000
_MOST_RESTARTS: Final = 1000
_EXECUTED: Final = "replaced itself by another program (exec)"


def watch(
    plan: WatchPlan,
    *,
    capture: Path | None = None,
    progress: WatchProgress | None = None,
    stop: threading.Event,
    root: Path = PROC,
    interim: Interim | None = None,
) -> RecordResult:
    """Watch a process, and those that take its place, until ``stop`` or the end of the duration.

    ``interim`` is told of what is recorded.

    Raises:
        NoSuchProcess: there is none with this pid, or none ran that program all the while.
        NotGo, NotPermitted: it cannot be watched.
        CaptureError, OutputError: the capture cannot be written.
    """
    with _Watch(plan, capture, progress, stop, root, interim) as running:
        return running.run()


class _Watch:
    def __init__(
        self,
        plan: WatchPlan,
        capture: Path | None,
        progress: WatchProgress | None,
        stop: threading.Event,
        root: Path,
        interim: Interim | None,
    ) -> None:
        self._plan = plan
        self._interim = interim
        self._capture = capture
        self._progress = progress
        self._stop = stop
        self._root = root
        self._opened = ExitStack()
        self._began = time.monotonic()
        self._started_unix_ns = time.time_ns()
        self._seen_ticks = ticks_now()
        self._recent: deque[Snapshot] = deque()
        self._gauge = NativeGauge()
        self._cost = Cost(0.0, 0)
        self._target: Target | None = None
        rate = plan.attach_on_growth
        self._alarm = None if rate is None else GrowthAlarm(rate)
        self._journal: Journal | None = None
        self._reason: str | None = None
        self._search = Search(
            plan, stop, root, is_over=self._is_over, on_wait=lambda: self._tell("waiting")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def elapsed_ns(self) -> int:
        return int(self.elapsed * 1e9)

    def run(self) -> RecordResult:
        """Follow from process to process."""
        first = self._search.first()
        journal = self._journal = Journal(
            self._opened.enter_context(writer(self._capture, self._interim))
        )
        is_running = True
        if self._search.others:
            journal.tell(_several(self._search.others, first.pid))
        subject: Subject | None = first
        while subject is not None:
            is_running = self._visit(subject, journal)
            if is_running or self._is_over():
                break
            if journal.restarts >= _MOST_RESTARTS:
                journal.tell(_too_many())
                break
            again = self._search.executed(subject) if self._reason == _EXECUTED else None
            subject = again or self._search.after(subject, self._seen_ticks)
        if not is_running:
            journal.tell(_nobody_followed(journal.last_reason))
        self._tell("reporting")
        ended = "interrupted" if self._stop.is_set() else "detached"
        window = Window(
            started_unix_ns=self._started_unix_ns,
            seconds=self.elapsed,
            mode="watch",
            ended=ended if is_running else "target-exited",
        )
        journal.sink.finish(window, self._cost)
        return RecordResult(journal.sink.capture(), None)

    # --- one process -------------------------------------------------------------------------

    def _visit(self, subject: Subject, journal: Journal) -> bool:
        """Watch one process; true if it still runs when the watch is over."""
        at_ns, self._reason = self.elapsed_ns, None
        try:
            with Ending(subject.pid, self._root) as ending, Look(subject.pid, self._root) as look:
                if subject_of(subject.pid, self._root).start_ticks != subject.start_ticks:
                    raise NoSuchProcess(f"process {subject.pid} is another one now")
                self._write_target(journal, look)
                journal.begin(subject, at_ns)
                reason = self._follow(subject, journal, look, ending)
                for notice in look.notices if reason is None else ():
                    journal.tell(notice)
        except TargetError:
            if journal.is_empty:
                raise
            return False
        if reason is None:
            return True
        self._reason = reason
        journal.end(self.elapsed_ns, reason)
        return False

    def _follow(self, subject: Subject, journal: Journal, look: Look, ending: Ending) -> str | None:
        """Take readings; give the reason of its end, or None if it runs on."""
        pace, self._gauge, self._recent = Pace(), NativeGauge(), deque()
        if self._alarm is not None:
            self._alarm.reset()
        was_settled = False
        next_at = self.elapsed
        while True:
            is_last = self._is_over()
            snapshot = self._read(journal, look, pace, is_last=is_last)
            if look.is_settled and not was_settled:
                was_settled = True
                self._write_target(journal, look)
            if is_last:
                return None
            if snapshot is not None and snapshot.go is None and look.is_replaced:
                return ending.reason() if ending.wait(0) else _EXECUTED
            if snapshot is not None and self._grows(snapshot):
                self._attach(subject, journal)
            next_at = max(next_at + self._plan.interval_s, self.elapsed)
            if self._wait(ending, next_at):
                return ending.reason()

    def _write_target(self, journal: Journal, look: Look) -> None:
        try:
            self._target = look.target
        except TargetError:
            if self._target is None:
                raise
            return  # it has just ended, as whoever waits for its end will see
        journal.sink.write_target(self._target, mode="watch", started_unix_ns=self._started_unix_ns)

    def _read(self, journal: Journal, look: Look, pace: Pace, *, is_last: bool) -> Snapshot | None:
        """Take one reading and show it; None if the process has just ended."""
        is_full = is_last or pace.is_due(self.elapsed)
        before = time.thread_time()
        seen = look.full() if is_full else look.glance()
        if is_full and look.is_settled:
            pace.paid(self.elapsed, time.thread_time() - before)
        if seen.process is None:
            return None
        snapshot, restart = journal.add(self.elapsed_ns, seen)
        self._recent.append(snapshot)
        while self._recent[0].at_ns < snapshot.at_ns - _RECENT_NS:
            self._recent.popleft()
        self._show(snapshot, look, journal.restarts, restart)
        return snapshot

    def _wait(self, ending: Ending, until: float) -> bool:
        """Wait for the next reading; true if the process ended."""
        while True:
            ticks = ticks_now()
            left = min(until, self._plan.duration_s or until) - self.elapsed
            if ending.wait(max(0.0, min(_BEAT_S, left))):
                return True
            self._seen_ticks = ticks
            if left <= 0 or self._is_over():
                return False

    # --- hooks -------------------------------------------------------------------------------

    def _grows(self, snapshot: Snapshot) -> bool:
        if self._alarm is None or snapshot.process is None:
            return False
        return self._alarm.add(snapshot.at_ns, native_bytes(snapshot.process, snapshot.go))

    def _attach(self, subject: Subject, journal: Journal) -> None:
        """Measure with hooks for a while; once in a watch, whatever comes of it."""
        self._alarm = None
        left = None if self._plan.duration_s is None else self._plan.duration_s - self.elapsed
        seconds = self._plan.attach_s if left is None else max(1.0, min(left, self._plan.attach_s))
        plan = RecordPlan(
            duration_s=seconds,
            interval_s=None,
            sample_bytes=self._plan.sample_bytes,
            max_overhead=self._plan.max_overhead,
        )
        self._tell("measuring")
        try:
            span, self._cost = attach_within(
                journal.sink,
                subject.pid,
                plan,
                clock_ns=lambda: self.elapsed_ns,
                progress=self._measuring,
                should_stop=self._stop.is_set,
                interim=self._interim,
            )
        except TargetError as error:
            journal.tell(_not_attached(error))
            return
        except CgoleakError as error:
            if error.exit_code != TargetError.exit_code:
                raise
            journal.tell(_not_attached(error))
            return
        journal.sink.put_hooked(span)

    def _measuring(self, state: ProgressState) -> None:  # noqa: ARG002 - a Progress is called so
        self._tell("measuring")

    # --- telling -----------------------------------------------------------------------------

    def _is_over(self) -> bool:
        duration = self._plan.duration_s
        return self._stop.is_set() or (duration is not None and self.elapsed >= duration)

    def _show(self, snapshot: Snapshot, look: Look, restarts: int, restart: Restart | None) -> None:
        if self._progress is None or snapshot.process is None or self._target is None:
            return
        self._progress(
            WatchState(
                phase="watching",
                elapsed_s=self.elapsed,
                duration_s=self._plan.duration_s,
                pid=look.pid,
                process=snapshot.process,
                go=snapshot.go,
                native_bytes=self._gauge.read(snapshot),
                go_return=go_return_of(self._target, tuple(self._recent), self._started_unix_ns),
                restarts=restarts,
                restart=restart,
            )
        )

    def _tell(self, phase: str) -> None:
        if self._progress is not None:
            restarts = 0 if self._journal is None else self._journal.restarts
            self._progress(
                WatchState(phase, self.elapsed, self._plan.duration_s, restarts=restarts)
            )


def _not_attached(error: CgoleakError) -> Notice:
    why = f"{error.what}: {error.cause}" if error.cause else error.what
    return Notice(
        "watch.not-attached",
        f"native memory grew by the rate given, but it could not be measured with hooks: {why}",
        error.fix,
    )


def _nobody_followed(reason: str) -> Notice:
    return Notice(
        "watch.ended",
        f"the process is gone ({reason}), and none was seen yet that took its place",
        "watch by program instead of pid: cgoleak watch --exe PATH",
    )


def _several(others: int, pid: int) -> Notice:
    return Notice(
        "watch.several",
        f"{others + 1} processes ran the program; the newest, pid {pid}, was watched",
        "name the one that is meant by its pid",
    )


def _too_many() -> Notice:
    return Notice(
        "watch.restart-loop",
        f"the process was restarted {_MOST_RESTARTS} times; watching ended there",
        "find out why it ends: see the restarts in the report",
    )
