"""The edge of the command line: a pipeline that attaches to nothing and tells what it was asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from support.builders import a_capture
from support.reports import a_report

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable


@dataclass
class RecordPlan:
    duration_s: float | None
    interval_s: float
    settle_s: float = 0.0
    closing: bool = False
    sample_bytes: int | None = None
    max_overhead: float | None = None
    families: tuple[object, ...] = ()


@dataclass
class ProgressState:
    elapsed_s: float = 0.0
    duration_s: float | None = 60.0
    events: int = 0
    outstanding_bytes: int = 0
    outstanding_blocks: int = 0
    phase: str = "measuring"


@dataclass
class RecordResult:
    capture: Any
    exit_status: int | None = None


@dataclass
class FakePipeline:
    """Answers with ``report``; ``during`` is called in the middle of a measurement."""

    report: Any = field(default_factory=a_report)
    error: Exception | None = None
    exit_status: int | None = None
    states: tuple[ProgressState, ...] = ()
    during: Callable[[], None] = lambda: None
    calls: list[dict[str, Any]] = field(default_factory=list)

    def module(self) -> ModuleType:
        """Give what stands in for ``cgoleak.pipeline``."""
        module = ModuleType("cgoleak.pipeline")
        vars(module).update(
            RecordPlan=RecordPlan,
            ProgressState=ProgressState,
            attach=self._record,
            run=self._record,
            analyse=lambda capture, policy=None: self.report,
        )
        return module

    def watch(self, plan, *, capture, progress, stop, interim=None):
        """Stand in for ``cgoleak.watching.watch``."""
        self.calls.append({"subject": plan.pid or plan.exe, "plan": plan, "capture": capture})
        return RecordResult(a_capture())

    def _record(self, subject, plan, *, capture, progress, stop, interim=None):
        call = {
            "subject": subject,
            "plan": plan,
            "capture": capture,
            "stop": stop,
            "interim": interim,
        }
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        for state in self.states:
            if progress is not None:
                progress(state)
        self.during()
        call["stopped"] = stop.is_set()
        return RecordResult(a_capture(), self.exit_status)


def signal_ourselves(*numbers: signal.Signals) -> Callable[[], None]:
    """Give a ``during`` that sends these signals to this process, one after the other."""

    def send() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return send
