"""The few requests of ptrace(2) that we make, with the kernel's errors as ``OSError``.

Whoever holds a process by ptrace is one thread: requests from another fail with ESRCH.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

__all__ = ["Request", "answer", "event_message", "peek", "registers", "request", "set_registers"]


class Request:
    """linux/ptrace.h."""

    TRACEME: Final = 0
    PEEKTEXT: Final = 1
    POKETEXT: Final = 4
    CONT: Final = 7
    DETACH: Final = 17
    GETEVENTMSG: Final = 0x4201
    GETREGSET: Final = 0x4204
    SETREGSET: Final = 0x4205
    SEIZE: Final = 0x4206
    INTERRUPT: Final = 0x4207
    LISTEN: Final = 0x4208


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
    if _libc.ptrace(number, who, address, data) == -1:
        raise _failure()


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


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
