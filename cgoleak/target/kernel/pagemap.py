"""Which pages are in RAM: ``/proc/PID/pagemap``, one 64-bit word per page.

Bit 63 says that the page is present (``Documentation/admin-guide/mm/pagemap.rst``). Words are read
in windows of 2 MiB of address space, once per look, and only where somebody asks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PageMap"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_WINDOW: Final = 512  # pages
_MAX_WINDOWS: Final = 2048
"""4 GiB of address space per look, some 20 ms."""
_PRESENT: Final = bytes(byte >> 7 for byte in range(256))


class PageMap:
    """Counts resident pages of one process; where the kernel refuses, nothing is known."""

    def __init__(self, pid: int, root: Path = PROC) -> None:
        self._windows: dict[int, bytes] = {}
        try:
            self._fd = os.open(root / str(pid) / "pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def forget(self) -> None:
        """Begin a new look."""
        self._windows.clear()

    def present(self, start: int, end: int) -> int | None:
        """Give the bytes of the whole pages from ``start`` to ``end`` that are in RAM.

        None if that cannot be known, or is too much to ask.
        """
        first, last = start // _PAGE, end // _PAGE
        total = 0
        while first < last:
            window = self._window(first // _WINDOW)
            if window is None:
                return None
            begin = first % _WINDOW
            count = min(last - first, _WINDOW - begin)
            total += window.count(1, begin, begin + count)
            first += count
        return total * _PAGE

    def _window(self, number: int) -> bytes | None:
        known = self._windows.get(number)
        if known is not None:
            return known
        if self._fd < 0 or len(self._windows) >= _MAX_WINDOWS:
            return None
        try:
            raw = os.pread(self._fd, 8 * _WINDOW, 8 * _WINDOW * number)
        except (OSError, OverflowError):
            return None
        # The highest byte of each word; a page beyond the end of what was read is not present.
        flags = raw[7::8].translate(_PRESENT)
        self._windows[number] = flags
        return flags

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
