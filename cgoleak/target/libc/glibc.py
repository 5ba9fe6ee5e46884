"""Where glibc's malloc keeps its books: libc's writable data → arenas, heaps and ``mp_``.

``main_arena`` and ``mp_`` are static and their names are stripped from every distribution's libc,
so that they are found by their shape (``malloc/malloc.c``, ``malloc/arena.c``):

- ``main_arena`` is a ``malloc_state``. Its ``next`` leads through all arenas back to it. A bin that
  is empty points at itself, and most of the 127 are.
- Every other arena lies in a heap that begins at a multiple of ``HEAP_MAX_SIZE`` (64 MiB), right
  behind a ``heap_info`` whose first word leads back to the arena.
- ``mp_.sbrk_base`` is where ``[heap]`` begins.

One layout serves glibc 2.27 to 2.42 and another 2.26, which lacks ``have_fastchunks``. What does
not pass the checks is not glibc's, or of a release that is not known: None then, never a guess.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Read = Callable[[int, int], bytes | None]
    Span = tuple[int, int]

__all__ = ["HEAP_MAX", "Arena", "Books", "Heap", "Layout", "Parameters", "locate", "read_arenas"]

HEAP_MAX: Final = 64 << 20
"""``HEAP_MAX_SIZE``: twice the largest mmap threshold, on 64-bit machines."""

BINS: Final = 127
FASTBINS: Final = 10
_MAX_ARENAS: Final = 4096
_MAX_HEAPS: Final = 4096
_MAX_DATA: Final = 4 << 20
_USER_END: Final = 1 << 56
_PAGE: Final = 4096
_MIN_EMPTY_BINS: Final = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in ``struct malloc_state``; 64-bit. ``top`` and ``last_remainder`` precede bins."""

    fastbins: int

    @property
    def top(self) -> int:
        """``top``: the chunk at the end of the heap."""
        return self.fastbins + 8 * FASTBINS

    @property
    def bins(self) -> int:
        """``bins``: fd and bk of bin 1, of bin 2, and so on."""
        return self.top + 16

    @property
    def next(self) -> int:
        """``next``, behind ``binmap[4]``; then next_free, attached_threads, system_mem, its max."""
        return self.bins + 16 * BINS + 16

    @property
    def size(self) -> int:
        """Size of the structure."""
        return self.next + 40


_LAYOUTS: Final = (Layout(fastbins=16), Layout(fastbins=8))


class Parameters(NamedTuple):
    """What is used of ``mp_``; bytes.

    ``cache_depth`` is ``tcache_count``, the most blocks that a thread keeps of one size.
    """

    mapped_blocks: int
    heap_start: int
    cache_depth: int


@dataclass(frozen=True, slots=True)
class Books:
    """Where things are in one process; ``parameters`` is the address of ``mp_.sbrk_base``."""

    layout: Layout
    main_arena: int
    parameters: int | None

    def read_parameters(self, read: Read) -> Parameters | None:
        """Read ``mp_``."""
        if self.parameters is None:
            return None
        raw = read(self.parameters - 16, 48)
        if raw is None or len(raw) != 48:
            return None
        mapped, most, start, _, _, depth = struct.unpack("<6Q", raw)
        if not mapped <= most < _USER_END or mapped % _PAGE:
            return None
        return Parameters(mapped, start, min(depth, 0xFFFF))


