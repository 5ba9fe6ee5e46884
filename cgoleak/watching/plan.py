"""What is asked of a watch, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - a dataclass's annotation
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cgoleak.model.report import GoReturn, Restart
    from cgoleak.model.snapshot import GoMemory, ProcessMemory

__all__ = ["WatchPlan", "WatchProgress", "WatchState"]


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """How to watch; either ``pid`` or ``exe`` says what.

    Attributes:
        exe: an executable; it need not run yet.
        interval_s: between two readings.
        duration_s: for how long; None until stopped.
        attach_on_growth: growth of native memory, in bytes per second, at which a measurement
            with hooks begins; None: never.
        attach_s: how long that one takes.
        sample_bytes: which blocks it follows, as in ``RecordPlan``.
        max_overhead: the same.
    """

    pid: int | None = None
    exe: Path | None = None
    interval_s: float = 1.0
    duration_s: float | None = None
    attach_on_growth: float | None = None
    attach_s: float = 60.0
    sample_bytes: int | None = None
    max_overhead: float | None = None


@dataclass(frozen=True, slots=True)
class WatchState:
    """What is known now.

    ``phase`` is ``waiting`` (nothing runs), ``watching``, ``measuring`` (hooks are in) or
    ``reporting``; ``restart`` is the newest, in the state that tells of it first.
    """

    phase: str
    elapsed_s: float
    duration_s: float | None
    pid: int | None = None
    process: ProcessMemory | None = None
    go: GoMemory | None = None
    native_bytes: int | None = None
    go_return: GoReturn | None = None
    restarts: int = 0
    restart: Restart | None = None


class WatchProgress(Protocol):
    """Called at every reading and every change of phase."""

    def __call__(self, state: WatchState) -> None:
        """Show it; must return soon and not raise."""
