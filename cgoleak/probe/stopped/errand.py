"""A thread of the target is sent through a piece of code, and seen back to where it was.

It waits in a system call, is stopped by ptrace(2), alone, and its program counter is set to the
code of ``probes/borrow.c``. That is one request, and the only thing that must happen as a whole:
from then on the code itself leads the thread back, with every register, and its system call begins
again as the kernel would have it. So we may be killed at any moment. While we live, the thread
never sees the way back: it is stopped at the end of its last system call, and its registers are
set.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.errors import AttachFailed, NoSuchProcess, NotPermitted, TargetBusy
from cgoleak.probe.stopped import ptrace
from cgoleak.probe.stopped.ptrace import EVENT_STOP, WALL, Request
from cgoleak.probe.wire.layout import BORROW_BYTES, Borrow
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.probe.stopped.edits import CodeMemory

__all__ = ["IMAGE_AT", "Errand", "Loan", "Stub", "busy", "resumed"]

_PATIENCE_S: Final = 5.0
_STOP_S: Final = 2.0
"""How long a thread may take to stop: it waits, so that only a busy machine keeps it."""
_WAY_S: Final = 2.0
"""How long a borrowed thread may take for its three system calls."""
_POLL_S: Final = 0.0002

# struct user_regs_struct (sys/user.h), in words.
_R11, _R10, _RAX, _RCX, _RDX, _RSI, _RDI, _ORIG_RAX, _RIP, _CS = (
    *(6, 7, 10, 11, 12, 13, 14, 15, 16, 17),
)
_CODE_64: Final = 0x33
"""Code segment of 64-bit programs (asm/segment.h)."""
_SYSCALL: Final = b"\x0f\x05"
_WORD: Final = (1 << 64) - 1
_ALL_SIGNALS: Final = _WORD
# asm/unistd_64.h
_CLONE: Final = 56
_RESTART_SYSCALL: Final = 219
# linux/errno.h: what an interrupted call has in rax until the kernel begins it again.
_RESTARTS: Final = frozenset({-512, -513, -514})
_RESTART_BLOCK: Final = -516
_ENTERED: Final = -errno.ENOSYS
"""What rax holds at the stop before a system call."""
_FUTEX: Final = 202
_WAITS: Final = (_FUTEX, 35, 230, 7, 271, 0, 45, 47, 43, 288, 23, 270, 61, 247, 281, 232, 441)
"""Calls that wait, those first whose interruption nobody sees: futex, nanosleep, poll, read, …

