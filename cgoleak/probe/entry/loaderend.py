"""Sees Frida's loader out of a process that has a PID namespace of its own.

Frida unmaps its loader once the loader's thread is gone, and asks for that thread in /proc by the
id that the thread gave of itself (RemoteAgent.monitor in its helper for Linux). In a namespace that
id is another than outside; Frida finds nobody, and takes the code from under a running thread: one
process in sixty died of it. So our entry waits on that thread, in the target, until this process
has stopped the injector; then the thread may end, and once it has, the injector goes on. Where this
process fails, the entry waits in vain and tells Frida to leave the loader where it is.

It is a child of the injector: like that, it finishes whatever becomes of cgoleak. It begins when
a line comes on standard input: until the injector has let the target go, it must not be stopped.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError, NoSuchProcess
from cgoleak.probe.stopped.edits import CodeMemory
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.layout import Header
from cgoleak.probe.wire.resident import find_residents
from cgoleak.target.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgoleak.probe.wire.resident import Resident

__all__ = ["main"]

_ENTRY_S: Final = 5.0
_STOP_S: Final = 2.0
_END_S: Final = 10.0
_POLL_S: Final = 0.003


def main() -> int:
    """Wait for the loader's thread in process ARGV[1]; status 1 if it was not seen to its end."""
    injector = os.getppid()
    if not sys.stdin.readline():  # the injector has failed, or died
        return 1
    try:
        return _see_out(int(sys.argv[1]), injector)
    except CgoleakError:  # the target is gone, or another program by now: nothing to unmap
        return 1


def _see_out(pid: int, injector: int) -> int:
    with CodeMemory(pid) as memory:
        waiting: list[tuple[Resident, int]] = []

        def is_waiting() -> bool:
            waiting[:] = _waiting(pid, memory)
            return bool(waiting) or os.getppid() != injector

        if not _until(is_waiting, _ENTRY_S) or not waiting or os.getppid() != injector:
            return 1
        resident, thread = waiting[0]
        os.kill(injector, signal.SIGSTOP)
        end = signal.SIGCONT
        try:
            if not _until(lambda: _is_stopped(injector), _STOP_S):
                return 1
            at = resident.header_at + Header.loader_watched.offset
            if not memory.write(at, struct.pack("<I", 1)):
                return 1
            if not _until(lambda: thread not in procfs.tasks(pid), _END_S):
                end = signal.SIGKILL  # better a loader that stays than one that is torn away
                return 1
        finally:
            if os.getppid() == injector:
                os.kill(injector, end)
    return 0


def _waiting(pid: int, memory: CodeMemory) -> list[tuple[Resident, int]]:
    """Give the copy whose entry waits, and its thread as it is called out here."""
    found = []
    for resident in find_residents(procfs.maps(pid), memory, load_artifact()):
        header = resident.header(memory)
        if header is not None and header.loader_tid:
            threads = [t for t in procfs.tasks(pid) if _id_inside(t) == header.loader_tid]
            found += [(resident, thread) for thread in threads]
    return found


def _id_inside(thread: int) -> int | None:
    try:
        return procfs.status(thread).ns_pids[-1]
    except (NoSuchProcess, IndexError):  # it has ended meanwhile
        return None


def _is_stopped(pid: int) -> bool:
    try:
        return all(procfs.stat(thread).state == "T" for thread in procfs.tasks(pid))
    except NoSuchProcess:  # a thread of it has just ended
        return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return holds


if __name__ == "__main__":
    sys.exit(main())
