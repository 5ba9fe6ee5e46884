"""What glibc's malloc holds free: arenas → bytes, and how many of them are resident.

Free memory is in four places (``malloc/malloc.c``): chunks in the bins of each arena, small chunks
in its fastbins, the top chunk at the end of its heap, and per thread the tcache. Nothing is locked
and nothing stops: where a list changes under our eyes its links stop to agree, and the chunks of
the heap are gone through one by one. A free chunk keeps its header and links, but the kernel may
have taken the pages between (``malloc_trim``), and the top was perhaps never touched, so that
residence is looked up page by page in ``/proc/PID/pagemap``.
"""

from __future__ import annotations

import struct
import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgoleak.target.libc.glibc import Arena, Read

    Present = Callable[[int, int], int | None]

__all__ = ["FreeMemory", "cached_bytes", "free_memory"]

_PAGE: Final = 4096
_MIN_CHUNK: Final = 32
_MAX_CHUNKS: Final = 1_000_000
_LONG: Final = 256
"""Free chunks of one arena from which on it is gone through chunk by chunk."""
_BLOCK: Final = 128 << 10
_MAX_BLOCKS: Final = 1024
_LOOK_AT_CLOCK: Final = 32
_TRIES: Final = 3
_FLAGS: Final = 7  # PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA
_CACHE_BINS: Final = 64
_CHUNK: Final = struct.Struct("<4Q")  # prev_size, size, fd, bk


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Free bytes in the heaps.

    Attributes:
        total: of all free chunks that were seen, resident or not.
        resident: part of ``total`` that is in RAM.
        chunks: their number.
        complete: every list was followed to its end.
    """

    total: int
    resident: int
    chunks: int
    complete: bool


def free_memory(
    arenas: Iterable[Arena], read: Read, present: Present, *, seconds: float
) -> FreeMemory | None:
    """Add up what the arenas hold free, thread caches not included.

    Args:
        arenas: as read just before.
        read: gives ``n`` bytes of the process at an address, or None.
        present: gives how many bytes of a range of whole pages are in RAM; None if that cannot be
            known, all of them then.
        seconds: for how long this thread may run, on a busy machine as on an idle one.

    Returns:
        None if the arenas hold more free memory than they have: then they were read wrongly.
    """
    walk = _Walk(read, present, seconds)
    for arena in arenas:
        walk.arena(arena)
        if walk.arena_total > sum(heap.end - heap.start for heap in arena.heaps):
            return None
    return FreeMemory(walk.total, walk.resident, walk.chunks, walk.complete)


def cached_bytes(raw: bytes, depth: int) -> int | None:
    """Add up a ``tcache_perthread_struct``; None if it cannot be one.

    64 counts, of 16 bits from glibc 2.30 and of 8 bits before, then 64 lists; the list of bin ``i``
    holds chunks of ``32 + 16 i`` bytes. ``raw`` has the size of one or the other.
    """
    form = {_CACHE_BINS * 10: "H", _CACHE_BINS * 9: "B"}.get(len(raw))
    if form is None:
        return None
    counts = struct.unpack_from(f"<{_CACHE_BINS}{form}", raw)
    lists = struct.unpack_from(f"<{_CACHE_BINS}Q", raw, len(raw) - 8 * _CACHE_BINS)
    pairs = zip(counts, lists, strict=True)
    if any(count > depth or bool(count) != bool(first) for count, first in pairs):
        return None
    total: int = sum(count * (_MIN_CHUNK + 16 * i) for i, count in enumerate(counts))
    return total


class _Walk:
    """Running totals; ends by itself when it has seen enough or time is over."""

    def __init__(self, read: Read, present: Present, seconds: float) -> None:
        self._read = read
        self._present = present
        self._until = time.thread_time() + seconds
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._blocks: dict[int, tuple[int, memoryview]] = {}
        self._most = _MAX_CHUNKS
        self._torn = False
        self._steps = 0
        self.total = self.resident = self.chunks = self.arena_total = 0
        self.complete = True

    def arena(self, arena: Arena) -> None:
        """Add one arena: along its lists, or chunk by chunk where the lists are long."""
        heaps = sorted(arena.heaps, key=lambda heap: heap.start)
        self._starts = [heap.start for heap in heaps]
        self._ends = [heap.end for heap in heaps]
        self._most = self.chunks + _LONG
        self.arena_total = 0
        self._blocks = {}
        self._torn = False
        before = self._totals()
        self._top(arena.top)
        # Large chunks first, so that what is left out at the end is least; bin 1 has all sizes.
        for first, head in (arena.bins[0], *reversed(arena.bins[1:])):
            if first != head:
                self._bin(first, head)
        if (self._torn or self.chunks >= self._most) and self.complete:
            self._again(arena, before)
        self._most = _MAX_CHUNKS
        for place, first in enumerate(arena.fastbins):
            self._fastbin(first, _MIN_CHUNK + 16 * place)

    def _again(self, arena: Arena, before: tuple[int, int, int, int]) -> None:
        """Go through all chunks instead: lists were long, or changed too often to be followed.

        Where that comes to no good end, what was found along the lists stands.
        """
        along = self._totals()
        self._set(before)
        self._most = _MAX_CHUNKS
        self._top(arena.top)
        if not all(self._heap(low, high, arena.top) for low, high in arena.chunks):
            self._set(max(along, self._totals()))
            self.complete = False

    def _totals(self) -> tuple[int, int, int, int]:
        return self.total, self.resident, self.chunks, self.arena_total

    def _set(self, totals: tuple[int, int, int, int]) -> None:
        self.total, self.resident, self.chunks, self.arena_total = totals

    def _heap(self, at: int, end: int, top: int) -> bool:
        """Go from chunk to chunk: one is free if the next says so (PREV_INUSE clear).

        Memory is read where a header is; large chunks are jumped over.
        """
        stop = top if at <= top < end else end
        words, base, limit = memoryview(b""), 0, 0
        before, chunks, total = at, 0, 0
        size = 1
        while at <= stop and size:
            if not base <= at <= limit - 16:
                block = self._block(at, end)
                if block is None:
                    break
                base, words = block
                limit = base + 8 * len(words)
                continue
            head = words[(at - base + 8) >> 3]
            if not head & 1 and at > before:
                if at - before < _PAGE:
                    chunks, total = chunks + 1, total + at - before
                else:
                    self._add(before, at - before)
            if at == stop or head & 8:
                break
            size = head & ~_FLAGS
            before, at = at, at + size
        self._count(chunks, total, total)
        # The last chunk of a heap that is full is followed by a fence of size 0 (sysmalloc).
        return at == stop or (not size and end - at <= 2 * _MIN_CHUNK)

    def _block(self, at: int, end: int) -> tuple[int, memoryview] | None:
        """Read the piece of a heap that has an address, and the header there; kept for lists."""
        base = at & -_BLOCK
        known = self._blocks.get(base)
        if known is None and self._in_time():
            low = max(base, self._starts[bisect_right(self._starts, at) - 1])
            raw = self._read(low, min(base + _BLOCK + 16, end) - low)
            if raw is not None and len(raw) >= 16:
                known = low, memoryview(raw[: len(raw) & ~7]).cast("Q")
                if len(self._blocks) < _MAX_BLOCKS:
                    self._blocks[base] = known
        # The header of the last chunk may be cut off by the end of the heap.
        return known if known is not None and at + 16 <= known[0] + 8 * len(known[1]) else None

    def _top(self, chunk: int) -> None:
        raw = self._read(chunk, 16) if self._room(chunk) else None
        if raw is not None and len(raw) == 16:
            self._add(chunk, int.from_bytes(raw[8:], "little") & ~_FLAGS)

    def _fastbin(self, chunk: int, size: int) -> None:
        """Follow a list of equal chunks; from 2.32 links are masked (``PROTECT_PTR``)."""
        seen = 0
        most = sum(self._ends) - sum(self._starts)  # a list that is longer runs in a circle
        while chunk and seen * size <= most and self._room(chunk) >= size and self._goes_on(seen):
            block = self._blocks.get(chunk & -_BLOCK)
            place = (chunk - block[0]) >> 3 if block is not None else -1
            if block is not None and 0 <= place < len(block[1]) - 2:
                found, link = block[1][place + 1], block[1][place + 2]
            else:
                raw = self._read(chunk + 8, 16)
                if raw is None or len(raw) != 16:
                    break
                found, link = struct.unpack("<2Q", raw)
            if found & ~_FLAGS != size:
                break
            seen += 1
            plain = link ^ ((chunk + 16) >> 12)
            chunk = plain if plain % 16 == 0 and (not plain or self._room(plain)) else link
        self._count(seen, seen * size, seen * size)

    def _bin(self, first: int, head: int) -> None:
        """Add a bin; a list that changed meanwhile is followed again from its new beginning."""
        for _ in range(_TRIES):
            before = self._totals()
            if self._follow(first, head) or not self.complete or self.chunks >= self._most:
                return
            raw = self._read(head + 16, 8)
            again = int.from_bytes(raw, "little") if raw is not None else first
            if again == first:
                break
            first = again
            self._set(before)
        self._torn = True

    def _follow(self, chunk: int, head: int) -> bool:
        """Follow ``fd`` until it is back at the bin; each ``bk`` must be the chunk before."""
        before, read, unpack = head, self._read, _CHUNK.unpack
        while chunk != head and self._goes_on():
            raw = read(chunk, 32)
            if raw is None or len(raw) != 32:
                return False
            _, size, following, back = unpack(raw)
            if back != before or not self._add(chunk, size & ~_FLAGS):
                return False
            before, chunk = chunk, following
        return chunk == head

    def _goes_on(self, seen: int = 0) -> bool:
        """Tell whether there is room and time for one more chunk."""
        self._steps += 1
        if self.chunks + seen >= _MAX_CHUNKS:
            self.complete = False
        if self._steps % _LOOK_AT_CLOCK == 0:
            self._in_time()
        return self.complete and self.chunks < self._most

    def _in_time(self) -> bool:
        if time.thread_time() > self._until:
            self.complete = False
        return self.complete

    def _room(self, chunk: int) -> int:
        """Give the bytes from a chunk to the end of its heap; 0 if it is in none."""
        place = bisect_right(self._starts, chunk) - 1
        if place < 0 or chunk % 16:
            return 0
        return max(0, self._ends[place] - chunk)

    def _add(self, chunk: int, size: int) -> bool:
        if not _MIN_CHUNK <= size <= self._room(chunk):
            return False
        self._count(1, size, size)
        # The first page holds header and links, the last one the size again: those are resident.
        low, high = (chunk + 48 + _PAGE - 1) & -_PAGE, (chunk + size) & -_PAGE
        if high > low:
            here = self._present(low, high)
            if here is not None:
                self.resident -= high - low - min(here, high - low)
        return True

    def _count(self, chunks: int, size: int, resident: int) -> None:
        self.chunks += chunks
        self.total += size
        self.arena_total += size
        self.resident += resident
