"""The way in where Frida cannot go: a thread of the target starts one for the probe.

A piece of code is written over dead code of the target, and a thread that waits is sent through it
(``errand``). The thread that this starts waits for us to put the probe's object into a mapping that
it has made, calls it and ends. Then the dead code is as before. What a driver that was killed has
left there is found by the next one, and taken away once no thread is in it.

All reading and writing goes through one descriptor of ``/proc/PID/mem``, which is the memory of one
program and of none that it becomes by exec; the program's mark says that it is the one that was
surveyed.
"""

from __future__ import annotations

import os
import random
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.errors import AttachFailed, CgoleakError, NoSuchProcess
from cgoleak.probe.entry.guard import read_stack
from cgoleak.probe.stopped import ptrace
from cgoleak.probe.stopped.edits import CodeMemory
from cgoleak.probe.stopped.errand import IMAGE_AT, Errand, Loan, Stub, busy
from cgoleak.probe.stopped.standstill import while_standing
from cgoleak.target.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgoleak.probe.entry.orders import Order
    from cgoleak.target.kernel.procfs import Region

__all__ = ["bring_in", "free_room"]

_PATIENCE_S: Final = 5.0
_FURNISH_S: Final = 2.0
"""How long after its start the new thread is given the object: it waits three seconds for us."""
_STAY_S: Final = 8.0
"""How long the started thread may take."""
_ENDING_S: Final = 0.2
"""How long the memory of a process may be there after its threads have ended."""
_POLL_S: Final = 0.0002
_STACK_BYTES: Final = 256 << 10
"""How much of a stack is searched for ways back into the code; a handler's own may be large."""
_RSP: Final = 19
_PAGE: Final = 4096
_TOP: Final = 1 << 47


def bring_in(order: Order) -> Loan:
    """Bring the probe into a process by a thread of its own.

    Raises:
        TargetBusy: no thread waits in a system call, somebody else is at it, or it is another
            program now; all run on.
        NoSuchProcess: it ended meanwhile.
        NotPermitted: the kernel refuses.
        AttachFailed: the target could not start a thread or map memory.
    """
    with CodeMemory(order.pid) as memory:
        if not memory.lock():
            raise busy(order.pid, "another cgoleak is just entering it")
        return _Way(order, memory).go()


def free_room(regions: Iterable[Region]) -> int:
    """Choose where nothing is mapped, and nothing will be soon: in the midst of the largest gap."""
    ends, starts = [_PAGE * 16], []
    for region in regions:
        if region.start < _TOP:
            starts.append(region.start)
            ends.append(region.end)
    starts.append(_TOP)
    low, size = max(zip(ends, starts, strict=True), key=lambda gap: gap[1] - gap[0])
    size -= low
    at = low + size // 4 + random.randrange(size // 2)  # noqa: S311  (two never meet twice)
    return at & -_PAGE


