"""A process with glibc's malloc in a few pages of made memory: arenas, heaps, chunks, bins."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from cgoleak.target.libc.glibc import HEAP_MAX, Heap, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BRK", "DATA", "PAGE", "SECOND_ARENA", "ModernMalloc"]

PAGE: Final = 4096
DATA: Final = 0x7F00_0010_0000
"""Where libc's writable data begins."""
BRK: Final = 0x5500_0000_0000
SECOND_ARENA: Final = 0x7F10_0000_0000
_MAIN: Final = DATA + 0x340
_PARAMETERS: Final = DATA + 0x200
_DATA_BYTES: Final = 4 * PAGE


class ModernMalloc:
    """Memory of a glibc 2.27 to 2.41 process; ``old`` lays it out as 2.26 does.

    The main heap begins as one top chunk; every ``chunk`` is cut from it.
    """

    def __init__(self, *, heap_pages: int = 64, old: bool = False, mapped: int = 0) -> None:
        self.layout = Layout(fastbins=8 if old else 16)
        self.parts: dict[int, bytearray] = {
            DATA: bytearray(_DATA_BYTES),
            BRK: bytearray(heap_pages * PAGE),
        }
        self.reads = 0
        self.main = _MAIN
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._arena(_MAIN, BRK, heap_pages * PAGE)
        self.put(_PARAMETERS - 16, mapped, mapped, BRK, 64, 1032, 7)
        self.data = ((DATA, DATA + _DATA_BYTES),)
        self.main_heap = (Heap(BRK, BRK + heap_pages * PAGE),)

    def read(self, address: int, size: int) -> bytes | None:
        """Give exactly ``size`` bytes, or None."""
        self.reads += 1
        for start, part in self.parts.items():
            if start <= address and address + size <= start + len(part) and size >= 0:
                return bytes(part[address - start : address - start + size])
        return None

    def put(self, address: int, *words: int) -> None:
        for start, part in self.parts.items():
            if start <= address < start + len(part):
                struct.pack_into(f"<{len(words)}Q", part, address - start, *words)
                return
        raise AssertionError(hex(address))

    def second_arena(self, *, heap_pages: int = 32) -> int:
        """Add an arena as a thread makes it; give its address."""
        size = heap_pages * PAGE
        self.parts[SECOND_ARENA] = bytearray(size)
        arena = SECOND_ARENA + 0x30
        self.put(SECOND_ARENA, arena, 0, size, size, PAGE)
        first = (arena + self.layout.size + 15) & -16
        self._arena(arena, first, SECOND_ARENA + size - first, system=size)
        self.put(self.main + self.layout.next, arena)
        self.put(arena + self.layout.next, self.main)
        return arena

    def chunk(self, size: int, arena: int = _MAIN) -> int:
        """Cut a chunk in use off the top; ``size`` with its header."""
        at = self._next[arena]
        assert size >= 32
        assert size % 16 == 0
        assert at + size < self._ends[arena]
        self._next[arena] = at + size
        self.put(at + 8, size | 1)
        self.put(at + size + 8, (self._ends[arena] - at - size) | 1)
        self.put(arena + self.layout.top, at + size)
        return at

    def free(self, chunks: Sequence[int], place: int, arena: int = _MAIN) -> None:
        """Put chunks in use into bin ``place`` (1 to 127), in this order."""
        head = arena + self.layout.bins + 16 * (place - 1) - 16
        ring = [head, *chunks, head]
        for before, at, after in zip(ring, ring[1:], ring[2:], strict=False):
            size = self.size_of(at)
            self.put(at + 16, after, before)
            self.put(at + size, size)
            self.put(at + size + 8, self.word(at + size + 8) & ~1)
        self.put(head + 16, chunks[0], chunks[-1])

    def free_fast(self, chunks: Sequence[int], arena: int = _MAIN, *, masked: bool = True) -> None:
        """Put equal chunks into their fastbin; links are masked from glibc 2.32."""
        links = [*chunks[1:], 0]
        for at, link in zip(chunks, links, strict=True):
            self.put(at + 16, link ^ ((at + 16) >> 12) if masked else link)
        place = (self.size_of(chunks[0]) - 32) // 16
        self.put(arena + self.layout.fastbins + 8 * place, chunks[0])

    def size_of(self, chunk: int) -> int:
        return self.word(chunk + 8) & ~7

    def word(self, address: int) -> int:
        raw = self.read(address, 8)
        assert raw is not None
        return int.from_bytes(raw, "little")

    def _arena(self, at: int, first: int, size: int, *, system: int | None = None) -> None:
        layout = self.layout
        for place in range(127):
            head = at + layout.bins + 16 * place - 16
            self.put(head + 16, head, head)
        self.put(at + layout.top, first)
        self.put(at + layout.next, at, 0, 1, system or size, system or size)
        self.put(first + 8, size | 1)
        self._next[at], self._ends[at] = first, first + size


assert SECOND_ARENA % HEAP_MAX == 0
