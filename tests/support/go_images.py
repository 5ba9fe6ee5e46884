"""Small worlds for the Go reader: an ELF file of nothing but code, a memory with a Go heap."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.go.variables import GoGlobals

if TYPE_CHECKING:
    from cgoleak.target.go.layout import GoLayout

__all__ = ["CODE", "GLOBALS", "Memory", "a_heap", "a_program", "call", "lea_rax"]

CODE = 0x401000
"""Where ``a_program`` puts its code."""
GLOBALS = GoGlobals(
    gc_controller=0x600000,
    memstats=0x610000,
    mheap=0x620000,
    scavenge=0x640000,
    mbuckets=0x650000,
)
_ARENA_LIST = 0x660000
_MIB = 1 << 20


def a_program(code: bytes) -> ObjectFile:
    """Give an x86-64 executable without symbols or sections, its code mapped at ``CODE``."""
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(2, 62, 1, CODE, 64, 0, 0, 64, 56, 1, 64, 0, 0),
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 120, CODE, CODE, len(code), len(code), 1)
    return ObjectFile(head + load + code)


def lea_rax(at: int, target: int) -> bytes:
    """Encode ``LEA RAX,[RIP+d]`` at an address."""
    return b"\x48\x8d\x05" + struct.pack("<i", target - at - 7)


def call(at: int, target: int) -> bytes:
    """Encode ``CALL target`` at an address."""
    return b"\xe8" + struct.pack("<i", target - at - 5)


class Memory:
    """Bytes at addresses; everything else is not mapped."""

    def __init__(self) -> None:
        self.parts: dict[int, bytearray] = {}
        self.reads = 0

    def read(self, address: int, size: int) -> bytes | None:
        """Give exactly ``size`` bytes, or None."""
        self.reads += 1
        for start, part in self.parts.items():
            if start <= address and address + size <= start + len(part):
                return bytes(part[address - start : address - start + size])
        return None

    def put(self, address: int, form: str, *values: int) -> None:
        """Write numbers into a part that is there, or make a part of them."""
        for start, part in self.parts.items():
            if start <= address < start + len(part):
                struct.pack_into(form, part, address - start, *values)
                return
        self.parts[address] = bytearray(struct.pack(form, *values))


def a_heap(
    layout: GoLayout,
    *,
    in_use: int = 20 * _MIB,
    free: int = 8 * _MIB,
    released: int = 4 * _MIB,
    gc_percent: int = 100,
    memory_limit: int = (1 << 63) - 1,
) -> Memory:
    """Give the memory of a process whose heap has these sizes, at ``GLOBALS``."""
    memory = Memory()
    stats, fields = layout.memstats, layout.controller
    memory.parts[0x600000] = bytearray(fields.size)
    memory.parts[0x610000] = bytearray(stats.size)
    memory.put(0x600000 + fields.gc_percent, "<i", gc_percent)
    memory.put(0x600000 + fields.memory_limit, "<q", memory_limit)
    memory.put(0x600000 + fields.gc_percent_goal, "<Q", 32 * _MIB)
    memory.put(0x600000 + fields.triggered, "<Q", (1 << 64) - 1)
    memory.put(0x600000 + fields.last_heap_goal, "<Q", 30 * _MIB)
    memory.put(0x600000 + fields.heap_live, "<Q", 18 * _MIB)
    memory.put(0x600000 + fields.heap_marked, "<Q", 16 * _MIB)
    memory.put(0x600000 + fields.heap_in_use, "<3Q", in_use, released, free)
    memory.put(
        0x600000 + fields.total_alloc, "<3Q", 900 * _MIB, 882 * _MIB, in_use + free + 3 * _MIB
    )
    # The three deltas are meant to be added; one of them is negative here.
    memory.put(0x610000, "<5q", 0, released, in_use + 5 * _MIB, 2 * _MIB, 0)
    memory.put(0x610000 + stats.delta_stride, "<5q", 0, 0, -5 * _MIB, -_MIB, 65536)
    memory.put(0x610000 + stats.stacks_sys, "<6Q", 4096, 1000, 2000, 3000, 4000, 5000)
    memory.put(0x610000 + stats.last_gc_unix, "<Q", 1_700_000_000_000_000_000)
    memory.put(0x610000 + stats.gc_cycles, "<2I", 7, 2)
    memory.put(0x610000 + stats.last_heap_in_use, "<Q", 24 * _MIB)
    memory.put(0x640000, "<2Q", 22 * _MIB, (1 << 64) - 1)
    memory.put(0x620000 + layout.heap.arenas, "<3Q", _ARENA_LIST, 2, 8)
    base = (0xC000000000 - layout.heap.arena_base) % (1 << 64) >> 26
    memory.put(_ARENA_LIST, "<2Q", base + 1, base)
    return memory
