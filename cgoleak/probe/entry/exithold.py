"""Holds a command of ours at its exit, with all its memory still there.

Go leaves by a raw ``exit_group``, which no hook in the process sees. The kernel stops a traced
thread that ends its process before it takes the memory away (PTRACE_EVENT_EXIT, ptrace(2)), however
it ends: ``os.Exit``, return from main, a panic, a signal that kills.

A thread of ours is the tracer, since ptrace belongs to threads. It hands every signal on and does
nothing else until the end. Should cgoleak die, the kernel lets the command run on untraced.

Between the injection and the seizure nobody traces the command, and it must not run away: its first
instruction is a jump to itself meanwhile (some 30 ms).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.errors import AttachFailed
from cgoleak.probe.stopped import ptrace
from cgoleak.probe.stopped.edits import CodeMemory, Edit
from cgoleak.probe.stopped.ptrace import Request

if TYPE_CHECKING:
    from cgoleak.probe.entry.spawn import HeldProcess

__all__ = ["ExitHold"]

# linux/ptrace.h, linux/wait.h
_TRACE_CLONE: Final = 8
_TRACE_EXIT: Final = 0x40
_EVENT_EXIT: Final = 6
_EVENT_STOP: Final = 128
_WALL: Final = 0x40000000
_WNOTHREAD: Final = 0x20000000
_GROUP_STOPS: Final = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}

_SPIN: Final = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}
# Place of the number of the system call and of the stack pointer among the registers, and
# the number of exit_group.
_REGISTERS: Final = {"x86_64": (15, 19, 231), "aarch64": (8, 31, 94)}
_SEIZED_S: Final = 5.0


class ExitHold:
    """``arm`` while the command is held at its start, ``seize`` when the probe is in.

    Attributes:
        thread: the one that ends the process, once ``is_here``: ``/proc/THREAD`` has the memory
            still, the leader may be gone.
        stack_pointer: of that thread.
    """

    def __init__(self, held: HeldProcess) -> None:
        self._held = held
        self._entry = held.entry
        self._machine = os.uname().machine
        self._spin: Edit | None = None
        self._ready = threading.Event()
        self._here = threading.Event()
        self._go_on = threading.Event()
        self._failed: str | None = None
        self.stack_pointer = 0
        self.thread = 0

    def arm(self) -> None:
        """Let the command's first instruction be a jump to itself.

        Raises:
            AttachFailed, NotPermitted: its memory cannot be written.
        """
        spin = _SPIN[self._machine]
        with CodeMemory(self._held.pid) as memory:
            there = memory.read(self._entry, len(spin)) or b""
            self._spin = Edit(self._entry, there, spin)
            self._make(memory, self._spin)

    def seize(self) -> None:
        """Trace the command, and let it begin.

        Raises:
            AttachFailed: the kernel refuses; the caller ends the command.
        """
        thread = threading.Thread(target=self._trace, name="exit hold", daemon=True)
        self._held.waited_for_by(self)
        thread.start()
        if not self._ready.wait(_SEIZED_S) or self._failed:
            raise AttachFailed(
                f"cannot hold pid {self._held.pid} at its exit",
                cause=self._failed or "it did not stop",
                fix="check that ptrace is allowed: cgoleak doctor",
            )

    def is_here(self) -> bool:
        """Whether the command has come to its exit, and stands there."""
        return self._here.is_set() and not self._go_on.is_set()

    def let_go(self) -> None:
        """Let it end."""
        self._go_on.set()

    # --- the tracer's thread -------------------------------------------------------------------

    def _trace(self) -> None:
        pid = self._held.pid
        try:
            ptrace.request(Request.SEIZE, pid, 0, _TRACE_CLONE | _TRACE_EXIT)
            ptrace.request(Request.INTERRUPT, pid)
            while True:
                who, status = os.waitpid(-1, _WALL | _WNOTHREAD)
                if who == pid and not os.WIFSTOPPED(status):
                    self._held.ended(status)
                elif os.WIFSTOPPED(status):
                    self._answer(who, status)
        except ChildProcessError:
            pass  # all have ended
        except OSError as exc:
            self._failed = os.strerror(exc.errno or 0)
            self._held.waited_for_by(None)
        finally:
            self._ready.set()

    def _answer(self, who: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_EXIT:
            if self._ends_all(who):
                self._here.set()
                self._go_on.wait()
            self._resume(who, 0)
        elif event == _EVENT_STOP:
            if not self._ready.is_set() and who == self._held.pid:
                assert self._spin is not None
                with CodeMemory(self._held.pid) as memory:
                    self._make(memory, self._spin.undone)
                self._ready.set()
            if number in _GROUP_STOPS:
                self._resume(who, 0, Request.LISTEN)
            else:
                self._resume(who, 0)
        else:
            self._resume(who, 0 if event else number)

    def _ends_all(self, who: int) -> bool:
        """Tell the end of the process from the end of one thread."""
        if self._here.is_set():
            return False
        number_at, pointer_at, exit_group = _REGISTERS[self._machine]
        killed = ptrace.event_message(who) & 0x7F
        words = ptrace.registers(who)
        last = len(list(Path(f"/proc/{self._held.pid}/task").iterdir())) == 1
        if killed or words[number_at] == exit_group or last:
            self.stack_pointer, self.thread = words[pointer_at], who
            return True
        return False

    def _resume(self, who: int, number: int, request: int = Request.CONT) -> None:
        # A thread may be killed between its stop and this.
        with contextlib.suppress(OSError):
            ptrace.request(request, who, 0, number)

    def _make(self, memory: CodeMemory, edit: Edit) -> None:
        if not memory.apply([edit], held=True):
            raise AttachFailed(f"cannot hold pid {self._held.pid} at its start")
