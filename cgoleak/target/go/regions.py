"""Which mappings belong to Go's runtime, apart from its heap arenas: pointers → mappings.

The runtime maps its own structures with plain anonymous ``mmap`` (``sysAlloc``), so that nothing in
the memory map tells them from malloc's large blocks; names (``[anon: Go: ...]``) need Go 1.25 and a
kernel with CONFIG_ANON_VMA_NAME. But ``runtime.mheap_`` points into them: at page summaries, at
spans, at the arena index and through it at the metadata of each arena (``mheap.go``), and it never
points at memory of C.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cgoleak.target.go.heap import GoHeap

__all__ = ["GO_NAME", "GoPointers"]

GO_NAME: Final = "[anon: Go: "
"""How the kernel shows the names that the runtime gives (``set_vma_name_linux.go``)."""

_ARENA_SHIFT: Final = 26
_INDEX_BYTES: Final = (1 << 22) * 8
"""The arena index: 4 Mi pointers (``arenaL2Bits``)."""
_MAX_ARENAS: Final = 4096
_MAX_SPANS: Final = 1 << 18
_PIECE_SHIFT: Final = 18  # persistentChunkSize, malloc.go: 256 KiB
_SPAN_START: Final = 24  # mspan: next, prev, list, startAddr (mheap.go, all releases)
_USER: Final = range(1 << 16, 1 << 47)


class GoPointers:
    """Reads where the runtime of one process points; arena index and span list are found once."""

    def __init__(self, heap: GoHeap) -> None:
        self._heap = heap
        self._index: int | None = None
        self._spans: int | None = None

    def read(self, arenas: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        """Give addresses in mappings of the runtime, ascending; some may lie in arenas or code."""
        at = self._heap.variables.mheap
        # Up to curArena: 64 KiB of pageAlloc.chunks, and all slices and indices.
        size = self._heap.layout.heap.current_arena + 16
        raw = None if at is None else self._heap.read(at, size)
        if at is None or raw is None or len(raw) != size:
            return ()
        words = struct.unpack(f"<{size // 8}Q", raw[: size & ~7])
        pointers = {word for word in words if word in _USER}
        found = pointers.copy()
        found.update(self._arena_structures(pointers, arenas))
        found.update(self._span_structures(words, arenas))
        if self._heap.variables.mbuckets is not None:
            # The newest entry of the heap profile, which is not in the heap.
            found.update({self._pointer(self._heap.variables.mbuckets)} - {0})
        return tuple(sorted(found))

    def _arena_structures(
        self, words: Iterable[int], arenas: Sequence[tuple[int, int]]
    ) -> Iterable[int]:
        """Give the address of each arena's ``heapArena``, by way of ``mheap_.arenas``."""
        base = self._heap.layout.heap.arena_base
        places = [
            8 * (((start - base) & ((1 << 64) - 1)) >> _ARENA_SHIFT)
            for start, _ in arenas[:_MAX_ARENAS]
        ]
        if not places or max(places) >= _INDEX_BYTES:
            return ()
        if self._index is None:
            pages = [word for word in sorted(words) if not word % 4096]
            self._index = next((at for at in pages if self._is_index(at, places)), None)
        if self._index is None:
            return ()
        found = [self._pointer(self._index + place) for place in places]
        return [pointer for pointer in found if pointer in _USER]

    def _is_index(self, at: int, places: Iterable[int]) -> bool:
        """Tell whether there is a pointer for every arena; and none for the highest address."""
        return all(self._pointer(at + place) in _USER for place in places) and not (
            self._pointer(at + _INDEX_BYTES - 8)
        )

    def _span_structures(
        self, words: Sequence[int], arenas: Sequence[tuple[int, int]]
    ) -> Iterable[int]:
        """Give addresses of span structures, one for each piece that they were cut from."""
        if self._spans is None:
            self._spans = next(
                (i for i in range(len(words) - 2) if self._is_span_list(words[i : i + 3], arenas)),
                None,
            )
        if self._spans is None:
            return ()
        at, count, _ = words[self._spans : self._spans + 3]
        count = min(count, _MAX_SPANS)
        raw = self._heap.read(at, 8 * count) if at in _USER else None
        if raw is None or len(raw) != 8 * count:
            return ()
        pieces = {word >> _PIECE_SHIFT: word for word in struct.unpack(f"<{count}Q", raw)}
        return [word for word in pieces.values() if word in _USER]

    def _is_span_list(self, header: Sequence[int], arenas: Sequence[tuple[int, int]]) -> bool:
        """Recognise ``mheap_.allspans``: its elements know pages in the heap."""
        at, length, capacity = header
        if at not in _USER or at % 8 or not 0 < length <= capacity <= _MAX_SPANS << 6:
            return False
        for place in {0, length // 2, length - 1}:
            span = self._pointer(at + 8 * place)
            start = self._pointer(span + _SPAN_START) if span in _USER else 0
            if start % 8192 or not any(low <= start < high for low, high in arenas):
                return False
        return True

    def _pointer(self, at: int) -> int:
        raw = self._heap.read(at, 8)
        return int.from_bytes(raw, "little") if raw is not None and len(raw) == 8 else 0