@dataclass(frozen=True, slots=True)
class Heap:
    """A piece of address space that an arena cuts its chunks from."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Arena:
    """One ``malloc_state`` as read; ``system_bytes`` is what it has from the kernel.

    ``bins`` holds fd of bins 1 to 127 and where each bin itself is, as chunks point at it;
    ``chunks`` of each heap the address of its first chunk and its end.
    """

    address: int
    top: int
    fastbins: tuple[int, ...]
    bins: tuple[tuple[int, int], ...]
    system_bytes: int
    heaps: tuple[Heap, ...]
    chunks: tuple[tuple[int, int], ...]


def locate(data: Iterable[Span], heap_start: int | None, read: Read) -> Books | None:
    """Find ``main_arena`` and ``mp_`` in the writable data of libc; None if neither shape is there.

    Args:
        data: where libc's writable data is mapped, its zeroed part included.
        heap_start: where ``[heap]`` begins, or None if there is none.
        read: gives ``n`` bytes of the process at an address, or None.
    """
    found: tuple[Layout, int] | None = None
    parameters = None
    for start, end in data:
        size = min(end - start, _MAX_DATA) & ~7
        raw = read(start, size)
        if raw is None or len(raw) != size:
            continue
        words = struct.unpack(f"<{len(raw) // 8}Q", raw)
        found = found or _main_arena(start, words, read)
        if heap_start and parameters is None:
            parameters = _sbrk_base(start, words, heap_start)
    return Books(*found, parameters) if found else None


def read_arenas(books: Books, main_heap: Sequence[Heap], read: Read) -> tuple[Arena, ...] | None:
    """Read all arenas, the main one first; None if what is read cannot be.

    ``main_heap`` are the pieces of ``[heap]``: the main arena grows by brk.
    """
    arenas: list[Arena] = []
    at = books.main_arena
    seen: set[int] = set()
    while at not in seen:
        if len(seen) >= _MAX_ARENAS:
            return None
        seen.add(at)
        raw = read(at, books.layout.size)
        if raw is None or len(raw) != books.layout.size:
            return None
        arena, at = _arena(at, raw, books, main_heap, read)
        if arena is None:
            return None
        arenas.append(arena)
    return tuple(arenas) if at == books.main_arena else None


def _main_arena(start: int, words: Sequence[int], read: Read) -> tuple[Layout, int] | None:
    for layout in _LAYOUTS:
        link, size = layout.next // 8, layout.size // 8
        for place in range(len(words) - size + 1):
            following = words[place + link]
            address = start + 8 * place
            if following != address and not 0 < following % HEAP_MAX <= 256:
                continue
            state = words[place : place + size]
            if _is_state(state, address, layout) and _leads_back(address, layout, read):
                return layout, address
    return None


def _is_state(state: Sequence[int], address: int, layout: Layout) -> bool:
    bins = layout.bins // 8
    empty = sum(
        state[bins + 2 * i] == state[bins + 2 * i + 1] == address + layout.bins + 16 * i - 16
        for i in range(BINS)
    )
    *_, system, most = state[layout.next // 8 :]
    return empty >= _MIN_EMPTY_BINS and system <= most < _USER_END and not system % _PAGE


def _leads_back(address: int, layout: Layout, read: Read) -> bool:
    at = address
    for _ in range(_MAX_ARENAS):
        raw = read(at + layout.next, 8)
        if raw is None or len(raw) != 8:
            return False
        at = int.from_bytes(raw, "little")
        if at == address:
            return True
        if not 0 < at % HEAP_MAX <= 256 or at >= _USER_END:
            return False
    return False


def _sbrk_base(start: int, words: Sequence[int], heap_start: int) -> int | None:
    """Find the word that holds the start of ``[heap]``, behind two plausible totals."""
    for place, word in enumerate(words):
        if word != heap_start or not 2 <= place < len(words) - 3:
            continue
        mapped, most = words[place - 2 : place]
        if mapped <= most < _USER_END and not mapped % _PAGE and not most % _PAGE:
            return start + 8 * place
    return None


def _arena(
    address: int, raw: bytes, books: Books, main_heap: Sequence[Heap], read: Read
) -> tuple[Arena | None, int]:
    layout = books.layout
    fastbins = struct.unpack_from(f"<{FASTBINS}Q", raw, layout.fastbins)
    (top,) = struct.unpack_from("<Q", raw, layout.top)
    links = struct.unpack_from(f"<{2 * BINS}Q", raw, layout.bins)
    following, _, _, system, most = struct.unpack_from("<5Q", raw, layout.next)
    if system > most or most >= _USER_END or system % _PAGE or top >= _USER_END:
        return None, following
    is_main = address == books.main_arena
    heaps = tuple(main_heap) if is_main else _heaps(address, top, read)
    if heaps is None:
        return None, following
    bins = tuple((links[2 * i], address + layout.bins + 16 * i - 16) for i in range(BINS))
    info = 0 if is_main else address % HEAP_MAX
    chunks = tuple(
        (
            (address + layout.size + 15) & -16
            if heap.start < address < heap.end
            else heap.start + info,
            heap.end,
        )
        for heap in heaps
    )
    return Arena(address, top, fastbins, bins, system, heaps, chunks), following


def _heaps(arena: int, top: int, read: Read) -> tuple[Heap, ...] | None:
    """Follow ``heap_info.prev`` from the heap that holds the top chunk to the first."""
    found: list[Heap] = []
    at = top & -HEAP_MAX
    while at:
        raw = read(at, 24)
        if raw is None or len(raw) != 24 or len(found) >= _MAX_HEAPS:
            return None
        owner, before, size = struct.unpack("<3Q", raw)
        if owner != arena or not 0 < size <= HEAP_MAX or before % HEAP_MAX:
            return None
        found.append(Heap(at, at + size))
        at = before
    return tuple(reversed(found))
