"""Proof that the target is what it was: its code and its slots, before and after.

Everything executable that comes from a file is summed before the probe goes in and after it has
gone. Slots are compared by the driver with what they held.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.probe.wire.layout import SlotState
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cgoleak.probe.wire.layout import Slot
    from cgoleak.probe.wire.tables import Tables
    from cgoleak.target.kernel.memory import Memory

__all__ = ["CodeSums", "changed_slots", "code_sums", "differences"]

_CHUNK: Final = 1 << 20
_LOADING_S: Final = 1.0
_POLL_S: Final = 0.0005


@dataclass(frozen=True, slots=True)
class CodeSums:
    """CRC-32 of every executable file mapping, by its address range and file."""

    sums: Mapping[tuple[int, int, str], int]

    @property
    def bytes(self) -> int:
        """How much was summed."""
        return sum(end - start for start, end, _ in self.sums)


def code_sums(
    pid: int, memory: Memory, root: Path = PROC, known: Mapping[int, bytes] | None = None
) -> CodeSums:
    """Sum the code of a process; mappings that vanish meanwhile are left out.

    ``known``: bytes to be taken for what is there, by address.
    """
    sums: dict[tuple[int, int, str], int] = {}
    for region in procfs.maps(pid, root):
        if not region.executable or not region.is_file or region.is_shared:
            continue  # what is shared the program may write itself, by another mapping
        total = 0
        for start in range(region.start, region.end, _CHUNK):
            raw = memory.read(start, min(_CHUNK, region.end - start))
            if raw is None:
                break
            total = zlib.crc32(_with(raw, start, known or {}), total)
        else:
            sums[region.start, region.end, region.path] = total
    return CodeSums(sums)


def _with(raw: bytes, start: int, known: Mapping[int, bytes]) -> bytes:
    changed = bytearray(raw)
    for address, content in known.items():
        for at, byte in enumerate(content, address - start):
            if 0 <= at < len(changed):
                changed[at] = byte
    return bytes(changed)


def differences(before: CodeSums, after: CodeSums) -> tuple[str, ...]:
    """Name the files whose code changed; what was loaded or unloaded meanwhile is not compared."""
    return tuple(
        f"{path} at {start:#x}"
        for (start, end, path), total in before.sums.items()
        if after.sums.get((start, end, path), total) != total
    )


def changed_slots(tables: Tables, memory: Memory) -> list[Slot]:
    """Compare slots with what they held; one whose library is being loaded anew gets a second."""

    def is_restored(slot: Slot) -> bool:
        now = memory.word(slot.address)
        # A lazy slot may have been bound since: then it holds the provider.
        return now is None or now in (slot.original, tables.real(slot.function))

    given_back = (SlotState.TAKEN, SlotState.RESTORED)
    wrong = [slot for slot in tables.slots() if slot.state in given_back]
    deadline = time.monotonic() + _LOADING_S
    while (wrong := [slot for slot in wrong if not is_restored(slot)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(_POLL_S)
    return wrong