class _Way:
    """One way into one process."""

    def __init__(self, order: Order, memory: CodeMemory) -> None:
        self._pid = order.pid
        self._order = order
        self._memory = memory
        self._dead, end = order.dead
        self._own = bytes.fromhex(order.dead_code)
        self._stub = Stub(Path(order.image))
        if len(self._stub.code) > min(end - self._dead, len(self._own)):
            raise AttachFailed(
                f"cannot enter pid {self._pid}",
                cause="its Go start-up code is shorter than that of any Go we know",
                fix="use a newer cgoleak",
            )
        self._own = self._own[: len(self._stub.code)]
        self._errand = Errand(self._pid, memory, self._stub, self._dead)

    def go(self) -> Loan:
        """Do all of it."""
        if not self._order.is_for(self._memory):
            self._see_it_lives()
            raise busy(self._pid, "it has just become another program")
        self._clear()
        room = free_room(procfs.maps(self._pid))
        self._stub.words.room = room
        self._write(self._dead, self._stub.code)
        try:
            loan = self._errand.run()
            self._furnish(room)
        except BaseException:
            with suppress(CgoleakError):  # the next driver does it
                self._leave()
            raise
        self._leave()
        return loan

    def _write(self, address: int, content: bytes) -> None:
        """Write where no thread runs; the page need not be writable."""
        if self._memory.write(address, content):
            return
        self._see_it_lives()
        raise AttachFailed(
            f"cannot write the memory of pid {self._pid}",
            cause="the kernel refuses it",
            fix="see proc_mem.force_override in the kernel's documentation",
        )

    def _see_it_lives(self, seconds: float = 0.0) -> None:
        """Tell a process that ends; ``seconds``: wait so long for it."""
        time.sleep(seconds)
        if self._memory.read(self._dead, 1) is None:
            raise NoSuchProcess(f"pid {self._pid} has ended, or is another program now")

    # --- the dead code ---------------------------------------------------------------------------

    def _clear(self) -> None:
        """See that the dead code is the program's own; take away what somebody has left there."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._memory.read(self._dead, len(self._own)) != self._own:
            if while_standing(self._pid, self._restore_if_left):
                return
            if time.monotonic() > deadline:
                raise busy(self._pid, "a thread has not yet left the way of an earlier cgoleak")
            time.sleep(0.1)

    def _restore_if_left(self) -> bool:
        """Restore the code if no thread is in it, or comes back to it."""
        for thread in procfs.tasks(self._pid):
            try:
                registers = ptrace.registers(thread)
            except OSError:
                continue  # it has ended
            if self._comes_back(registers, is_first=thread == self._pid):
                return False
        self._write(self._dead, self._own)
        return True

    def _comes_back(self, registers: list[int], *, is_first: bool) -> bool:
        """Tell from its registers and its stack whether a thread needs the code.

        A borrowed thread can be in a signal handler, and the started one in the probe. The first
        thread alone, which is never the started one, has one way back into this code that is never
        taken, that from ``mstart``: it lies behind the borrowed threads' part.
        """
        inside = range(self._dead, self._dead + len(self._own))
        stack = read_stack(self._memory.read, registers[_RSP], _STACK_BYTES)
        words = struct.unpack_from(f"<{len(stack) // 8}Q", stack)
        there = inside[: self._stub.apart] if is_first else inside
        return any(at in inside for at in registers) or any(at in there for at in words)

    def _leave(self) -> None:
        """Put the dead code back, once nobody is in it."""
        errand = self._errand
        if errand.is_sent and not (errand.is_back and self._is_child_gone()):
            self._clear()  # it came no more under our eyes
        else:
            self._write(self._dead, self._own)

    # --- the started thread ----------------------------------------------------------------------

    def _furnish(self, room: int) -> None:
        """Put the object where the started thread waits for it, and let the thread go there."""
        child = self._errand.child
        if child is None or child < 0:
            self._see_it_lives(_ENDING_S)
            raise AttachFailed(
                f"pid {self._pid} cannot start a thread for the probe",
                cause=os.strerror(-(child or 0)),
                fix="check the target's limits (RLIMIT_NPROC, pids cgroup, seccomp filter)",
            )
        while not any(r.start == room for r in procfs.maps(self._pid)):
            if self._is_child_gone():
                self._see_it_lives(_ENDING_S)
                raise AttachFailed(
                    f"pid {self._pid} cannot map memory for the probe",
                    fix="check the target's limits (RLIMIT_AS, memory cgroup, SELinux execmem)",
                )
            self._in_time()
            time.sleep(_POLL_S)
        self._write(room + IMAGE_AT, bytes(self._stub.image))
        arrive = room + IMAGE_AT + self._stub.arrive
        words = f"{self._order.start:x}".encode() + b"\0"
        self._write(room + 8, arrive.to_bytes(8, "little") + words)
        self._in_time()
        self._write(room, b"\x01")
        if not self._child_gone():
            raise AttachFailed(f"the probe did not start in pid {self._pid} in {_STAY_S:.0f} s")

    def _in_time(self) -> None:
        """See that the started thread still waits: later, its mapping may be somebody else's."""
        if time.monotonic() > self._errand.started + _FURNISH_S:
            raise busy(self._pid, "the machine is too busy")

    def _child_gone(self) -> bool:
        """Wait until the started thread has ended."""
        deadline = time.monotonic() + _STAY_S
        while not self._is_child_gone():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def _is_child_gone(self) -> bool:
        for task in procfs.tasks(self._pid):
            try:
                status = procfs.status(task)
            except CgoleakError:
                continue
            # The number is that of the target's own namespace.
            if (status.ns_pids[-1] if status.ns_pids else task) == self._errand.child:
                return False
        return True
