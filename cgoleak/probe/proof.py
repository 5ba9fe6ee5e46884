"""Proof that the target is what it was: its code and its slots, before and after.

Everything executable that comes from a file is summed before the probe goes in and after it has
gone. Slots are compared by the driver with what they held.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.target import procfs
from cgoleak.target.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cgoleak.probe.memory import Memory

__all__ = ["CodeSums", "code_sums", "differences"]

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CodeSums:
    """CRC-32 of every executable file mapping, by its address range and file."""

    sums: Mapping[tuple[int, int, str], int]

    @property
    def bytes(self) -> int:
        """How much was summed."""
        return sum(end - start for start, end, _ in self.sums)


def code_sums(pid: int, memory: Memory, root: Path = PROC) -> CodeSums:
    """Sum the code of a process; mappings that vanish meanwhile are left out."""
    sums: dict[tuple[int, int, str], int] = {}
    for region in procfs.maps(pid, root):
        if not region.executable or not region.is_file:
            continue
        total = 0
        for start in range(region.start, region.end, _CHUNK):
            raw = memory.read(start, min(_CHUNK, region.end - start))
            if raw is None:
                break
            total = zlib.crc32(raw, total)
        else:
            sums[region.start, region.end, region.path] = total
    return CodeSums(sums)


def differences(before: CodeSums, after: CodeSums) -> tuple[str, ...]:
    """Name the files whose code changed; what was loaded or unloaded meanwhile is not compared."""
    return tuple(
        f"{path} at {start:#x}"
        for (start, end, path), total in before.sums.items()
        if after.sums.get((start, end, path), total) != total
    )
