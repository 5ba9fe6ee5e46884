"""Starts a command and holds it at its entry point: libraries mapped, nothing of its own run yet.

The loader has bound what it binds early by then, so that ``run`` takes the same slots as ``attach``
does, before the program's first allocation. The command is our child from beginning to end: its
exit status is ours to read.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import struct
import time
from typing import TYPE_CHECKING, Final

from cgoleak.errors import AttachFailed, NoSuchProcess
from cgoleak.probe.stopped import ptrace
from cgoleak.probe.stopped.ptrace import Request
from cgoleak.target.kernel.mounts import is_noexec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["HeldProcess"]

# linux/prctl.h, linux/auxvec.h
_PR_SET_PTRACER: Final = 0x59616D61
_AT_ENTRY: Final = 9

_ENTRY_SIGNALS: Final = 16
"""Signals that may come before the entry point is reached."""
# struct user_regs_struct: rip is the seventeenth word.
_RIP: Final = 16

_libc = ctypes.CDLL(None)


class HeldProcess:
    """A child that stands still at its entry point until ``release``."""

    def __init__(self, command: Sequence[str], *, tracer: int) -> None:
        """Start the command; ``tracer`` is the process that will be allowed to trace it (Yama).

        Raises:
            NoSuchProcess: the command cannot be started.
            AttachFailed: it ended before its entry point, or is not traceable.
        """
        self.pid = _spawn(command, tracer)
        self.entry = 0
        self._status: int | None = None
        self._waiter: object | None = None
        try:
            self._run_to_entry(command[0])
        except OSError as exc:
            self.kill()
            raise AttachFailed(
                f"cannot hold pid {self.pid} at its start",
                cause=exc.strerror,
                fix="check that ptrace is allowed: cgoleak doctor",
            ) from exc
        except BaseException:
            self.kill()
            raise

    def _run_to_entry(self, name: str) -> None:
        """Stop at the entry point by a breakpoint, take it out, and leave the child stopped."""
        if self._wait_for_stop(name) != signal.SIGTRAP:
            raise AttachFailed(f"cannot hold {name}", cause="it did not stop after exec")
        entry = self.entry = self._entry(name)
        word = ptrace.peek(self.pid, entry)
        trap = _TRAPS[os.uname().machine]
        ptrace.request(Request.POKETEXT, self.pid, entry, word & ~trap.mask | trap.code)
        pending = 0
        for _ in range(_ENTRY_SIGNALS):
            ptrace.request(Request.CONT, self.pid, 0, pending)
            pending = self._wait_for_stop(name)
            if pending == signal.SIGTRAP:
                break
        else:
            raise AttachFailed(f"cannot hold {name}", cause="signals kept it from starting")
        ptrace.request(Request.POKETEXT, self.pid, entry, word)
        if trap.steps_over:
            values = ptrace.registers(self.pid)
            values[_RIP] = entry
            ptrace.set_registers(self.pid, values)
        ptrace.request(Request.DETACH, self.pid, 0, signal.SIGSTOP)
        self._wait_for_stop(name, os.WUNTRACED)

    def _entry(self, name: str) -> int:
        with open(f"/proc/{self.pid}/auxv", "rb") as file:  # noqa: PTH123
            raw = file.read()
        for key, value in struct.iter_unpack("<QQ", raw[: len(raw) // 16 * 16]):
            if key == _AT_ENTRY:
                return int(value)
        raise AttachFailed(
            f"cannot hold {name}",
            cause="its entry point is not known; a 32-bit program does not tell it",
            fix="only 64-bit programs that run natively are supported",
        )

    def _wait_for_stop(self, name: str, options: int = 0) -> int:
        _, status = os.waitpid(self.pid, options)
        if os.WIFSTOPPED(status):
            return os.WSTOPSIG(status)
        self._status = status
        raise AttachFailed(
            f"{name} ended before its first instruction",
            cause=f"exit status {os.waitstatus_to_exitcode(status)}",
            fix="start it without cgoleak and see what it says",
        )

    def release(self) -> None:
        """Let it run, if nobody has yet."""
        if self._status is None:
            os.kill(self.pid, signal.SIGCONT)

    def waited_for_by(self, waiter: object) -> None:
        """Leave waiting to somebody who traces the command, and calls ``ended``."""
        self._waiter = waiter

    def ended(self, status: int) -> None:
        """Take what ``waitpid`` gave."""
        self._status = status

    def poll(self) -> int | None:
        """Return its exit status (128 and the signal if it was killed), None while it runs."""
        if self._status is None and self._waiter is not None:
            return None
        if self._status is None:
            try:
                if not ptrace.has_ended(self.pid):
                    return None
                _, self._status = os.waitpid(self.pid, 0)
            except ChildProcessError:
                # Somebody else has taken it (or SIGCHLD is ignored): it has ended, we know not how.
                self._status = 0
        code = os.waitstatus_to_exitcode(self._status)
        return 128 - code if code < 0 else code

    def has_ended(self) -> bool:
        """Tell whether it has ended, without taking its status."""
        if self._status is not None:
            return True
        try:
            return ptrace.has_ended(self.pid)
        except ChildProcessError:
            return True

    def wait(self, give_up: Callable[[], bool]) -> int | None:
        """Wait for its end and return its exit status; None if it was given up."""
        while (status := self.poll()) is None and not give_up():
            time.sleep(0.02)
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it; only for a command that never got to run."""
        if self._status is not None:
            return
        try:
            os.kill(self.pid, signal.SIGKILL)
            _, self._status = os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            self._status = 0


