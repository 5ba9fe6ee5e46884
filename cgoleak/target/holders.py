"""Who still knows a block: memory of a process at rest, and its outstanding blocks → ``Holding``.

Roots are everything that C or Go code can begin from: variables of all modules, thread-local
storage, stacks, the program's own mappings, and Go objects that are alive. From there words that
point into a block are followed, through blocks and through Go objects. A block that no word points
to cannot be freed by any code: it is lost.

A word that looks like a pointer may be none, so that this errs towards "known", never towards
"lost". Stale words would hide leaks (that is why ``-asan`` misses strings that dead Go objects
still mention): so the part of stacks that is not in use, free chunks of malloc and dead Go objects
are not roots. A program that hides its pointers (xor, offsets, files) makes blocks look lost.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.holding import Holding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cgoleak.model.ids import StackId
    from cgoleak.target.go.world import GoSpan, GoWorld
    from cgoleak.target.kernel.procfs import Region

    Read = Callable[[int, int], bytes | None]
    _Marks = dict[int, bytearray]

__all__ = ["Block", "find_holders"]

_CHUNK: Final = 1 << 20
_ZEROS: Final = bytes(4096)
_ARENA: Final = 64 << 20  # HEAP_MAX_SIZE of glibc's arena.c, on 64-bit machines
_OWN: Final = "/memfd:cgoleak-"
_KERNEL: Final = ("[vdso]", "[vvar", "[vsyscall]", "[uprobes]")
_LIBC: Final = re.compile(r"/(?:libc|ld)[-.][^/]*$")
_LARGEST_BLOCK: Final = 64 << 20
_SMALL: Final = 4096
"""Larger Go objects without pointers are buffers; smaller ones may have a C pointer as a number."""
_CACHED: Final = 256 << 20
_OWNER_STEPS: Final = 2
"""Go objects between one with a finalizer and the one that has the C pointer."""


class Block(NamedTuple):
    """An outstanding block."""

    address: int
    size: int
    stack: StackId


class _OutOfTimeError(Exception):
    """The process is too large to be looked at in the time allowed."""


def find_holders(
    read: Read,
    regions: Sequence[Region],
    blocks: Iterable[Block],
    *,
    world: GoWorld | None,
    arenas: Sequence[tuple[int, int]] = (),
    early: tuple[int, int] = (0, 0),
    seconds: float = 10.0,
) -> Mapping[StackId, Holding] | None:
    """Look; None if it would take longer than ``seconds``.

    Without ``world``, Go's heap object by object, all of Go's memory holds what it mentions.
    ``arenas`` are the address ranges of Go's heap, ascending. ``early`` is the part of malloc's
    heap that was in use before blocks were counted.
    """
    search = _Search(read, blocks, world, time.monotonic() + seconds)
    try:
        owned = search.from_owners()
        known = search.from_roots(regions, arenas, early)
    except _OutOfTimeError:
        return None
    return _tally(search.blocks, owned, known)


def _tally(blocks: Sequence[Block], owned: set[int], known: set[int]) -> Mapping[StackId, Holding]:
    lost: dict[StackId, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for place, block in enumerate(blocks):
        counts = lost[block.stack]
        if place in owned:
            counts[2] += 1
        elif place in known:
            counts[3] += 1
        else:
            counts[0] += 1
            counts[1] += block.size
    return {stack: Holding(*counts) for stack, counts in lost.items()}


class _Search:
    def __init__(
        self, read: Read, blocks: Iterable[Block], world: GoWorld | None, deadline: float
    ) -> None:
        self._read = read
        self._world = world
        self._deadline = deadline
        self._views: dict[int, memoryview] = {}
        self._cached = 0
        self.blocks = sorted(blocks)
        self._starts = [block.address for block in self.blocks]
        self._low = self._starts[0] if self._starts else 0
        self._high = max((b.address + max(1, b.size) for b in self.blocks), default=0)
        self._pages: set[int] = set()
        for block in self.blocks:
            last = block.address + max(1, block.size) - 1
            self._pages.update(range(block.address >> 12, (last >> 12) + 1))
        spans = world.spans if world else ()
        self._go_low = spans[0].start if spans else 0
        self._go_high = spans[-1].end if spans else 0

    def from_owners(self) -> set[int]:
        """Find the blocks that Go objects with finalizers or cleanups lead to."""
        found: set[int] = set()
        if self._world is None:
            return found
        marks: _Marks = {}
        wave = list(self._world.owners)
        for _ in range(_OWNER_STEPS):
            hits, wave = self._through_go(wave, marks, steps=1)
            found |= self._hits(hits)
        return self._through_blocks(found)

    def from_roots(
        self,
        regions: Sequence[Region],
        arenas: Sequence[tuple[int, int]],
        early: tuple[int, int],
    ) -> set[int]:
        """Find the blocks that anything else leads to."""
        found: set[int] = set()
        objects: list[int] = []
        libc = [one for one in regions if one.is_file and _LIBC.search(one.path)]
        for start, end in self._roots(regions, arenas, early):
            # The arena's pointers to free chunks and to the top lie in libc's data. They point to a
            # chunk's head, which overlaps the last word of the block before (malloc.c).
            exact = any(one.start <= start < one.end for one in libc)
            for words in self._words(start, end):
                found |= self._hits(words, exact=exact)
                objects += self._go_words(words)
        hits, _ = self._through_go(objects, {})
        found |= self._hits(hits)
        return self._through_blocks(found)

    # --- where to begin ------------------------------------------------------------------------

    def _roots(
        self,
        regions: Sequence[Region],
        arenas: Sequence[tuple[int, int]],
        early: tuple[int, int],
    ) -> Iterator[tuple[int, int]]:
        world = self._world
        resting = sorted(world.resting) if world else []
        for region in regions:
            if not region.perms.startswith("rw") or region.path.startswith((_OWN, *_KERNEL)):
                continue
            if region.path.startswith("/dev/") and region.path != "/dev/zero":
                continue  # reading a device may do anything
            for start, end in _without(region.start, region.end, arenas if world else ()):
                place = bisect_left(resting, start)
                if (
                    place < len(resting)
                    and resting[place] < end
                    and not self._blocks_in(start, end)
                ):
                    yield resting[place], end
                elif region.path == "[heap]" or (
                    not region.inode and start % _ARENA == 0 and self._blocks_in(start, end)
                ):
                    yield from self._gaps(max(start, early[0]), min(end, early[1]))
                else:
                    yield from self._gaps(start, end)
        if world is not None:
            yield from world.stacks

    def _blocks_in(self, start: int, end: int) -> bool:
        place = bisect_left(self._starts, start)
        return place < len(self._starts) and self._starts[place] < end

    def _gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield what lies between blocks: a block is no root, it must be known itself."""
        place = max(0, bisect_right(self._starts, start) - 1)
        while place < len(self.blocks) and start < end:
            block = self.blocks[place]
            place += 1
            if block.address + block.size <= start:
                continue
            if block.address >= end:
                break
            if start < block.address:
                yield start, block.address
            start = block.address + block.size
        if start < end:
            yield start, end

    # --- what is there -------------------------------------------------------------------------

    def _words(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the words of a range; pages that were never written are stepped over."""
        start, end = (start + 7) & ~7, end & ~7
        while start < end:
            if time.monotonic() > self._deadline:
                raise _OutOfTimeError
            size = min(_CHUNK - start % _CHUNK, end - start)
            raw = self._read(start, size)
            if raw is not None:
                if size % 4096 == 0 and start % 4096 == 0:
                    raw = b"".join(
                        page
                        for at in range(0, size, 4096)
                        if (page := raw[at : at + 4096]) != _ZEROS
                    )
                yield memoryview(raw).cast("Q")
            elif size > 4096:
                # A hole, such as a guard: page by page.
                for at in range(start, start + size, 4096):
                    part = self._read(at, min(4096, start + size - at))
                    if part is not None:
                        yield memoryview(part).cast("Q")
            start += size

    def _hits(self, words: Iterable[int], *, exact: bool = False) -> set[int]:
        """Find the blocks that words point to, or into unless ``exact``."""
        low, high, pages = self._low, self._high, self._pages
        found = set()
        for word in [w for w in words if low <= w < high and w >> 12 in pages]:
            place = bisect_right(self._starts, word) - 1
            block = self.blocks[place]
            if word < block.address + (1 if exact else max(1, block.size)):
                found.add(place)
        return found

    def _go_words(self, words: memoryview) -> list[int]:
        low, high = self._go_low, self._go_high
        return [word for word in words if low <= word < high]

    def _through_go(
        self, objects: list[int], marks: _Marks, *, steps: int | None = None
    ) -> tuple[set[int], list[int]]:
        """Follow Go objects; give the words that may point to blocks, and the objects left over.

        A collector's mark phase: with ``steps`` only so many objects deep. This loop is what takes
        the time, about a microsecond a word, so that it is one.
        """
        hits: set[int] = set()
        low, high, pages = self._low, self._high, self._pages
        go_low, go_high = self._go_low, self._go_high
        left: list[int] = []
        following = left if steps is not None else objects
        while objects:
            for word in self._unseen(objects.pop(), marks):
                if go_low <= word < go_high:
                    following.append(word)
                elif low <= word < high and word >> 12 in pages:
                    hits.add(word)
        return hits, left

    def _unseen(self, address: int, marks: _Marks) -> Sequence[int]:
        """Mark the Go object at an address and give its words; none if it was marked before."""
        world = self._world
        place = bisect_right(world.starts, address) - 1 if world else -1
        if world is None or place < 0 or address >= world.spans[place].end:
            return ()
        span = world.spans[place]
        number = (address - span.start) // span.size
        seen = marks.get(place)
        if seen is None:
            seen = marks[place] = bytearray((span.end - span.start) // span.size + 1)
        if seen[number]:
            return ()
        seen[number] = 1
        if span.without_pointers and span.size > _SMALL:
            return ()
        at = number * span.size
        return self._span_words(place, span)[(at + 7) >> 3 : (at + span.size) >> 3]

    def _span_words(self, place: int, span: GoSpan) -> memoryview:
        """Read a span, or give what was read before."""
        view = self._views.get(place)
        if view is None:
            if time.monotonic() > self._deadline:
                raise _OutOfTimeError
            raw = self._read(span.start, span.end - span.start) or b""
            if self._cached > _CACHED:
                self._views.clear()
                self._cached = 0
            self._cached += len(raw)
            view = self._views[place] = memoryview(raw).cast("Q")
        return view

    def _through_blocks(self, found: set[int]) -> set[int]:
        """Add the blocks that blocks point to."""
        open_ones = list(found)
        while open_ones:
            block = self.blocks[open_ones.pop()]
            end = block.address + min(block.size, _LARGEST_BLOCK)
            for words in self._words(block.address, end):
                new = self._hits(words) - found
                found |= new
                open_ones += new
        return found


def _without(start: int, end: int, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Cut ranges (ascending) out of one."""
    for low, high in ranges:
        if high <= start or low >= end:
            continue
        if start < low:
            yield start, low
        start = max(start, high)
    if start < end:
        yield start, end
