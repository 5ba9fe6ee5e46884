"""Seccomp filters of a process: would they end it for what the probe does, or refuse it?

process that stands still → error, or nothing. A filter is a program of classic BPF that the kernel
runs over the number and the arguments of each system call (seccomp(2)); who may administrate the
machine can read it by ptrace, and run it over the calls that are to come. A filter that cannot be
read (no CAP_SYS_ADMIN, or a filter around ourselves) is not judged.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.errors import UnsupportedTarget
from cgoleak.probe.stopped.ptrace import answer
from cgoleak.probe.stopped.standstill import while_standing
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["ALLOW", "Call", "action_of", "refuse_filters"]

_GET_FILTER: Final = 0x420C
_INSTRUCTION: Final = struct.Struct("<HBBI")
_MOST_INSTRUCTIONS: Final = 4096
_MOST_FILTERS: Final = 64
_AUDIT_ARCH_X86_64: Final = 0xC000003E

ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_ACTION: Final = 0xFFFF0000


class Call(NamedTuple):
    """A system call: name, number on x86-64, and the arguments as far as a filter may ask them."""

    name: str
    number: int
    arguments: tuple[int, ...] = ()


_NEEDED: Final = (
    # Seen by a filter that hands every call of a process to a supervisor, during an attach
    # (glibc 2.36, Frida 17). What has another way round is below.
    Call("close", 3),
    Call("mmap", 9, (0, 4096, 3, 0x22)),
    Call("mmap", 9, (0, 4096, 5, 2)),
    Call("mprotect", 10, (0, 4096, 5)),
    Call("munmap", 11),
    Call("rt_sigprocmask", 14),
    Call("sendto", 44),
    Call("recvmsg", 47),
    Call("socketpair", 53, (1, 1)),
    Call("clone", 56, (0x3D0F00,)),
    Call("exit", 60),
    Call("fcntl", 72, (0, 36)),
    Call("ftruncate", 77),
    Call("openat", 257),
    Call("ppoll", 271),
    Call("pipe2", 293),
    Call("memfd_create", 319, (0, 9)),
    Call("read", 0),
    Call("write", 1),
)
_TRIED: Final = (
    Call("madvise", 28),
    Call("getpid", 39),
    Call("prctl", 157),
    Call("gettid", 186),
    Call("clock_gettime", 228),
    Call("set_robust_list", 273),
    Call("process_vm_readv", 310),
    Call("memfd_create", 319, (0, 1)),
    Call("membarrier", 324),
    Call("rseq", 334),
    Call("clone3", 435),
)
"""Where these fail, there is another way; that they end the process, there is not."""
_IN_HOOKS: Final = (
    Call("write", 1),
    Call("rt_sigprocmask", 14),
    Call("clock_gettime", 228),
    Call("ppoll", 271),
    Call("process_vm_readv", 310),
)
"""What a hook may call, on whatever thread."""


def refuse_filters(pid: int, root: Path = PROC) -> None:
    """Look at the filters of a process that has some; it stands still for a moment.

    Raises:
        UnsupportedTarget: one would end it, or refuse what there is no other way for.
    """
    threads = dict(while_standing(pid, lambda: _all(pid, root)))
    for thread, filters in threads.items():
        calls = (*_NEEDED, *_TRIED) if thread == pid else _IN_HOOKS
        deadly = next((call for call in calls if _ends(action_of(filters, call))), None)
        if deadly is not None:
            raise UnsupportedTarget(
                f"process {pid} would be ended by its own filter of system calls",
                cause=f"the probe needs {deadly.name}, and the seccomp filter ends who calls it",
                fix=f"allow {deadly.name} in the container's or unit's seccomp profile; or use:"
                " cgoleak watch",
            )
    refused = next(
        (
            call
            for call in _NEEDED
            if pid in threads and action_of(threads[pid], call) & _ACTION == _ERRNO
        ),
        None,
    )
    if refused is not None:
        raise UnsupportedTarget(
            f"process {pid} may not make the system calls that the probe needs",
            cause=f"its seccomp filter refuses {refused.name}",
            fix=f"allow {refused.name} in the container's or unit's seccomp profile; or use:"
            " cgoleak watch",
        )


def _ends(action: int) -> bool:
    """Tell whether a call ends process or thread, or is a signal that nobody expects."""
    return action & _ACTION in (0x80000000, 0x00000000, 0x00030000)


def _all(pid: int, root: Path) -> list[tuple[int, tuple[bytes, ...]]]:
    """Give the filters of every thread that has any."""
    found = []
    for thread in procfs.tasks(pid, root):
        filters = _filters(thread)
        if filters:
            found.append((thread, filters))
    return found


def _filters(thread: int) -> tuple[bytes, ...]:
    """Read a thread's filters, the latest first; none where that is not allowed."""
    found = []
    for number in range(_MOST_FILTERS):
        try:
            count = answer(_GET_FILTER, thread, number)
            room = ctypes.create_string_buffer(_INSTRUCTION.size * _MOST_INSTRUCTIONS)
            if 0 < count <= _MOST_INSTRUCTIONS:
                answer(_GET_FILTER, thread, number, ctypes.addressof(room))
                found.append(room.raw[: count * _INSTRUCTION.size])
        except OSError as exc:
            if exc.errno == errno.ENOENT:  # that was the last
                break
            return ()
    return tuple(found)


