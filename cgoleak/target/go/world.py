"""Go's heap as a collector sees it, read from outside: spans, finalizers, goroutines, threads.

The process must stand still (it is held at its exit). Read are ``mheap_.allspans`` (mheap.go), the
specials of each span, ``allgs`` and ``allm`` (runtime2.go). Offsets were taken from the DWARF of
each release and are the same within a minor; the test compares them with the Go at hand.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.target.go.layout import AMD64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgoleak.target.go.layout import GoLayout

    Read = Callable[[int, int], bytes | None]

__all__ = ["FIRST_MINOR", "GoSpan", "GoWorld", "WorldLayout", "read_world", "world_layout"]

FIRST_MINOR: Final = 21
_PAGE: Final = 8192
_IN_USE: Final = 1  # mSpanInUse, mheap.go
_DEAD: Final = frozenset({0, 6})  # _Gidle, _Gdead, runtime2.go
_RUNNING: Final = 2  # _Grunning
_SCAN: Final = 0x1000  # _Gscan, a bit beside the status
_MOST_SPANS: Final = 1 << 20
_MOST_SPECIALS: Final = 1 << 20
_MOST_GOROUTINES: Final = 1 << 18
_MOST_THREADS: Final = 1 << 14


class WorldLayout(NamedTuple):
    """Offsets; ``kinds`` are those of finalizers and cleanups (mheap.go, ``_KindSpecial…``)."""

    all_spans: int
    npages: int
    spanclass: int
    state: int
    elemsize: int
    specials: int
    special_kind: int
    special_offset_bytes: int
    kinds: frozenset[int]
    all_link: int


_ALL_LINK: Final = {21: 0x150, 22: 0x148, 24: 0x160, 25: 0x158, 26: 0x160}


def world_layout(layout: GoLayout) -> WorldLayout | None:
    """Give the offsets of a release, or None where they are not known."""
    minor = layout.minor
    if minor < FIRST_MINOR or layout.machine != AMD64:
        return None
    # mspan.list went in 1.22; special.offset grew to a word in 1.24, _KindSpecialTinyBlock came
    # in 1.25.
    shift = 0 if minor > 21 else 8
    kinds = {1} if minor < 24 else {1, 6} if minor == 24 else {2, 7}
    return WorldLayout(
        all_spans=0x10148,
        npages=0x20,
        spanclass=0x62 + shift,
        state=0x63 + shift,
        elemsize=0x68 + shift,
        specials=0x80 + shift,
        special_kind=0x0A if minor < 24 else 0x10,
        special_offset_bytes=2 if minor < 24 else 8,
        kinds=frozenset(kinds),
        all_link=_ALL_LINK[max(key for key in _ALL_LINK if key <= minor)],
    )


@dataclass(frozen=True, slots=True)
class GoSpan:
    """A run of pages with objects of one size; ``without_pointers`` is Go's ``noscan``."""

    start: int
    end: int
    size: int
    without_pointers: bool = False


@dataclass(frozen=True, slots=True)
class GoWorld:
    """What a collector would begin with.

    Attributes:
        spans: those that hold objects, ascending.
        owners: objects with a finalizer or a cleanup.
        stacks: live part of each goroutine's stack.
        resting: where threads that run no C left their own stack: what lies below is stale.
    """

    spans: tuple[GoSpan, ...]
    owners: tuple[int, ...]
    stacks: tuple[tuple[int, int], ...]
    resting: tuple[int, ...]
    starts: tuple[int, ...]

    def object_at(self, address: int) -> tuple[int, int] | None:
        """Give start and end of the object that holds an address, or None."""
        place = bisect_right(self.starts, address) - 1
        if place < 0 or address >= self.spans[place].end:
            return None
        span = self.spans[place]
        start = span.start + (address - span.start) // span.size * span.size
        return start, min(start + span.size, span.end)


