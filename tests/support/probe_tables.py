"""The probe's tables as the probe would fill them: a memfd, laid out by ``wire``."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any, Final

from cgoleak.probe.wire import layout as wire
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TICK_MS", "MadeTables"]

TICK_MS: Final = 4
_PAGE: Final = 4096
_POOL_BYTES: Final = 1 << 26
_BLOCK_BYTES: Final = 16
_REGION_BYTES: Final = 32


class MadeTables:
    """The target's side of the tables; ``open`` gives ours."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("tables")
        shared = wire.Shared(magic=wire.MAGIC, version=wire.VERSION, tick_ms=TICK_MS, tick=1)
        end = _PAGE

        def room(size: int) -> int:
            nonlocal end
            at, end = end, end + size + -size % _PAGE
            return at

        for table in range(2):
            shared.modules_at[table] = room(wire.MAX_MODULES * ctypes.sizeof(wire.MappedModule))
        shared.slots_at = room(wire.MAX_SLOTS * ctypes.sizeof(wire.Slot))
        shared.shards_at = room(wire.SHARDS * ctypes.sizeof(wire.Shard))
        shared.rows_at = room(wire.SHARDS * wire.MAX_STACKS * ctypes.sizeof(wire.Row))
        shared.weighted_at = room(wire.MAX_STACKS * ctypes.sizeof(wire.Row))
        shared.stacks_at = room(wire.MAX_STACKS * ctypes.sizeof(wire.Stack))
        shared.pool_at = room(_POOL_BYTES)
        shared.regions_at = room(wire.REGIONS * _REGION_BYTES)
        shared.pairs_at = room(wire.PAIR_FUNCTIONS * ctypes.sizeof(wire.Pair))
        shared.families_at = room(wire.FAMILIES * ctypes.sizeof(wire.FamilyRow))
        for level in range(wire.LEVELS):
            shared.levels_at[level] = room(_BLOCK_BYTES << (wire.LEVEL0_BITS + level))
        shared.levels_used = 1
        shared.size = end
        os.ftruncate(self.fd, end)
        self._shared = shared
        self._pool_used = 0
        self._write(0, shared)

    def open(self) -> Tables:
        return Tables(os.dup(self.fd), load_artifact())

    def close(self) -> None:
        os.close(self.fd)

    @property
    def memory(self) -> int:
        """Bytes of the file that are there, and not holes."""
        return os.fstat(self.fd).st_blocks * 512

    def set(self, **fields: int) -> None:
        """Change fields of the first page, as the probe does."""
        for name, value in fields.items():
            kind = getattr(wire.Shared, name)
            whole = value.to_bytes(kind.size, "little", signed=value < 0)
            os.pwrite(self.fd, whole, kind.offset)
            setattr(self._shared, name, value)

    def stack(
        self,
        index: int,
        addresses: Sequence[int],
        *,
        flags: int = 0,
        ready: bool = True,
        first: int | None = None,
        count: int | None = None,
    ) -> None:
        """Enter a stack; ``first`` and ``count`` may lie about where it is."""
        at = self._pool_used if first is None else first
        if first is None:
            for address in addresses:
                os.pwrite(
                    self.fd,
                    address.to_bytes(8, "little"),
                    self._shared.pool_at + 8 * self._pool_used,
                )
                self._pool_used += 1
        row = wire.Stack(
            hash=index,
            first=at,
            count=len(addresses) if count is None else count,
            flags=flags,
            ready=ready,
        )
        self._write(self._shared.stacks_at + index * ctypes.sizeof(row), row)
        if index > self._shared.stacks_count:
            self.set(stacks_count=index)

    def row(self, stack: int, *, shard: int = 0, **numbers: int) -> None:
        """Set a stack's totals in one shard."""
        row = wire.Row(**numbers)
        index = shard * wire.MAX_STACKS + stack
        self._write(self._shared.rows_at + index * ctypes.sizeof(row), row)

    def weighted(self, stack: int, **numbers: int) -> None:
        """Set the totals of a stack's sampled blocks."""
        row = wire.Row(**numbers)
        self._write(self._shared.weighted_at + stack * ctypes.sizeof(row), row)

    def shard(self, index: int, **numbers: int) -> None:
        shard = wire.Shard(**numbers)
        self._write(self._shared.shards_at + index * ctypes.sizeof(shard), shard)

    def block(self, index: int, *, stack: int, size: int, tick: int, level: int = 0) -> None:
        """Enter an outstanding block (layout.h, struct cg_block)."""
        who = (0x1000 + index) << 20 | stack
        what = size << 28 | tick
        raw = who.to_bytes(8, "little") + what.to_bytes(8, "little")
        os.pwrite(self.fd, raw, self._shared.levels_at[level] + index * _BLOCK_BYTES)
        if level >= self._shared.levels_used:
            self.set(levels_used=level + 1)

    def level_at(self, level: int) -> int:
        """Where the blocks of a level begin in the file."""
        return self._shared.levels_at[level]

    def region(self, index: int, *, start: int, size: int, stack: int, tick: int) -> None:
        """Enter an outstanding mmap (layout.h, struct cg_region)."""
        raw = b"".join(word.to_bytes(8, "little") for word in (start, size, stack, tick))
        os.pwrite(self.fd, raw, self._shared.regions_at + index * _REGION_BYTES)

    def slot(self, index: int) -> wire.Slot:
        """Read a slot as the probe sees it."""
        size = ctypes.sizeof(wire.Slot)
        raw = os.pread(self.fd, size, self._shared.slots_at + index * size)
        return wire.Slot.from_buffer_copy(raw)

    def set_slot_state(self, index: int, state: int) -> None:
        at = self._shared.slots_at + index * ctypes.sizeof(wire.Slot) + wire.Slot.state.offset
        os.pwrite(self.fd, int(state).to_bytes(4, "little"), at)

    def modules(self, table: int) -> list[wire.MappedModule]:
        """Read the rows of one module table."""
        count = wire.Shared.from_buffer_copy(os.pread(self.fd, _PAGE, 0)).modules_count[table]
        size = ctypes.sizeof(wire.MappedModule)
        raw = os.pread(self.fd, count * size, self._shared.modules_at[table])
        return [wire.MappedModule.from_buffer_copy(raw, i * size) for i in range(count)]

    def _write(self, at: int, value: Any) -> None:
        os.pwrite(self.fd, bytes(value), at)
