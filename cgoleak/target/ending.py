"""Why a process ended, as far as somebody who is not its parent can find out.

pid of a living process → ``Ending``, which waits for its end and then gives the reason in words. In
order of what they can tell:

- A zombie's ``/proc/PID/stat`` has the wait status as its last field (``do_task_stat``,
  fs/proc/array.c), for those who may trace it; the parent often reaps it before anybody can look.
- The kernel keeps the status for whoever holds a pidfd (``PIDFD_GET_INFO`` with
  ``PIDFD_INFO_EXIT``, Linux 6.15): this works for other people's children, after the reaping too.
- The memory cgroup counts its processes that an OOM killer took: ``memory.events`` (cgroup v2),
  ``memory.oom_control`` (v1, Linux 4.13).
- The kernel's log names the victim, where we may read it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import signal
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from cgoleak.target.kernel.cgroup import CGROUPS, oom_kills
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["KERNEL_LOG", "Ending", "reason_words"]

KERNEL_LOG: Final = Path("/dev/kmsg")

_INFO_BYTES: Final = 64
"""``PIDFD_INFO_SIZE_VER0`` (include/uapi/linux/pidfd.h); ``exit_code`` is the last word."""
_GET_INFO: Final = 3 << 30 | _INFO_BYTES << 16 | 0xFF << 8 | 11
_INFO_EXIT: Final = 1 << 3
_DUMPED: Final = 0x80
_MOST_RECORDS: Final = 10_000
_POLL_S: Final = 0.05
_REAPED_WITHIN_S: Final = 0.5
"""How long to wait for a parent that has not reaped a zombie whose status we may not see."""
_OOM_LINE: Final = re.compile(rb"[Oo]ut of memory: Killed process (\d+) ")


class Ending:
    """Holds on to a living process until after its end; open it as early as possible."""

    def __init__(
        self,
        pid: int,
        root: Path = PROC,
        *,
        cgroups: Path = CGROUPS,
        kernel_log: Path = KERNEL_LOG,
    ) -> None:
        """Open what can be opened; what cannot is done without."""
        self._pid = pid
        self._cgroups = cgroups
        self._pidfd = self._stat = self._log = -1
        if root == PROC:
            with suppress(OSError):
                self._pidfd = os.pidfd_open(pid)
        with suppress(OSError):
            self._stat = os.open(root / str(pid) / "stat", os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            self._log = os.open(kernel_log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._log, 0, os.SEEK_END)
        self._memberships = _read(root / str(pid) / "cgroup")
        self._kills = oom_kills(self._memberships, cgroups)
        self._status: int | None = None
        self._poll = select.poll()
        if self._pidfd >= 0:
            self._poll.register(self._pidfd, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most so long; true if the process has ended."""
        if self._pidfd >= 0:
            ended = bool(self._poll.poll(max(0.0, seconds) * 1000))
        else:
            ended = self._wait_without_pidfd(seconds)
        if ended and self._status is None:
            self._status = self._zombie_status()  # at once: the parent may reap it any moment
        return ended

    def reason(self) -> str:
        """Say why it ended; call it once ``wait`` said that it has."""
        status = self._status if self._status is not None else self._kept_status()
        kills = oom_kills(self._memberships, self._cgroups)
        counted = None if kills is None or self._kills is None else kills > self._kills
        return reason_words(status, oom_counted=counted, oom_logged=self._is_logged())

    def close(self) -> None:
        """Let go; a second call does nothing."""
        for fd in (self._pidfd, self._stat, self._log):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._stat = self._log = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait_without_pidfd(self, seconds: float) -> bool:
        """Ask /proc now and then: without a pidfd nothing wakes us."""
        deadline = time.monotonic() + seconds
        while True:
            words = self._stat_words()
            if not words or words[0] in {b"Z", b"X"}:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _POLL_S))

    def _stat_words(self) -> list[bytes]:
        """Give the fields of stat from the state on; none if the process is gone."""
        if self._stat < 0:
            return []
        try:
            text = os.pread(self._stat, 4096, 0)
        except OSError:
            return []
        return text.rpartition(b")")[2].split()

    def _zombie_status(self) -> int | None:
        """Read the wait status of a zombie; the kernel shows 0 to those who may not trace it."""
        words = self._stat_words()
        if len(words) < 50 or words[0] not in {b"Z", b"X"} or not words[49].isdigit():
            return None
        status = int(words[49])
        may_see = os.geteuid() in {0, os.fstat(self._stat).st_uid}
        return status if status or may_see else None

    def _kept_status(self) -> int | None:
        """Ask the kernel, which knows once the parent has reaped the process."""
        deadline = time.monotonic() + _REAPED_WITHIN_S
        was_reaped = False
        while self._pidfd >= 0:
            info = bytearray(struct.pack("<Q", _INFO_EXIT).ljust(_INFO_BYTES, b"\0"))
            try:
                fcntl.ioctl(self._pidfd, _GET_INFO, info)
            except OSError as error:
                # Reaped between the kernel's look for a status and its look for the process
                # (pidfd_info, fs/pidfs.c): it is there the next time. Never before Linux 6.15.
                if error.errno != errno.ESRCH or was_reaped:
                    return None
                was_reaped = True
                continue
            (mask,) = struct.unpack_from("<Q", info)
            if mask & _INFO_EXIT:
                return int(struct.unpack_from("<i", info, _INFO_BYTES - 4)[0])
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)
        return None

    def _is_logged(self) -> bool:
        """Look for the pid in what the kernel has logged since the start."""
        for _ in range(_MOST_RECORDS if self._log >= 0 else 0):
            try:
                record = os.read(self._log, 8192)
            except BrokenPipeError:
                continue  # records were overwritten; the next read goes on behind the gap
            except OSError:
                return False
            if not record:
                return False
            if any(int(pid) == self._pid for pid in _OOM_LINE.findall(record)):
                return True
        return False


def reason_words(status: int | None, *, oom_counted: bool | None, oom_logged: bool) -> str:
    """Put a wait status and what is known of the OOM killer into words.

    ``oom_counted``: whether the memory cgroup counted a kill meanwhile; None if it does not say.
    """
    killed = status is None or status & 0x7F == signal.SIGKILL
    if killed and (oom_logged or (oom_counted and status is not None)):
        return "killed by the OOM killer"
    if status is None:
        if oom_counted:
            return "probably killed by the OOM killer: its memory cgroup counted a kill"
        return "ended, reason unknown"
    number = status & 0x7F
    if not number:
        return f"exited with status {status >> 8 & 0xFF}"
    text = f"killed by {_signal_name(number)}"
    if number == signal.SIGKILL and oom_counted is False:
        text += ", not by the OOM killer"
    return text + (" (core dumped)" if status & _DUMPED else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return b""
