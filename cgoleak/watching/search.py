"""Finds what to watch: the process that was named, and later the one that took its place."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError, NoSuchProcess
from cgoleak.target.preflight import require_alive
from cgoleak.target.succession import find_running, find_successor, same_program, subject_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from cgoleak.target.succession import Subject
    from cgoleak.watching.plan import WatchPlan

__all__ = ["Search", "ticks_now"]

_PATIENCE_S: Final = 3.0
"""How long the next child of the same parent is waited for before others are looked at."""
_SHORTEST_S: Final = 0.1
_LONGEST_S: Final = 2.0
"""Between two looks through /proc, which take some milliseconds each."""


class Search:
    """Waits for processes; ``on_wait`` is called before each pause.

    Attributes:
        others: how many more ran the program when the first was found.
    """

    def __init__(
        self,
        plan: WatchPlan,
        stop: threading.Event,
        root: Path,
        *,
        is_over: Callable[[], bool],
        on_wait: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._stop = stop
        self._root = root
        self._is_over = is_over
        self._on_wait = on_wait
        self.others = 0

    def first(self) -> Subject:
        """Find what to watch; wait for a program that does not run yet.

        Of several that run it, the newest is taken.

        Raises:
            NoSuchProcess: there is none with this pid, or none ran that program all the while.
            UnsupportedTarget: the pid is cgoleak's own, or a kernel thread's.
            NotPermitted: we may not look at it.
        """
        if self._plan.exe is None:
            assert self._plan.pid is not None
            require_alive(self._plan.pid, self._root)
            return subject_of(self._plan.pid, self._root)
        matches = same_program(self._plan.exe)
        began = time.monotonic()
        while not (found := find_running(matches, self._root)):
            self._on_wait()
            if self._is_over() or self._pause(time.monotonic() - began):
                raise NoSuchProcess(
                    f"nothing ran {self._plan.exe} while it was watched",
                    cause="no process has this executable",
                    fix="give the path as it stands in /proc/PID/exe, or the pid: cgoleak ps",
                )
        self.others = len(found) - 1
        return found[-1]

    def executed(self, old: Subject) -> Subject | None:
        """Describe the same process anew after an exec; None if it has ended since."""
        with suppress(CgoleakError):
            again = subject_of(old.pid, self._root)
            if again.start_ticks == old.start_ticks:
                return again
        return None

    def after(self, old: Subject, seen_ticks: int) -> Subject | None:
        """Wait for the one that takes its place; None when the watch is over.

        ``seen_ticks`` is when the old one was last seen alive.
        """
        began = time.monotonic()
        while not self._is_over():
            waited = time.monotonic() - began
            found = find_successor(
                old,
                seen_ticks,
                self._root,
                named=self._plan.exe,
                patient=waited < _PATIENCE_S,
            )
            if found is not None:
                return found
            self._on_wait()
            if self._pause(waited):
                return None
        return None

    def _pause(self, waited: float) -> bool:
        """Wait before the next look, the longer the longer it has been; true if told to stop."""
        return self._stop.wait(min(max(_SHORTEST_S, waited / 20), _LONGEST_S))


def ticks_now() -> int:
    """Give the time since boot as ``/proc/PID/stat`` counts start times."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
