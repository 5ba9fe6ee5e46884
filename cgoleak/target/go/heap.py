"""The Go runtime's memory numbers, read from outside: addresses and layout → ``GoMemory``.

Nothing runs in the target and nothing stops. Some 8 KiB at ``gcController``, ``memstats`` and
``scavenge`` are read and compared with each other: the runtime keeps several of the numbers twice.
They can disagree for an instant, while a goroutine is between two stores, so that a reading is
repeated before it is given up. A reading that stays implausible becomes a notice, never a number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import NO_LIMIT, GoMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgoleak.target.go.layout import GoLayout
    from cgoleak.target.go.variables import GoGlobals

__all__ = ["ARENA_BYTES", "GoHeap"]

ARENA_BYTES: Final = 64 << 20  # logHeapArenaBytes, malloc.go, 64-bit Linux

_ATTEMPTS: Final = 4
_PAGE: Final = 8192  # a runtime page, internal/runtime/gc.PageSize; all heap numbers are multiples
_MAX_ARENAS: Final = 1 << 18  # 16 TiB of heap
_USER_END: Final = 1 << 47
_NO_WORK: Final = (1 << 64) - 1
_MAX_GC_PERCENT: Final = 1_000_000
_YEAR_2100_NS: Final = 4_102_444_800 * 10**9
_MIN_HEADROOM: Final = 1 << 20  # memoryLimitMinHeapGoalHeadroom, mgcpacer.go
_FIRST_WITH_SHARE: Final = 21  # minor release from which 3 % headroom is kept, not 1 MiB flat
_FIXALLOC_BYTES: Final = 0x38  # up to its inuse
_LARGEST_SPECIAL: Final = 256
_MOST_SPECIALS: Final = 1 << 32
_MIN_RUNWAY: Final = 64 << 10  # heapGoalInternal, mgcpacer.go


@dataclass(frozen=True, slots=True)
class GoHeap:
    """The heap of one process.

    Attributes:
        variables: addresses of the runtime's variables in the process (load bias added).
        layout: offsets for the Go version of the process.
        read: gives ``n`` bytes of the process at an address, or None.
    """

    variables: GoGlobals
    layout: GoLayout
    read: Callable[[int, int], bytes | None]

    def memory(self) -> GoMemory | Notice:
        """Read all numbers, or say why there are none."""
        reason = "the runtime's variables were not found in the executable"
        fallback: GoMemory | None = None
        for _ in range(_ATTEMPTS):
            raw = self._raw()
            if isinstance(raw, str):
                reason = raw
                continue
            found = _memory(raw, self.layout)
            wrong = _implausible(raw, found)
            if wrong is not None:
                reason = wrong
                continue
            found = replace(found, owners=self.owners())
            if raw.in_heap == found.heap_in_use and raw.released == found.heap_released:
                return found
            fallback = found
        return fallback or Notice(
            code="go.no-memory-numbers",
            text=f"the Go runtime's memory numbers are left out: {reason}",
            fix="report this with the Go version and how the program was linked",
        )

    def owners(self) -> int | None:
        """Count objects with a finalizer or a cleanup; None where it cannot be known.

        Each has a record of the runtime, until the collector has found the object dead: from a
        ``fixalloc`` (mfixalloc.go) that keeps the bytes of those in use.
        """
        heap, mheap = self.layout.heap, self.variables.mheap
        if mheap is None or not heap.finalizers:
            return None
        total = 0
        for offset in filter(None, (heap.finalizers, heap.cleanups)):
            raw = self.read(mheap + offset, _FIXALLOC_BYTES)
            if raw is None or len(raw) != _FIXALLOC_BYTES:
                return None
            size, *_, in_use = struct.unpack("<7Q", raw)
            if not 0 < size <= _LARGEST_SPECIAL or in_use % size or in_use > _MOST_SPECIALS * size:
                return None
            total += in_use // size
        return total

    def arenas(self) -> tuple[tuple[int, int], ...]:
        """Give start and end of every 64 MiB heap arena, ascending; empty if they cannot be read.

        ``mheap_.heapArenas`` (1.25+) or ``allArenas``, which lists user arenas too. The pages of an
        arena that were never used are not resident.
        """
        if self.variables.mheap is None:
            return ()
        header = self.read(self.variables.mheap + self.layout.heap.arenas, 24)
        if header is None or len(header) != 24:
            return ()
        pointer, length, capacity = struct.unpack("<3Q", header)
        if not 0 < length <= capacity <= _MAX_ARENAS * 2 or length > _MAX_ARENAS:
            return ()
        indices = self.read(pointer, 8 * length) if pointer < _USER_END else None
        if indices is None or len(indices) != 8 * length:
            return ()
        starts = sorted(
            {
                (index * ARENA_BYTES + self.layout.heap.arena_base) & _NO_WORK
                for index in struct.unpack(f"<{length}Q", indices)
            }
        )
        if starts[-1] + ARENA_BYTES > _USER_END * 2 or len(starts) != length:
            return ()
        return tuple((start, start + ARENA_BYTES) for start in starts)

    def _raw(self) -> _Raw | str:
        """Read everything once, or give the reason why not."""
        at, layout = self.variables, self.layout
        if at.gc_controller is None or at.memstats is None:
            return "the runtime's variables were not found in the executable"
        controller = self.read(at.gc_controller, layout.controller.size)
        stats = self.read(at.memstats, layout.memstats.size)
        if controller is None or stats is None:
            return "the memory of the process could not be read"
        if len(controller) != layout.controller.size or len(stats) != layout.memstats.size:
            return "the memory of the process could not be read"
        goals = self.read(at.scavenge, 16) if at.scavenge is not None else None
        arenas = self.arenas()
        return _Raw(controller, stats, goals, len(arenas) * ARENA_BYTES if arenas else None, layout)


class _Raw:
    """Bytes of the three variables, with the numbers that are kept twice taken out."""

    def __init__(
        self,
        controller: bytes,
        stats: bytes,
        goals: bytes | None,
        arena_bytes: int | None,
        layout: GoLayout,
    ) -> None:
        self.controller = controller
        self.stats = stats
        self.goals = struct.unpack("<2Q", goals) if goals and len(goals) == 16 else None
        self.arena_bytes = arena_bytes
        # consistentHeapStats is three deltas that are meant to be added (mstats.go, unsafeRead);
        # each may be negative for itself.
        stride = layout.memstats.delta_stride
        fields = 6 if layout.memstats.has_ptr_scalar_bits else 5
        deltas = [struct.unpack_from(f"<{fields}q", stats, stride * i) for i in range(3)]
        sums = [sum(column) for column in zip(*deltas, strict=True)]
        self.released, self.in_heap, self.in_stacks = sums[1:4]
        self.work_bufs = sum(sums[4:])

    def controller_u64(self, offset: int) -> int:
        return int.from_bytes(self.controller[offset : offset + 8], "little")

    def stats_u64(self, offset: int) -> int:
        return int.from_bytes(self.stats[offset : offset + 8], "little")

    def stats_u32(self, offset: int) -> int:
        return int.from_bytes(self.stats[offset : offset + 4], "little")


def _memory(raw: _Raw, layout: GoLayout) -> GoMemory:
    controller, stats = layout.controller, layout.memstats
    (gc_percent,) = struct.unpack_from("<i", raw.controller, controller.gc_percent)
    (memory_limit,) = struct.unpack_from("<q", raw.controller, controller.memory_limit)
    stacks_sys, *system = struct.unpack_from("<6Q", raw.stats, stats.stacks_sys)
    scavenge, limit = raw.goals or (_NO_WORK, _NO_WORK)
    return GoMemory(
        heap_in_use=raw.controller_u64(controller.heap_in_use),
        heap_free=raw.controller_u64(controller.heap_free),
        heap_released=raw.controller_u64(controller.heap_released),
        stacks_in_use=raw.in_stacks,
        metadata=sum(system) + raw.work_bufs,
        gc_cycles=raw.stats_u32(stats.gc_cycles),
        last_gc_unix_ns=raw.stats_u64(stats.last_gc_unix),
        gc_percent=gc_percent,
        memory_limit=memory_limit,
        heap_goal=_heap_goal(raw, layout, memory_limit),
        last_heap_goal=min(NO_LIMIT, raw.controller_u64(controller.last_heap_goal)),
        heap_live=raw.controller_u64(controller.heap_live),
        heap_marked=raw.controller_u64(controller.heap_marked),
        last_heap_in_use=raw.stats_u64(stats.last_heap_in_use),
        mapped_ready=raw.controller_u64(controller.mapped_ready),
        total_alloc=raw.controller_u64(controller.total_alloc),
        total_free=raw.controller_u64(controller.total_free),
        scavenge_goal=None if scavenge > NO_LIMIT else scavenge,
        limit_goal=None if limit > NO_LIMIT else limit,
        work_bufs=raw.work_bufs,
        stacks_sys=stacks_sys,
        forced_gc_cycles=raw.stats_u32(stats.gc_cycles + 4),
    )


def _heap_goal(raw: _Raw, layout: GoLayout, memory_limit: int) -> int:
    """Compute what ``MemStats.NextGC`` shows (mgcpacer.go, heapGoalInternal)."""
    fields = layout.controller
    goal = raw.controller_u64(fields.gc_percent_goal)
    limited = _limit_heap_goal(raw, layout, memory_limit)
    if limited < goal:
        return limited
    goal = max(goal, raw.controller_u64(fields.sweep_trigger))
    triggered = raw.controller_u64(fields.triggered)
    if triggered != _NO_WORK:
        goal = max(goal, triggered + _MIN_RUNWAY)
    return min(goal, NO_LIMIT)


def _limit_heap_goal(raw: _Raw, layout: GoLayout, memory_limit: int) -> int:
    """Compute the heap goal that GOMEMLIMIT allows (mgcpacer.go, memoryLimitHeapGoal)."""
    fields = layout.controller
    marked = raw.controller_u64(fields.heap_marked)
    ready = raw.controller_u64(fields.mapped_ready)
    alloc = raw.controller_u64(fields.total_alloc) - raw.controller_u64(fields.total_free)
    other = ready - raw.controller_u64(fields.heap_free) - alloc
    other += max(0, ready - memory_limit)
    goal = memory_limit - other
    if goal <= 0:
        return marked
    headroom = _MIN_HEADROOM
    if layout.minor >= _FIRST_WITH_SHARE:
        headroom = max(headroom, goal // 100 * 3)
    return max(marked, headroom, goal - headroom)


def _implausible(raw: _Raw, memory: GoMemory) -> str | None:
    """Say what cannot be true of a Go heap, or give None."""
    heap = (memory.heap_in_use, memory.heap_free, memory.heap_released)
    parts = (memory.stacks_in_use, memory.work_bufs, memory.metadata, memory.stacks_sys)
    ready = memory.mapped_ready
    # Kept twice: equal but for the instant between two stores.
    tolerance = (1 << 20) + memory.heap_in_use // 8
    checks = (
        (any(number % _PAGE for number in heap), "the heap numbers are not whole pages"),
        (
            max(*heap, ready, memory.heap_live, memory.heap_marked, memory.last_heap_in_use)
            >= _USER_END,
            "the heap is larger than the address space",
        ),
        (memory.heap_in_use == 0, "the heap is empty"),
        (sum(heap) > (raw.arena_bytes or _USER_END), "the heap is larger than its arenas"),
        (
            ready < memory.heap_in_use + memory.heap_free,
            "less memory is committed than the heap has",
        ),
        (not -1 <= memory.gc_percent <= _MAX_GC_PERCENT, "GOGC is out of range"),
        (memory.memory_limit < 0, "GOMEMLIMIT is negative"),
        (
            memory.last_gc_unix_ns > _YEAR_2100_NS
            or bool(memory.gc_cycles) != bool(memory.last_gc_unix_ns),
            "the time of the last garbage collection is out of range",
        ),
        (any(not 0 <= part <= ready for part in parts), "a part is larger than the whole"),
        (
            not memory.total_free <= memory.total_alloc <= NO_LIMIT,
            "more was freed than allocated",
        ),
        (
            abs(raw.in_heap - memory.heap_in_use) > tolerance,
            "the two counts of heap in use differ",
        ),
        (
            abs(raw.released - memory.heap_released) > tolerance,
            "the two counts of released heap differ",
        ),
    )
    return next((text for is_wrong, text in checks if is_wrong), None)
