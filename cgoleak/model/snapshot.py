"""What the probe had counted at one instant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgoleak.model.ids import StackId

__all__ = [
    "NO_LIMIT",
    "GoMemory",
    "NativeMemory",
    "ProbeCounters",
    "ProcessMemory",
    "Snapshot",
    "StackCounts",
]


NO_LIMIT: Final = (1 << 63) - 1
"""GOMEMLIMIT where there is none (``math.MaxInt64``)."""


@dataclass(frozen=True, slots=True)
class StackCounts:
    """Running totals of one stack since attach; outstanding is born less freed.

    Attributes:
        born_blocks: blocks allocated.
        born_bytes: their bytes, as asked for (a realloc is a free and a birth).
        freed_blocks: blocks of this stack that were freed.
        freed_bytes: their bytes.
        cleaned_blocks: those of ``freed_blocks`` that Go's finalizer or cleanup goroutine freed.
        lifetime_ns_sum: sum of the lifetimes of the freed blocks.
        lifetime_ns_max: the longest of them.
        oldest_ns: age of the oldest block outstanding, or 0 if none or not looked at.
        old_blocks: outstanding blocks that were already there at the previous snapshot,
            or None when this snapshot did not look at single blocks.
        samples: how many blocks stand for the outstanding ones that were sampled; 0 where every
            block was followed. Where blocks were sampled, the numbers above are estimates: their
            means are the true ones.
        blocks_error: standard error of ``outstanding_blocks``; 0 where nothing was sampled.
        bytes_error: standard error of ``outstanding_bytes``.
    """

    born_blocks: int
    born_bytes: int
    freed_blocks: int
    freed_bytes: int
    cleaned_blocks: int = 0
    lifetime_ns_sum: int = 0
    lifetime_ns_max: int = 0
    oldest_ns: int = 0
    old_blocks: int | None = None
    samples: int = 0
    blocks_error: int = 0
    bytes_error: int = 0

    @property
    def outstanding_blocks(self) -> int:
        """Blocks allocated since attach and not freed yet."""
        return self.born_blocks - self.freed_blocks

    @property
    def outstanding_bytes(self) -> int:
        """Bytes allocated since attach and not freed yet."""
        return self.born_bytes - self.freed_bytes


@dataclass(frozen=True, slots=True)
class GoMemory:
    """The Go runtime's own numbers, read from outside; bytes unless the name says otherwise.

    Attributes:
        heap_in_use: heap spans in use, garbage that is not swept yet included.
        heap_free: free and still resident, not handed back to the kernel.
        heap_released: handed back.
        stacks_in_use: goroutine stacks.
        metadata: the runtime's own structures, ``work_bufs`` included; never handed back.
        gc_cycles: garbage collections that were completed.
        gc_percent: GOGC, -1 when off.
        memory_limit: GOMEMLIMIT; ``NO_LIMIT`` when there is none.
        heap_goal: size of the live heap at which the next collection should have ended.
        last_heap_goal: the same of the collection before.
        heap_live: objects at the last collection and everything allocated since.
        heap_marked: objects that the last collection found reachable.
        last_heap_in_use: ``heap_in_use`` when the last collection ended, before sweeping.
        mapped_ready: everything the runtime has committed; what GOMEMLIMIT limits.
        total_alloc: objects allocated since start.
        total_free: objects freed since start.
        scavenge_goal: Go hands memory back in the background until ``heap_in_use + heap_free`` is
            down to this; None while it does not.
        limit_goal: the same for ``mapped_ready``, because of GOMEMLIMIT.
        work_bufs: work space of the garbage collector.
        stacks_sys: thread stacks that the runtime itself has mapped.
        forced_gc_cycles: those of ``gc_cycles`` that the program asked for.
        owners: objects with a finalizer or cleanup that no collection has found dead; None where
            that is not known.
    """

    heap_in_use: int
    heap_free: int
    heap_released: int
    stacks_in_use: int
    metadata: int
    gc_cycles: int
    last_gc_unix_ns: int
    gc_percent: int
    memory_limit: int
    heap_goal: int = 0
    last_heap_goal: int = 0
    heap_live: int = 0
    heap_marked: int = 0
    last_heap_in_use: int = 0
    mapped_ready: int = 0
    total_alloc: int = 0
    total_free: int = 0
    scavenge_goal: int | None = None
    limit_goal: int | None = None
    work_bufs: int = 0
    stacks_sys: int = 0
    forced_gc_cycles: int = 0
    owners: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The kernel's numbers from ``/proc/PID/smaps`` or ``smaps_rollup`` and ``status``, in bytes.

    Attributes:
        lazy_free: part of ``rss`` that was given up with MADV_FREE: the kernel takes it when it is
            short of memory.
        huge_pages: part of ``anonymous`` in transparent huge pages.
        cpu_ms: CPU time that the process has taken since its start, in milliseconds; None where
            that is not known.
    """

    rss: int
    anonymous: int
    file: int
    shmem: int
    swap: int
    threads: int
    lazy_free: int = 0
    huge_pages: int = 0
    cpu_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NativeMemory:
    """What is resident where, and what the C allocator says of itself; bytes.

    The first eight add up to the RSS of the same instant: each resident byte is in one of them.

    Attributes:
        go_heap: in Go's heap arenas, goroutine stacks included.
        go_metadata: in the other mappings of Go's runtime.
        heap: in the heaps of the C allocator, as far as it is known which they are.
        anonymous: in private memory that nobody else claims: large blocks of malloc (mmap), the
            program's own mappings, and heaps of an allocator that is not known.
        stacks: stacks of threads, with their thread-local storage; the main thread's too.
        files: code and data of ELF files, as loaded.
        shared: other mapped files and shared memory.
        own: the tables of cgoleak's probe, and its code.
        free: part of ``heap`` that the allocator holds free: chunks in bins, per-thread caches
            and the unused end of each heap; None where it is not known.
        free_complete: false if there were more free chunks than were looked at: ``free`` is at
            least this much.
        cached: part of ``free`` in the caches of threads (tcache).
        handed_out: what the allocator counts as in use in its heaps, resident or not.
        mapped_blocks: large blocks that the allocator has mapped one by one, resident or not.
        arenas: number of the allocator's arenas.
        go_lazy_free: part of ``go_heap`` that was given up with MADV_FREE.
        go_huge_pages: part of ``go_heap`` in transparent huge pages.
    """

    go_heap: int
    go_metadata: int
    heap: int
    anonymous: int
    stacks: int
    files: int
    shared: int
    own: int
    free: int | None = None
    free_complete: bool = True
    cached: int = 0
    handed_out: int | None = None
    mapped_blocks: int | None = None
    arenas: int = 0
    go_lazy_free: int = 0
    go_huge_pages: int = 0

    @property
    def resident(self) -> int:
        """Sum of the parts: RSS."""
        return (
            self.go_heap
            + self.go_metadata
            + self.heap
            + self.anonymous
            + self.stacks
            + self.files
            + self.shared
            + self.own
        )


@dataclass(frozen=True, slots=True)
class ProbeCounters:
    """What the probe says of itself since attach.

    Attributes:
        events: allocations and frees seen; while sampling, those that were passed over as well.
        dropped_blocks: blocks that found no room in the tables.
        dropped_stacks: stacks that found no room; their blocks count under stack 0.
        unmatched_frees: frees of blocks from before attach (or from calls that no slot carries).
            While sampling it is an estimate, and 0 if that is not more than chance.
        truncated_stacks: stacks whose C or Go part could not be followed to its end.
        table_bytes: memory that the probe holds in the target.
    """

    events: int = 0
    dropped_blocks: int = 0
    dropped_stacks: int = 0
    unmatched_frees: int = 0
    truncated_stacks: int = 0
    table_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All counts at one instant; ``at_ns`` is monotonic and counts from the attach."""

    at_ns: int
    stacks: Mapping[StackId, StackCounts]
    counters: ProbeCounters
    process: ProcessMemory | None = None
    go: GoMemory | None = None
    native: NativeMemory | None = None
