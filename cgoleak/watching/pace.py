"""How often the dear reading is made, so that watching costs no more than it may."""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]

_SHARE: Final = 0.002
"""Of one core, for full sheets; the small readings between them take about as much again."""
_LONGEST_S: Final = 60.0


class Pace:
    """Tells when a full sheet is due, from what the last ones cost in CPU time.

    The kernel walks the page tables of the process for a full sheet: milliseconds for a small
    process, a second for one of a hundred gigabytes.
    """

    def __init__(self, share: float = _SHARE) -> None:
        self._share = share
        self._due_at = 0.0

    def is_due(self, now_s: float) -> bool:
        """Tell whether the next reading may be a full one."""
        return now_s >= self._due_at

    def paid(self, now_s: float, cpu_s: float) -> None:
        """Note what a full sheet cost, in seconds of CPU time."""
        self._due_at = now_s + min(_LONGEST_S, max(0.0, cpu_s) / self._share)

    def hurry(self) -> None:
        """Make the next one due: another process, or the end."""
        self._due_at = 0.0
