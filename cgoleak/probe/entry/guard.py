"""Stops the target for the injection, and only where its main thread can be borrowed.

Frida's injector makes the main thread call ``pthread_create``, which calls ``calloc`` and takes the
loader's lock. Caught inside malloc, the thread would wait for itself for ever. So the process is
stopped (SIGSTOP), the main thread's place is looked at, and unless it is a safe one everything goes
on and is tried again a moment later.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.errors import NoSuchProcess, TargetBusy
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Place", "SafePlaces", "read_stack", "stop_at_safe_place"]

_PATIENCE_S: Final = 5.0
_STOP_S: Final = 0.25
_STACK_BYTES: Final = 32768
_PAGE: Final = 4096
_HEAP_MAX: Final = 64 << 20
"""Size and alignment of a glibc arena's heap (malloc/arena.c HEAP_MAX_SIZE)."""
_ARENA_BYTES: Final = 4096
"""struct heap_info and struct malloc_state lie at its start."""

# Calls that wait without a lock of malloc's or the loader's: read, poll, nanosleep, … of x86-64 and
# aarch64. futex is looked at more closely.
_WAITS: Final = {
    "x86_64": frozenset(
        {0, 1, 7, 23, 34, 35, 43, 45, 47, 61, 128, 130, 219, 230, 232, 247, 270, 271, 281, 288, 441}
    ),
    "aarch64": frozenset(
        {22, 63, 64, 72, 73, 101, 115, 133, 137, 202, 207, 212, 242, 260, 95, 441}
    ),
}
_FUTEX: Final = {"x86_64": 202, "aarch64": 98}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stopped thread is: the number of the system call it waits in, or -1."""

    syscall: int
    argument: int
    sp: int
    pc: int


@dataclass(frozen=True, slots=True)
class SafePlaces:
    """Which places are safe.

    Attributes:
        risky: code of libc, the loader and whoever else provides malloc.
        risky_data: their writable memory, where their locks are.
        returns: addresses that a signal handler returns to; one on the stack means that a handler
            runs, and what it interrupted is unknown.
        arch: as ``platform.machine()``.
    """

    risky: Sequence[tuple[int, int]]
    risky_data: Sequence[tuple[int, int]]
    returns: frozenset[int]
    arch: str = "x86_64"

    def is_safe(self, place: Place, stack: bytes | None) -> bool:
        """Judge a place by its program counter and the words of its stack."""
        if stack is None:
            return False
        words = struct.unpack_from(f"<{len(stack) // 8}Q", stack)
        if self.returns.intersection(words):
            return False
        if not _within(place.pc, self.risky):
            return True
        if place.syscall in _WAITS[self.arch]:
            return True
        if place.syscall == _FUTEX[self.arch]:
            # A mutex or condition of the program's own; malloc's lie in libc's data or in an arena.
            in_arena = place.argument % _HEAP_MAX < _ARENA_BYTES
            return not in_arena and not _within(place.argument, self.risky_data)
        return False


def _within(address: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(start <= address < end for start, end in ranges)


def stop_at_safe_place(pid: int, places: SafePlaces, root: Path = PROC) -> int:
    """Leave the process stopped, its main thread at a safe place; return how often it was tried.

    Raises:
        TargetBusy: there was none within five seconds; the process runs on.
        NoSuchProcess: it ended meanwhile.
    """
    deadline = time.monotonic() + _PATIENCE_S
    attempts = 0
    with Memory(pid, root) as memory:
        while time.monotonic() < deadline:
            attempts += 1
            _signal(pid, signal.SIGSTOP)
            safe = False
            try:
                place = _stopped_place(pid, root)
                safe = place is not None and places.is_safe(
                    place, read_stack(memory.read, place.sp) or None
                )
            finally:
                if not safe:
                    _signal(pid, signal.SIGCONT)
            if safe:
                return attempts
            time.sleep(random.uniform(0.0005, 0.004))  # noqa: S311  (not in step with the target)
    raise TargetBusy(
        f"found no safe moment to enter pid {pid}",
        cause=f"its main thread was inside libc or the allocator in {attempts} of {attempts} looks",
        fix="try again, or when the process is less busy; cgoleak watch needs no entry",
    )


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        raise NoSuchProcess(f"pid {pid} has ended") from None


def _stopped_place(pid: int, root: Path) -> Place | None:
    """Wait until the main thread has stopped; None if it does not within a quarter of a second."""
    deadline = time.monotonic() + _STOP_S
    while True:
        state = procfs.stat(pid, root).state
        if state == "T":
            break
        if state in "ZX":
            raise NoSuchProcess(f"pid {pid} has ended")
        if time.monotonic() > deadline:
            return None
    try:
        fields = (root / str(pid) / "syscall").read_text().split()
    except OSError:
        return None
    if len(fields) < 3:  # "running": woken by someone else
        return None
    argument = int(fields[1], 16) if len(fields) > 3 else 0
    return Place(int(fields[0]), argument, int(fields[-2], 16), int(fields[-1], 16))


def read_stack(
    read: Callable[[int, int], bytes | None], sp: int, most: int = _STACK_BYTES
) -> bytes:
    """Return the stack above the stack pointer, as much as is mapped of ``most`` bytes.

    A handler's return address stands at the far end of its stack, which may be the last page that
    is mapped: so every page counts.
    """
    start = sp & -8
    raw = read(start, most)
    if raw is not None:
        return raw
    pages = []
    for page in range(start & -_PAGE, start + most, _PAGE):
        at = max(page, start)
        got = read(at, page + _PAGE - at)
        if got is None:
            break
        pages.append(got)
    return b"".join(pages)
