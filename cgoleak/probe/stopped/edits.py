"""Changes of code in the target: four bytes each, all at once, while no thread runs."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgoleak.probe.stopped.standstill import while_standing
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["CodeMemory", "Edit"]


@dataclass(frozen=True, slots=True)
class Edit:
    """At this address, these bytes instead of those."""

    address: int
    old: bytes
    new: bytes

    @property
    def undone(self) -> Edit:
        """The way back."""
        return Edit(self.address, self.new, self.old)


class CodeMemory(Memory):
    """The memory of the program that a process runs now; of no other that it becomes by exec."""

    def __init__(self, pid: int, root: Path = PROC) -> None:
        """Open it.

        Raises:
            NoSuchProcess: it is gone.
            NotPermitted: the kernel refuses.
        """
        super().__init__(pid, root, writable=True)
        self._pid = pid

    def lock(self) -> bool:
        """Keep other drivers out until this is closed; false if one is in (flock(2))."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def write(self, address: int, content: bytes) -> bool:
        """Write where no thread runs; the page need not be writable. False if it did not work."""
        try:
            return os.pwrite(self._fd, content, address) == len(content)
        except OSError:
            return False

    def apply(self, edits: Iterable[Edit], *, held: bool = False) -> tuple[Edit, ...]:
        """Make the changes and return those that were made, or were there already.

        What holds neither the old nor the new bytes is somebody else's now, and left alone.
        ``held``: the process stands still, and no thread has come past its entry point.

        Raises:
            TargetBusy, NoSuchProcess, NotPermitted: as for ``while_standing``; nothing is changed.
        """
        edits = tuple(edits)
        if not any(edit.old != edit.new and self._holds(edit.address, edit.old) for edit in edits):
            return tuple(edit for edit in edits if self._holds(edit.address, edit.new))
        if held:
            return self._write_all(edits)
        return while_standing(self._pid, lambda: self._write_all(edits))

    def _write_all(self, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
        return tuple(
            edit
            for edit in edits
            if (self._holds(edit.address, edit.old) and self.write(edit.address, edit.new))
            or self._holds(edit.address, edit.new)
        )

    def _holds(self, address: int, content: bytes) -> bool:
        return self.read(address, len(content)) == content