def action_of(filters: Iterable[bytes], call: Call) -> int:
    """Give what becomes of a call: of all filters' answers the one that goes before the others.

    The kernel compares them as signed numbers (kernel/seccomp.c, ``seccomp_run_filters``).
    """
    data = struct.pack(
        "<iIQ6Q",
        call.number,
        _AUDIT_ARCH_X86_64,
        0,
        *(*call.arguments, 0, 0, 0, 0, 0, 0)[:6],
    )
    answers = [_run(_instructions(raw), data) for raw in filters]
    return min(answers, key=lambda one: one - (one >> 31 << 32), default=ALLOW)


def _instructions(raw: bytes) -> list[tuple[int, int, int, int]]:
    return list(_INSTRUCTION.iter_unpack(raw))


def _run(program: Sequence[tuple[int, int, int, int]], data: bytes) -> int:
    """Run a filter (linux/filter.h, linux/bpf_common.h); it only jumps ahead. No end allows."""
    a = x = at = 0
    memory = [0] * 16
    while at < len(program):
        code, if_true, if_false, k = program[at]
        at += 1
        operand = x if code & 8 else k
        match code & 7:
            case 0:
                a = _loaded(code & 0xE0, k, data, memory)
            case 1:
                x = _loaded(code & 0xE0, k, data, memory)
            case 2 | 3 as kind:
                memory[k & 15] = a if kind == 2 else x
            case 4:
                a = _computed(code & 0xF0, a, operand)
            case 5:
                at += _jump(code & 0xF0, a, operand, (if_true, if_false))
            case 6:
                return a if code & 0x18 == 0x10 else k
            case _:
                a, x = (x, x) if code & 0xF8 else (a, a)
    return ALLOW


def _loaded(mode: int, k: int, data: bytes, memory: Sequence[int]) -> int:
    if mode == 0x20:
        word = data[k : k + 4]
        return int.from_bytes(word, "little") if len(word) == 4 else 0
    return {0x00: k, 0x60: memory[k & 15], 0x80: len(data)}.get(mode, 0)


def _jump(test: int, a: int, operand: int, distances: tuple[int, int]) -> int:
    if test == 0:
        return operand
    yes = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: a & operand != 0}
    return distances[0] if yes.get(test) else distances[1]


def _computed(operation: int, a: int, b: int) -> int:
    """Compute as BPF does, with 32 bits; a division by zero cannot be in a filter."""
    results = {
        0x00: a + b,
        0x10: a - b,
        0x20: a * b,
        0x30: a // b if b else 0,
        0x40: a | b,
        0x50: a & b,
        0x60: a << (b & 31),
        0x70: a >> (b & 31),
        0x80: -a,
        0x90: a % b if b else 0,
        0xA0: a ^ b,
    }
    return results.get(operation, a) & 0xFFFFFFFF
