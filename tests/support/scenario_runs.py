"""Runs scenarios: each worker under its load, measured by the real command line, some at a time."""

from __future__ import annotations

import json
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from support.hooks import hooked_slots
from support.live import Cgoleak, Load, Supervised, Worker, attach, cgoleak, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from support.sample import Scenario

__all__ = ["AT_A_TIME", "Measured", "Runs", "measure", "watch"]

AT_A_TIME: Final = 4
_SETTLING_S: Final = 25
"""The load goes on beyond the window: a start under load takes its time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one run.

    Attributes:
        told_again: the report that ``cgoleak report`` makes of the capture, after the process.
        answered: the worker answered /healthz afterwards.
        still_hooked: slots that lead to the probe afterwards.
        failed_requests: of the load, from before the end of the window to after the detach.
    """

    status: int
    report: dict[str, Any]
    told_again: dict[str, Any]
    stderr: str
    answered: bool
    still_hooked: list[str]
    failed_requests: float


def measure(
    scenario: Scenario,
    programs: Path,
    folder: Path,
    *,
    seconds: float,
    interval: float | None = None,
    flags: tuple[str, ...] = (),
) -> Measured:
    """Attach, let the load begin, see the window through; ``flags`` are more of the worker's."""
    with ExitStack() as stack:
        kind = Supervised if scenario.supervised else Worker
        worker = stack.enter_context(
            kind(programs, *scenario.worker, *flags, environment=scenario.environment)
        )
        pid = worker.worker_pid if isinstance(worker, Supervised) else worker.pid
        # As users do, the limit of the cost included: no verdict may hang on it.
        watching = stack.enter_context(
            attach(folder, pid, seconds=seconds, interval=interval, follow=())
        )
        watching.until_hooked(pid)
        load = stack.enter_context(
            Load(
                programs,
                worker.address,
                seconds=scenario.load["seconds"] or seconds + _SETTLING_S,
                rate=scenario.load["rate"],
                concurrency=scenario.load["concurrency"],
                path=scenario.load["path"],
            )
        )
        status = watching.finish(seconds + 60)
        still_hooked = hooked_slots(pid)
        wait_until(worker.answers, "the worker to answer", 20)
        load.signal(signal.SIGTERM)
        failed_requests = load.answered()["errors"]
        answered = worker.answers()
    report = watching.report() if status == 0 else {}
    again = folder / "again.json"
    if report:
        cgoleak("report", watching.capture_file, "-o", again, "--quiet")
    return Measured(
        status=status,
        report=report,
        told_again=json.loads(again.read_text()) if again.exists() else {},
        stderr=watching.stderr,
        answered=answered,
        still_hooked=still_hooked,
        failed_requests=failed_requests,
    )


def watch(scenario: Scenario, programs: Path, folder: Path, *, seconds: float) -> dict[str, Any]:
    """Watch a worker below its supervisor from outside, restarts included; give the report."""
    with ExitStack() as stack:
        worker = stack.enter_context(
            Supervised(programs, *scenario.worker, environment=scenario.environment)
        )
        watching = stack.enter_context(
            Cgoleak(folder, "watch", worker.worker_pid, "--duration", f"{seconds}s")
        )
        wait_until(lambda: "RSS" in watching.stderr, "the watch to begin")
        load = Load(
            programs,
            worker.address,
            seconds=seconds + _SETTLING_S,
            rate=scenario.load["rate"],
            concurrency=scenario.load["concurrency"],
            path=scenario.load["path"],
        )
        stack.enter_context(load)
        assert watching.finish(seconds + 60) == 0, watching.stderr
    return watching.report()


class Runs:
    """A pool that works its list off in order; every test waits for its own result."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="scenario")
        self._results: dict[Hashable, Future[Measured]] = {}

    def begin(self, key: Hashable, run: Callable[[], Measured]) -> None:
        if key not in self._results:
            self._results[key] = self._pool.submit(run)

    def result(self, key: Hashable) -> Measured:
        return self._results[key].result()

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