epoll_wait comes last: it says EINTR whenever it is stopped (signal(7))."""

_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
_STOPS: Final = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

IMAGE_AT: Final = 4096
"""Where in its mapping the object lies; before it: a flag, where to go, the words for it."""


@dataclass(frozen=True, slots=True)
class Loan:
    """How it went; ``seconds``: how long the thread was kept."""

    attempts: int
    seconds: float


def busy(pid: int, cause: str) -> TargetBusy:
    """Give the error of a process that cannot be entered now."""
    return TargetBusy(
        f"found no safe moment to enter pid {pid}",
        cause=cause,
        fix="try again; cgoleak watch needs no entry",
    )


def resumed(registers: list[int]) -> list[int]:
    """Give the registers with which an interrupted thread goes on, as the kernel would set them.

    arch/x86/kernel/signal.c, ``arch_do_signal_or_restart``: back to the call, with its number.
    """
    values = list(registers)
    result = ctypes.c_int64(values[_RAX]).value
    if result in _RESTARTS or result == _RESTART_BLOCK:
        values[_RAX] = _RESTART_SYSCALL if result == _RESTART_BLOCK else values[_ORIG_RAX]
        values[_RIP] -= len(_SYSCALL)
    values[_ORIG_RAX] = _WORD  # no call any more: nothing is begun again a second time
    return values


class Stub:
    """The code of ``probes/borrow.c``, and the object as it is mapped."""

    def __init__(self, path: Path) -> None:
        """Read both from the probe's file.

        Raises:
            AttachFailed: the probe was built for another architecture.
        """
        obj = ObjectFile.open(path)
        places = {}
        for name in (
            *("borrow", "borrow_done", "borrow_apart", "borrow_words", "borrow_end", "arrive"),
        ):
            symbol = obj.symbol(f"cgoleak_{name}")
            if symbol is None:
                raise AttachFailed("the probe has no way into a static program")
            places[name] = symbol[0]
        start = places["borrow"]
        self.done = places["borrow_done"] - start
        self.apart = places["borrow_apart"] - start
        self.words_at = places["borrow_words"] - start
        self.arrive = places["arrive"]
        code = obj.read(start, places["borrow_end"] - start)
        assert code is not None
        self.code = code
        self.words = Borrow.from_buffer_copy(code, self.words_at)
        self.image = bytearray(BORROW_BYTES - IMAGE_AT)
        for segment in obj.segments:
            if segment.type == "PT_LOAD":
                content = obj.at_offset(segment.offset, segment.filesz)
                self.image[segment.vaddr : segment.vaddr + len(content)] = content
        assert len(self.image) == BORROW_BYTES - IMAGE_AT, "the probe is too big for its mapping"


class Errand:
    """One thread's way through the code that lies at ``at``.

    Attributes:
        is_sent: a thread was sent through the code.
        is_back: and has left it.
        child: the thread that it has started, as the target numbers it; below zero: why it could
            not be started; None if that is not known.
        started: a moment before the child began, on the monotonic clock.
    """

    def __init__(self, pid: int, memory: CodeMemory, stub: Stub, at: int) -> None:
        self._pid = pid
        self._memory = memory
        self._stub = stub
        self._at = at
        self.is_sent = False
        self.is_back = False
        self.child: int | None = None
        self.started = 0.0

    def run(self) -> Loan:
        """Send one that waits; in the end none is traced.

        Raises:
            TargetBusy: no thread waits in a system call, or one does not stop; all run on.
            NoSuchProcess: it ended meanwhile, or became another program.
            NotPermitted: the kernel refuses.
            AttachFailed: its code cannot be written.
        """
        deadline = time.monotonic() + _PATIENCE_S
        attempts = 0
        while time.monotonic() < deadline:
            for thread in _waiting(self._pid):
                attempts += 1
                began = time.monotonic()
                if self._try(thread):
                    return Loan(attempts, time.monotonic() - began)
            if self._memory.read(self._at, 1) is None:
                raise NoSuchProcess(f"pid {self._pid} has ended, or is another program now")
            time.sleep(random.uniform(0.0005, 0.004))  # noqa: S311  (not in step with the target)
        raise busy(self._pid, "none of its threads waits in a system call")

    def _try(self, thread: int) -> bool:
        """Send this one, from a thread of ours that does nothing else: who traces is one thread.

        With its end the kernel lets go of whatever it held, a thread that died in our hands too:
        exec waits until all others are gone (fs/exec.c, ``de_thread``), and so would the target.
        """
        results: list[bool] = []
        errors: list[BaseException] = []
        tracer = threading.Thread(target=self._work, args=(thread, results, errors), name="errand")
        tracer.start()
        tracer.join()
        ours = PROC / "self" / "task" / str(tracer.native_id)
        while ours.exists():  # its end is a moment after the join
            time.sleep(_POLL_S)
        if errors:
            raise errors[0]
        return results[0]

    def _work(self, thread: int, results: list[bool], errors: list[BaseException]) -> None:
        try:
            results.append(self._send(thread))
        except ProcessLookupError as exc:
            ended = NoSuchProcess(f"pid {self._pid} has ended")
            ended.__cause__ = exc
            errors.append(ended)
        except BaseException as exc:  # noqa: BLE001  (raised again, in the thread that asked)
            errors.append(exc)

    def _send(self, thread: int) -> bool:
        """Let a thread run the code, and see it back; false if it cannot be taken as it is."""
        try:
            ptrace.request(Request.SEIZE, thread, 0, ptrace.TRACE_SYSGOOD)
            ptrace.request(Request.INTERRUPT, thread)
        except OSError as exc:
            if exc.errno == errno.ESRCH or not ptrace.lives(self._pid, thread):
                return False
            raise NotPermitted(
                f"cannot stop a thread of pid {self._pid}",
                cause=exc.strerror,
                fix=f"see: cgoleak doctor {self._pid}",
            ) from exc
        stop = self._stop_of(thread, _STOP_S)
        if stop is None:
            return False
        if stop == (EVENT_STOP, signal.SIGTRAP):
            registers = ptrace.registers(thread)
            if self._is_fit(registers):
                self._lend(thread, registers)
                return True
        event, number = stop
        ptrace.request(Request.DETACH, thread, 0, 0 if event else number)
        return False

    def _is_fit(self, registers: list[int]) -> bool:
        """Whether a thread stands behind a system call.

        In a call it is in no restartable sequence (rseq(2)), which must not be left and entered.
        """
        in_call = ctypes.c_int64(registers[_ORIG_RAX]).value >= 0
        if not in_call or registers[_CS] != _CODE_64:
            return False
        behind = registers[_RIP] - len(_SYSCALL)
        return self._memory.read(behind, len(_SYSCALL)) == _SYSCALL

    def _lend(self, thread: int, registers: list[int]) -> None:
        after = resumed(registers)
        words = self._stub.words
        words.mask = ptrace.signal_mask(thread)
        words.rax, words.rcx, words.rdx = after[_RAX], after[_RCX], after[_RDX]
        words.rsi, words.rdi, words.r10 = after[_RSI], after[_RDI], after[_R10]
        words.r11, words.rip = after[_R11], after[_RIP]
        if not self._memory.write(self._at + self._stub.words_at, bytes(words)):
            raise NoSuchProcess(f"pid {self._pid} has ended")
        there = list(registers)
        there[_RIP], there[_ORIG_RAX] = self._at, _WORD
        self.is_sent = True
        ptrace.set_registers(thread, there)
        # From here on it comes back without us. No handler shall be in its way: the code blocks all
        # signals by itself, and is the only one to open them again.
        ptrace.set_signal_mask(thread, _ALL_SIGNALS)
        self._follow(thread)
        ptrace.set_registers(thread, after)
        self.is_back = True
        ptrace.request(Request.DETACH, thread)

    def _follow(self, thread: int) -> None:
        """Go along from call to call, to the end of the last."""
        number = 0
        deadline = time.monotonic() + _WAY_S
        while True:
            before = time.monotonic()
            ptrace.request(Request.SYSCALL, thread, 0, number)
            stop = self._stop_of(thread, deadline - time.monotonic())
            if stop is None:
                raise NoSuchProcess(f"pid {self._pid} has ended")
            event, number = stop
            if event == EVENT_STOP and number in _STOPS:
                ptrace.request(Request.DETACH, thread)
                raise busy(self._pid, "it was stopped at that moment")
            if number != _SYSCALL_STOP:
                number = 0 if event else number
                continue
            number = 0
            now = ptrace.registers(thread)
            result = ctypes.c_int64(now[_RAX]).value
            if result == _ENTERED:
                continue
            if now[_ORIG_RAX] == _CLONE:
                self.child, self.started = result, before
            if now[_RIP] == self._at + self._stub.done:
                return

    def _stop_of(self, thread: int, seconds: float) -> tuple[int, int] | None:
        """Wait for a stop: event and signal; None if the thread has ended.

        Only stops are asked for: the exit status of a command of ours is for others to take.

        Raises:
            TargetBusy: it does not stop.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = os.waitid(os.P_PID, thread, os.WSTOPPED | os.WNOHANG | WALL)
            except ChildProcessError:
                return None
            if found is not None:
                return found.si_status >> 8, found.si_status & 0xFF
            if not ptrace.lives(self._pid, thread):
                return None
            if time.monotonic() > deadline:
                raise busy(self._pid, f"its thread {thread} does not stop")
            time.sleep(_POLL_S)


def _waiting(pid: int) -> list[int]:
    """Return the threads that wait in a system call, the best first."""
    found = []
    for task in procfs.tasks(pid):
        try:
            words = (PROC / str(pid) / "task" / str(task) / "syscall").read_text().split()
        except OSError:
            continue
        if len(words) > 2 and words[0].isdecimal() and int(words[0]) in _WAITS:
            found.append((_WAITS.index(int(words[0])), task))
    return [task for _, task in sorted(found)]
