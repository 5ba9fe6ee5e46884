"""Every thread of a process stopped at once, for a moment, each between two instructions.

Stopped by ptrace(2) rather than by SIGSTOP: what a stopped thread is about to run is written in the
meantime, and the way back from such a stop goes through the kernel. Seized threads get no signal,
and the parent sees nothing. A signal that comes meanwhile is handed on; a process that was stopped
stays so. Whoever traces may die at any moment: the kernel lets go then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Final, Self, TypeVar

from cgoleak.errors import NoSuchProcess, NotPermitted, TargetBusy
from cgoleak.probe.stopped.ptrace import EVENT_STOP, WALL, Request, lives, request
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["while_standing"]

_Result = TypeVar("_Result")

_LOOKS: Final = 3
_STANDING_S: Final = 0.5
"""How long a process stands still while its last thread is waited for."""
_POLL_S: Final = 0.0002


def while_standing(pid: int, work: Callable[[], _Result]) -> _Result:
    """Do something while no thread of a process runs; ``work`` must be short.

    A thread of ours does both, since ptrace belongs to threads; with its end the kernel lets go of
    whatever it still holds.

    Raises:
        TargetBusy: a thread would not stop (it waits for a child of vfork); all run on.
        NoSuchProcess: it has ended.
        NotPermitted: it is traced by somebody else, or the kernel refuses.
    """
    for attempt in range(_LOOKS):
        if attempt:
            time.sleep(_STANDING_S)
        results: list[_Result] = []
        errors: list[BaseException] = []
        # A new one each time: only with its end it lets go of a thread that would not stop.
        tracer = threading.Thread(
            target=_stop_and_work, args=(pid, work, results, errors), name="standstill"
        )
        tracer.start()
        tracer.join()
        if errors:
            raise errors[0]
        if results:
            return results[0]
    raise TargetBusy(
        f"cannot stop all threads of pid {pid}",
        cause=f"one did not stop within {_STANDING_S:g} s, {_LOOKS} times",
        fix="try again; a thread that waits for a child it has started by vfork cannot stop",
    )


def _stop_and_work(
    pid: int,
    work: Callable[[], _Result],
    results: list[_Result],
    errors: list[BaseException],
) -> None:
    try:
        with _Threads(pid) as threads:
            if threads.stop():
                results.append(work())
    except BaseException as exc:  # noqa: BLE001  (raised again, in the thread that asked)
        errors.append(exc)


class _Threads:
    """The threads of a process while they are held; leaving the context lets them go."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seized: set[int] = set()
        self._stopped: dict[int, int] = {}
        """Thread → signal that it was about to get, or 0."""

    def stop(self) -> bool:
        """Stop all of them, those too that are made meanwhile; false if it takes too long."""
        deadline = time.monotonic() + _STANDING_S
        while fresh := self._unknown():
            for thread in fresh:
                self._seize(thread)
            while self._stopped.keys() < self._seized:
                for thread in self._seized - self._stopped.keys():
                    self._look(thread)
                if time.monotonic() > deadline:
                    return False
                if self._stopped.keys() < self._seized:
                    time.sleep(_POLL_S)
        return True

    def _unknown(self) -> set[int]:
        """Give the living threads that are not held. Only a thread that runs can make another."""
        try:
            there = {int(name) for name in os.listdir(PROC / str(self._pid) / "task")}  # noqa: PTH208
        except OSError:
            raise NoSuchProcess(f"pid {self._pid} has ended") from None
        return {thread for thread in there - self._seized if lives(self._pid, thread)}

    def _seize(self, thread: int) -> None:
        try:
            request(Request.SEIZE, thread)
            self._seized.add(thread)
            request(Request.INTERRUPT, thread)
        except OSError as exc:
            if exc.errno != errno.ESRCH and lives(self._pid, thread):
                raise NotPermitted(
                    f"cannot stop the threads of pid {self._pid}",
                    cause=exc.strerror,
                    fix=f"see: cgoleak doctor {self._pid}",
                ) from exc
            # It ended meanwhile; if it was seized already, waiting says so.

    def _look(self, thread: int) -> None:
        """See whether a thread has stopped, or is no more.

        Only stops are asked for: the exit status of a command of ours is for others to take.
        """
        try:
            found = os.waitid(os.P_PID, thread, os.WSTOPPED | os.WNOHANG | WALL)
        except ChildProcessError:
            found = None
        if found is not None:
            # Our own interruption and a stop of the whole process are events; else it is about to
            # get a signal.
            event, signal = found.si_status >> 8, found.si_status & 0xFF
            self._stopped[thread] = 0 if event == EVENT_STOP else signal
        elif not lives(self._pid, thread):
            self._seized.discard(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for thread, signal in self._stopped.items():
            with contextlib.suppress(OSError):  # killed while it stood
                request(Request.DETACH, thread, 0, signal)
