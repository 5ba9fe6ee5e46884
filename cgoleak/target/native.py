"""Where RSS lies and what malloc holds free: rows of smaps → ``NativeMemory``.

Puts together what its neighbours find: Go's arenas and mappings, glibc's heaps, stacks of threads,
the zeroed data behind each module. What is looked up once stays; each look reads the rest anew.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import NativeMemory
from cgoleak.target.go.regions import GoPointers
from cgoleak.target.libc.glibc import Heap, locate, read_arenas
from cgoleak.target.libc.glibc_free import free_memory
from cgoleak.target.libc.threads import ThreadCaches, thread_stacks
from cgoleak.target.residence import Claim, Owner, classify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgoleak.model.snapshot import GoMemory
    from cgoleak.target.go.heap import GoHeap
    from cgoleak.target.kernel.pagemap import PageMap
    from cgoleak.target.kernel.procfs import Region
    from cgoleak.target.kernel.smaps import Mapping
    from cgoleak.target.libc.glibc import Arena, Books, Read
    from cgoleak.target.libc.glibc_free import FreeMemory

__all__ = ["NativeReader"]

_TRIES: Final = 20
"""Looks at libc's data before it is given up; before relocation there is nothing to find."""
_MAX_BSS: Final = 1 << 30


class NativeReader:
    """Reads one process.

    Attributes:
        notices: what could not be found out so far, by code.
    """

    def __init__(
        self,
        read: Read,
        pages: PageMap,
        heap: GoHeap | None,
        *,
        libc: str | None,
        libc_path: str | None,
        allocator: str | None,
        arch: str | None,
        stack_limit: int | None,
    ) -> None:
        self._read = read
        self._pages = pages
        self._heap = heap
        self._pointers = GoPointers(heap) if heap is not None else None
        self._libc = libc
        self._libc_path = libc_path
        self._allocator = allocator
        self._proved = arch == "amd64"
        self._stack_limit = stack_limit
        self._books: Books | None = None
        self._tries = 0
        self._caches = ThreadCaches(read)
        self._ends: dict[int, int] = {}
        self.notices: dict[str, Notice] = {}
        if allocator != "glibc":
            self._unknown(f"its allocator is {allocator or 'not known'}")

    def memory(
        self, rows: Sequence[Mapping], go: GoMemory | None, *, seconds: float
    ) -> NativeMemory:
        """Divide the RSS of one pass over smaps; free chunks are looked for as long as allowed."""
        self._pages.forget()
        regions = [row.region for row in rows]
        arenas = self._arenas(regions)
        go_arenas = self._heap.arenas() if self._heap is not None else ()
        stacks = tuple(
            thread_stacks(
                regions,
                self._read,
                libc=self._libc,
                limit=self._stack_limit,
                proved=self._proved,
            )
        )
        programs = self._modules(regions)
        claims = [
            *(Claim(start, end, Owner.GO_HEAP) for start, end in go_arenas),
            *(Claim(h.start, h.end, Owner.HEAP) for arena in arenas for h in arena.heaps),
            *(Claim(one.start, one.end, Owner.STACKS) for one in stacks),
            *(Claim(start, end, Owner.FILES) for start, end in programs),
        ]
        residence = classify(
            rows,
            claims,
            self._pages.present,
            programs=programs,
            go_pointers=self._pointers.read(go_arenas) if self._pointers else (),
            go_metadata=None if go is None else go.metadata + go.stacks_sys,
        )
        sizes = residence.bytes
        memory = NativeMemory(
            go_heap=sizes[Owner.GO_HEAP],
            go_metadata=sizes[Owner.GO_METADATA],
            heap=sizes[Owner.HEAP],
            anonymous=sizes[Owner.ANONYMOUS],
            stacks=sizes[Owner.STACKS],
            files=sizes[Owner.FILES],
            shared=sizes[Owner.SHARED],
            own=sizes[Owner.OWN],
            go_lazy_free=residence.go_lazy_free,
            go_huge_pages=residence.go_huge_pages,
        )
        descriptors = [one.descriptor for one in stacks if one.descriptor is not None]
        return self._with_free(memory, arenas, descriptors, seconds)

    def _with_free(
        self,
        memory: NativeMemory,
        arenas: Sequence[Arena],
        descriptors: Sequence[int],
        seconds: float,
    ) -> NativeMemory:
        """Add what the allocator says of itself, if it can be believed."""
        if not arenas or self._books is None:
            return memory
        free = free_memory(arenas, self._read, self._pages.present, seconds=seconds)
        system = sum(arena.system_bytes for arena in arenas)
        heaps = [heap for arena in arenas for heap in arena.heaps]
        if free is None or free.total > sum(heap.end - heap.start for heap in heaps):
            self._unknown("its books do not add up")
            return memory
        parameters = self._books.read_parameters(self._read)
        cached = (
            self._caches.total(descriptors, heaps, parameters.cache_depth)
            if parameters is not None
            else 0
        )
        self._partial(free)
        return replace(
            memory,
            free=min(memory.heap, free.resident + cached),
            free_complete=free.complete,
            cached=cached,
            handed_out=max(0, system - free.total - cached),
            mapped_blocks=None if parameters is None else parameters.mapped_blocks,
            arenas=len(arenas),
        )

    def _arenas(self, regions: Sequence[Region]) -> tuple[Arena, ...]:
        """Read glibc's arenas; empty if they are not known."""
        if self._allocator != "glibc":
            return ()
        brk = [Heap(r.start, r.end) for r in regions if r.path == "[heap]"]
        if (self._books is None or self._books.parameters is None) and self._tries < _TRIES:
            self._tries += 1
            start = brk[0].start if brk else None
            self._books = locate(self._libc_data(regions), start, self._read) or self._books
        found = read_arenas(self._books, brk, self._read) if self._books is not None else None
        if found is None:
            self._unknown("the books of glibc's malloc were not found")
            return ()
        self.notices.pop("allocator.unknown", None)
        return found

    def _libc_data(self, regions: Sequence[Region]) -> Iterator[tuple[int, int]]:
        """Yield where libc's writable data is, with the zeroed part that follows."""
        for place, region in enumerate(regions):
            if region.path != self._libc_path or not region.perms.startswith("rw"):
                continue
            end = region.end
            if place + 1 < len(regions):
                after = regions[place + 1]
                if after.start == end and not after.path and after.perms.startswith("rw"):
                    end = min(after.end, end + (1 << 20))
            yield region.start, end

    def _modules(self, regions: Sequence[Region]) -> tuple[tuple[int, int], ...]:
        """Give the span of each program and library: its file's mappings and its zeroed data.

        A file that is mapped once more, as data, is no part of it.
        """
        begin: dict[tuple[str, int], int] = {}
        spans: dict[int, int] = {}
        for region in regions:
            if not region.is_file:
                continue
            key = (region.device, region.inode)
            if region.offset == 0 and region.start >= spans.get(begin.get(key, -1), 0):
                begin[key] = region.start
            start = begin.get(key, region.start)
            if region.executable and start not in spans:
                spans[start] = self._end_of(start) or region.end
        return tuple(spans.items())

    def _end_of(self, start: int) -> int:
        """Give one past the last byte that the module at ``start`` has in memory; 0: not known."""
        if start not in self._ends:
            self._ends[start] = _module_end(start, self._read)
        return self._ends[start]

    def _unknown(self, reason: str) -> None:
        self.notices["allocator.unknown"] = Notice(
            code="allocator.unknown",
            text=f"what malloc holds free is not known: {reason}",
            fix="the balance sheet shows native memory as one line",
        )

    def _partial(self, free: FreeMemory) -> None:
        if free.complete:
            self.notices.pop("allocator.partial", None)
            return
        self.notices["allocator.partial"] = Notice(
            code="allocator.partial",
            text=f"malloc holds more free chunks than the {free.chunks} that could be followed: "
            "allocator slack is at least what is shown",
        )


def _module_end(start: int, read: Read) -> int:
    """Read the program headers in memory: highest ``p_vaddr + p_memsz``, moved; 0 if not ELF."""
    header = read(start, 64)
    if header is None or len(header) != 64 or header[:6] != b"\x7fELF\x02\x01":
        return 0
    (offset,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<2H", header, 54)
    if size != 56 or not 0 < count <= 128 or offset > 4096:
        return 0
    table = read(start + offset, size * count)
    if table is None or len(table) != size * count:
        return 0
    low, high = 1 << 64, 0
    for kind, _, _, vaddr, _, _, memsz, _ in struct.iter_unpack("<2I6Q", table):
        if kind == 1:  # PT_LOAD
            low, high = min(low, vaddr & -4096), max(high, vaddr + memsz)
    if not low < high <= low + _MAX_BSS + (1 << 32):
        return 0
    return start + ((high + 4095) & -4096) - low