def read_world(
    read: Read, layout: GoLayout, *, mheap: int, allgs: int, allm: int, stack_pointer: int
) -> GoWorld | None:
    """Read it all; None if any of it cannot be true.

    ``stack_pointer`` is that of the thread that ends the process.
    """
    offsets = world_layout(layout)
    if offsets is None:
        return None
    found = _spans(read, offsets, mheap)
    stacks = _stacks(read, layout, allgs, stack_pointer)
    resting = _resting(read, layout, offsets, allm)
    if found is None or stacks is None or resting is None:
        return None
    spans, owners = found
    return GoWorld(spans, owners, stacks, resting, tuple(span.start for span in spans))


def _spans(
    read: Read, offsets: WorldLayout, mheap: int
) -> tuple[tuple[GoSpan, ...], tuple[int, ...]] | None:
    pointers = _slice(read, mheap + offsets.all_spans, _MOST_SPANS)
    if not pointers:
        return None
    spans: list[GoSpan] = []
    owners: list[int] = []
    for pointer in pointers:
        raw = read(pointer, offsets.specials + 8)
        if raw is None:
            return None
        if raw[offsets.state] != _IN_USE:
            continue
        start, npages = struct.unpack_from("<2Q", raw, offsets.npages - 8)
        (size,) = struct.unpack_from("<Q", raw, offsets.elemsize)
        (special,) = struct.unpack_from("<Q", raw, offsets.specials)
        length = npages * _PAGE
        if start % _PAGE or not 0 < length < 1 << 46 or not 0 < size <= length:
            return None
        spans.append(GoSpan(start, start + length, size, bool(raw[offsets.spanclass] & 1)))
        owners += (start + offset for offset in _owners(read, offsets, special))
    spans.sort(key=lambda span: span.start)
    return tuple(spans), tuple(owners)


def _owners(read: Read, offsets: WorldLayout, special: int) -> Iterator[int]:
    """Walk the specials of a span; yield where in it objects with finalizers lie."""
    for _ in range(_MOST_SPECIALS):
        raw = read(special, offsets.special_kind + 1) if special else None
        if raw is None:
            return
        special = int.from_bytes(raw[:8], "little")
        if raw[offsets.special_kind] in offsets.kinds:
            yield int.from_bytes(raw[8 : 8 + offsets.special_offset_bytes], "little")


def _stacks(
    read: Read, layout: GoLayout, allgs: int, stack_pointer: int
) -> tuple[tuple[int, int], ...] | None:
    pointers = _slice(read, allgs, _MOST_GOROUTINES)
    if not pointers:
        return None
    found = []
    for pointer in pointers:
        raw = read(pointer, layout.g.status + 4)
        if raw is None:
            return None
        low, high = struct.unpack_from("<2Q", raw, layout.g.stack_lo)
        (sp,) = struct.unpack_from("<Q", raw, layout.g.sched.sp)
        status = int.from_bytes(raw[layout.g.status :], "little") & ~_SCAN
        if status in _DEAD or not low < high:
            continue
        if low <= stack_pointer < high:
            sp = stack_pointer
        elif status == _RUNNING or not low <= sp <= high:
            sp = low  # where it was stopped is not known
        found.append((sp & ~7, high))
    return tuple(found)


def _resting(
    read: Read, layout: GoLayout, offsets: WorldLayout, allm: int
) -> tuple[int, ...] | None:
    found: list[int] = []
    machine = _word(read, allm)
    for _ in range(_MOST_THREADS):
        if not machine:
            return tuple(found) if machine == 0 else None
        g0, in_c = _word(read, machine + layout.m.g0), read(machine + layout.m.incgo, 1)
        if g0 is None or in_c is None:
            return None
        sp = _word(read, g0 + layout.g.sched.sp) if g0 else 0
        if sp and in_c == b"\0":
            found.append(sp)
        machine = _word(read, machine + offsets.all_link)
    return None


def _slice(read: Read, address: int, most: int) -> tuple[int, ...]:
    header = read(address, 24)
    if header is None:
        return ()
    pointer, length, capacity = struct.unpack("<3Q", header)
    if not 0 < length <= capacity or length > most:
        return ()
    raw = read(pointer, 8 * length)
    return struct.unpack(f"<{length}Q", raw) if raw is not None else ()


def _word(read: Read, address: int) -> int | None:
    raw = read(address, 8)
    return None if raw is None else int.from_bytes(raw, "little")
