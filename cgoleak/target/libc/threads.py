"""Stacks of threads that C made, and their malloc caches: memory map → spans and addresses.

glibc and musl map a stack with a guard below it that may not be touched, and put the thread's
descriptor at its upper end (``allocate_stack`` in ``nptl/allocatestack.c``; musl's
``pthread_create.c``). On x86-64 the descriptor begins with its own address, where ``%fs`` points
(``tcbhead_t.tcb``), and glibc has it again two words later (``self``), so that a stack is proved
and not only guessed by its shape. Thread-local storage lies right below; there the variable
``tcache`` is found as the one place that leads to a chunk of its size in every thread.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cgoleak.target.libc.glibc_free import cached_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cgoleak.target.kernel.procfs import Region
    from cgoleak.target.libc.glibc import Heap, Read

__all__ = ["ThreadCaches", "ThreadStack", "thread_stacks"]

_MAX_GUARD: Final = 1 << 20
_MIN_STACK: Final = 16 << 10
_DESCRIPTOR_WITHIN: Final = 8 << 10
"""``struct pthread`` is 2,304 bytes in glibc 2.36; alignment adds at most a page."""
_STORAGE: Final = 4 << 10
_MAX_STACKS: Final = 20_000
_CACHES: Final = {0x290: 640, 0x250: 576}
"""Chunk that holds a ``tcache_perthread_struct`` → its size: glibc 2.30 to 2.41, 2.26 to 2.29."""
_FLAGS: Final = 7


@dataclass(frozen=True, slots=True)
class ThreadStack:
    """Where a stack is; ``descriptor`` is what the thread pointer holds, or None if not known."""

    start: int
    end: int
    descriptor: int | None


def thread_stacks(
    regions: Sequence[Region], read: Read, *, libc: str | None, limit: int | None, proved: bool
) -> Iterator[ThreadStack]:
    """Yield the stacks, ascending.

    Args:
        regions: the memory map, ascending.
        read: gives ``n`` bytes of the process at an address, or None.
        libc: ``glibc`` or ``musl``.
        limit: default size of a stack (RLIMIT_STACK at the start), or None: older kernels join a
            stack with the memory above it into one mapping.
        proved: only such that have a descriptor; false where descriptors look different.
    """
    found = 0
    for guard, above in pairwise(regions):
        if not _is_guard(guard) or above.start != guard.end or not _is_plain(above):
            continue
        size = above.end - above.start
        if size < _MIN_STACK or found >= _MAX_STACKS:
            continue
        ends = [above.end]
        if limit and limit < size:
            ends.append(above.start + limit)
        for end in ends:
            at = _descriptor(above.start, end, read, libc)
            if at is not None or (not proved and end == ends[-1]):
                found += 1
                yield ThreadStack(above.start, end, at)
                break


class ThreadCaches:
    """Adds up the malloc caches of the threads of one process (tcache, glibc 2.26 to 2.41)."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._offset: int | None = None

    def total(
        self,
        descriptors: Iterable[int],
        heaps: Sequence[Heap],
        depth: int,
    ) -> int:
        """Give the bytes in all caches that were found; the main thread's is the first chunk.

        ``heaps``: where chunks can be, ``[heap]`` first; ``depth``: most blocks of one size.
        """
        if not heaps:
            return 0
        known = tuple(descriptors)
        if self._offset is None:
            self._offset = self._find(known, heaps, depth)
        caches = {heaps[0].start + 16}
        if self._offset is not None:
            for descriptor in known:
                raw = self._read(descriptor - self._offset, 8)
                if raw is not None and len(raw) == 8:
                    caches.add(int.from_bytes(raw, "little"))
        return sum(self._cached(at, heaps, depth) or 0 for at in caches)

    def _find(self, descriptors: Sequence[int], heaps: Sequence[Heap], depth: int) -> int | None:
        """Give the distance of ``tcache`` below the descriptor on which threads agree."""
        votes: Counter[int] = Counter()
        for descriptor in descriptors[:_VOTERS]:
            raw = self._read(descriptor - _STORAGE, _STORAGE)
            if raw is None or len(raw) != _STORAGE:
                continue
            for place, word in enumerate(struct.unpack(f"<{_STORAGE // 8}Q", raw)):
                if self._cached(word, heaps, depth) is not None:
                    votes[_STORAGE - 8 * place] += 1
        best = votes.most_common(2)
        if not best or (len(best) == 2 and best[0][1] == best[1][1]):
            return None
        return best[0][0]

    def _cached(self, at: int, heaps: Sequence[Heap], depth: int) -> int | None:
        if at % 16 or not any(heap.start < at < heap.end for heap in heaps):
            return None
        raw = self._read(at - 8, 8)
        size = _CACHES.get(int.from_bytes(raw, "little") & ~_FLAGS) if raw is not None else None
        cache = self._read(at, size) if size is not None else None
        return cached_bytes(cache, depth) if cache is not None else None


_VOTERS: Final = 64


def _is_guard(region: Region) -> bool:
    return region.perms == "---p" and not region.path and region.end - region.start <= _MAX_GUARD


def _is_plain(region: Region) -> bool:
    return region.perms.startswith("rw") and region.perms.endswith("p") and not region.path


def _descriptor(start: int, end: int, read: Read, libc: str | None) -> int | None:
    """Find the word that holds its own address near the upper end of a stack."""
    low = max(start, end - _DESCRIPTOR_WITHIN)
    raw = read(low, end - low)
    if raw is None or len(raw) != end - low:
        return None
    words = struct.unpack(f"<{len(raw) // 8}Q", raw)
    for place in range((len(words) - 3) & ~1, -1, -2):  # aligned to 16 bytes at least
        address = low + 8 * place
        if words[place] == address and (libc == "musl" or words[place + 2] == address):
            return address
    return None
