"""The target's memory from outside, through ``/proc/PID/mem``; nothing stops for it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Self

from cgoleak.errors import NoSuchProcess, NotPermitted
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Memory"]


class Memory:
    """Reads bytes of one process; every read may come back empty-handed."""

    def __init__(self, pid: int, root: Path = PROC, *, writable: bool = False) -> None:
        """Open the process; ``writable`` is for who writes there (``probe.stopped.edits``).

        Raises:
            NoSuchProcess: it is gone.
            NotPermitted: the kernel refuses.
        """
        mode, verb = (os.O_RDWR, "write") if writable else (os.O_RDONLY, "read")
        try:
            self._fd = os.open(root / str(pid) / "mem", mode | os.O_CLOEXEC)
        except PermissionError as exc:
            raise NotPermitted(
                f"cannot {verb} the memory of pid {pid}",
                cause=str(exc),
                fix=f"run as root, see: cgoleak doctor {pid}",
            ) from exc
        except OSError as exc:
            raise NoSuchProcess(f"there is no process {pid}", cause=str(exc)) from exc

    def read(self, address: int, size: int) -> bytes | None:
        """Return exactly ``size`` bytes, or None if any of them is not there."""
        if not 0 <= address < 1 << 63 or size < 0:
            return None
        try:
            got = os.pread(self._fd, size, address)
        except OSError:
            return None
        return got if len(got) == size else None

    def word(self, address: int) -> int | None:
        """Return eight bytes as an unsigned integer."""
        raw = self.read(address, 8)
        return None if raw is None else int(struct.unpack("<Q", raw)[0])

    def close(self) -> None:
        """Close the file; reading again is an error of ours."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
