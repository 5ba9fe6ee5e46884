"""The few requests of ptrace(2) that we make, with the kernel's errors as ``OSError``.

Whoever holds a process by ptrace is one thread: requests from another fail with ESRCH.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from typing import Final

from cgoleak.target.kernel.procfs import PROC

__all__ = [
    "EVENT_STOP",
    "TRACE_SYSGOOD",
    "WALL",
    "Request",
    "answer",
    "event_message",
    "has_ended",
    "lives",
    "peek",
    "registers",
    "request",
    "set_registers",
    "set_signal_mask",
    "signal_mask",
]


class Request:
    """linux/ptrace.h."""

    TRACEME: Final = 0
    PEEKTEXT: Final = 1
    POKETEXT: Final = 4
    CONT: Final = 7
    DETACH: Final = 17
    SYSCALL: Final = 24
    GETEVENTMSG: Final = 0x4201
    GETREGSET: Final = 0x4204
    SETREGSET: Final = 0x4205
    SEIZE: Final = 0x4206
    INTERRUPT: Final = 0x4207
    LISTEN: Final = 0x4208
    GETSIGMASK: Final = 0x420A
    SETSIGMASK: Final = 0x420B


TRACE_SYSGOOD: Final = 1
"""Option: the signal of a stop at a system call has the bit 0x80."""
EVENT_STOP: Final = 128
"""Event of a stop that we asked for, or of the whole process."""
WALL: Final = 0x40000000
"""Option of waitpid(2): threads of others too."""
_SIGSET_BYTES: Final = 8


_ENDS: Final = frozenset({os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED})

_NT_PRSTATUS: Final = 1
_MOST_REGISTERS: Final = 64

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def request(number: int, who: int, address: int = 0, data: int = 0) -> None:
    """Make one request of thread ``who``.

    Raises:
        OSError: the kernel refuses; ESRCH if the thread is gone, or does not stand still.
    """
    answer(number, who, address, data)


def answer(number: int, who: int, address: int = 0, data: int = 0) -> int:
    """Make one request whose result is a number.

    Raises:
        OSError: the kernel refuses.
    """
    found: int = _libc.ptrace(number, who, address, data)
    if found == -1:
        raise _failure()
    return found


def peek(who: int, address: int) -> int:
    """Return the word at ``address``; any value may be one, so errno alone tells of a failure."""
    ctypes.set_errno(0)
    found: int = _libc.ptrace(Request.PEEKTEXT, who, address, None)
    if ctypes.get_errno():
        raise _failure()
    return found & 0xFFFFFFFFFFFFFFFF


def event_message(who: int) -> int:
    """Return what belongs to the event that ``who`` stopped for: at its end, its exit status."""
    message = ctypes.c_ulong()
    request(Request.GETEVENTMSG, who, 0, ctypes.addressof(message))
    return message.value


def registers(who: int) -> list[int]:
    """Return the general registers, in the order of ``struct user_regs_struct`` (sys/user.h)."""
    room = ctypes.create_string_buffer(_MOST_REGISTERS * 8)
    vector = _Iovec(ctypes.addressof(room), len(room))
    request(Request.GETREGSET, who, _NT_PRSTATUS, ctypes.addressof(vector))
    return list(struct.unpack_from(f"<{vector.size // 8}Q", room))


def set_registers(who: int, values: list[int]) -> None:
    """Set the general registers, all that ``registers`` gave."""
    room = ctypes.create_string_buffer(struct.pack(f"<{len(values)}Q", *values))
    vector = _Iovec(ctypes.addressof(room), len(values) * 8)
    request(Request.SETREGSET, who, _NT_PRSTATUS, ctypes.addressof(vector))


def signal_mask(who: int) -> int:
    """Return which signals ``who`` blocks; one that a call opens for its time is not among them."""
    mask = ctypes.c_uint64()
    request(Request.GETSIGMASK, who, _SIGSET_BYTES, ctypes.addressof(mask))
    return mask.value


def set_signal_mask(who: int, mask: int) -> None:
    """Let ``who`` block these signals."""
    blocked = ctypes.c_uint64(mask)
    request(Request.SETSIGMASK, who, _SIGSET_BYTES, ctypes.addressof(blocked))


def has_ended(child: int) -> bool:
    """Tell whether a child of ours has ended, without taking its status.

    While a thread of ours traces the child, waitid(2) and waitpid(2) give its stops too, whatever
    they are asked for (kernel/exit.c, ``wait_task_stopped``): only the code tells them apart.

    Raises:
        ChildProcessError: it is no child of ours, or its status was taken.
    """
    found = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None and found.si_code in _ENDS


def lives(pid: int, thread: int) -> bool:
    """Tell whether a thread of a process has not ended yet.

    One that we trace stays as a zombie until it is taken or its tracer ends, and keeps the process
    from becoming another program: exec waits until all other threads are gone (fs/exec.c,
    ``de_thread``). So it is taken here. The first one's status is for others to take, and exec does
    not wait for that.
    """
    try:
        text = (PROC / str(pid) / "task" / str(thread) / "stat").read_text()
    except OSError:
        return False
    if text.rpartition(")")[2].split()[0] not in "ZX":
        return True
    if thread != pid:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(thread, os.WNOHANG | WALL)
    return False


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