class _Trap:
    """A breakpoint instruction: its bits, and whether the program counter stands behind it."""

    def __init__(self, code: int, mask: int, *, steps_over: bool) -> None:
        self.code, self.mask, self.steps_over = code, mask, steps_over


_TRAPS: Final = {
    "x86_64": _Trap(0xCC, 0xFF, steps_over=True),
    "aarch64": _Trap(0xD4200000, 0xFFFFFFFF, steps_over=False),
}


def _spawn(command: Sequence[str], tracer: int) -> int:
    """Fork and exec; a failed exec is told through a pipe."""
    name = str(command[0])
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(command, tracer, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        # The pipe closes when exec succeeds, which a traced child reports by a stop as well.
        told = pipe.read()
    if told:
        os.waitpid(pid, 0)
        code = int(told)
        if code < 0:
            raise AttachFailed(
                f"cannot trace {name}, which we started",
                cause=f"ptrace: {os.strerror(-code)}",
                fix="let ptrace through the container's seccomp profile: "
                "docker run --cap-add=SYS_PTRACE, or --security-opt seccomp=PROFILE",
            )
        cause, fix = _why_not(name, code)
        raise NoSuchProcess(f"cannot start {name}", cause=cause, fix=fix)
    return pid


def _why_not(name: str, code: int) -> tuple[str, str | None]:
    """Say why exec refused a program, and what to do."""
    cause = os.strerror(code)
    if code == errno.ENOENT:
        return cause, "give a path, or check PATH"
    found = shutil.which(name, mode=os.F_OK)
    if code != errno.EACCES or found is None:
        return cause, None
    if is_noexec(found):
        cause = f"{cause}: {found} lies on a file system that is mounted noexec"
        return cause, "copy it to another, or: mount -o remount,exec its mount point"
    return cause, f"make it executable: chmod +x {found}"


def _become(command: Sequence[str], tracer: int, write_end: int) -> None:
    """In the child: allow the tracer, ask to be traced, become the command."""
    try:
        _libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(tracer), 0, 0, 0)
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            if signal.getsignal(number) is not signal.SIG_IGN or number in _PYTHON_IGNORES:
                signal.signal(number, signal.SIG_DFL)
        try:
            ptrace.request(Request.TRACEME, 0)
        except OSError as exc:
            os.write(write_end, str(-(exc.errno or 0)).encode())
            return  # by way of finally: the command must not run unmeasured
        os.execvp(command[0], list(command))  # noqa: S606  (the user named it)
    except OSError as exc:
        os.write(write_end, str(exc.errno).encode())
    finally:
        os._exit(127)


_PYTHON_IGNORES: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
