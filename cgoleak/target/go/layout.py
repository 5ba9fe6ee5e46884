"""Where Go's runtime keeps what we read, release by release: version string → offsets.

All offsets are bytes from the start of the structure, for 64-bit little-endian targets. They were
computed with ``go/types`` from each release's ``runtime`` package and compared with DWARF; the test
of this module repeats the comparison with the Go at hand. A release that is not listed has no
layout: the caller degrades with a notice instead of reading wrong numbers.

Between the first and the last patch release of a minor none of these fields moved. (``m.ncgo`` did,
within 1.24, and 1.18.4 shrank ``heapStatsDelta``: the first is not used here, the second is why
1.18 is not listed.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from cgoleak.target.go.frames import AMD64, ARM64, CgoFrames, frames_for, newest
from cgoleak.target.go.version import go_minor

__all__ = [
    "AMD64",
    "ARM64",
    "FIRST_MINOR",
    "LAST_MINOR",
    "Controller",
    "GoLayout",
    "Gobuf",
    "Goroutine",
    "Heap",
    "Machine",
    "MemStats",
    "layout_for",
]

FIRST_MINOR: Final = 19
LAST_MINOR: Final = 27


@dataclass(frozen=True, slots=True)
class Controller:
    """``runtime.gcController`` (``type gcControllerState``, mgcpacer.go 1.19:98, 1.21:90, 1.25:92).

    All are 8 bytes, except ``gc_percent`` (i32).
    """

    gc_percent_goal: int
    triggered: int
    last_heap_goal: int
    heap_live: int
    heap_marked: int
    heap_in_use: int
    gc_percent: int = 0
    memory_limit: int = 8

    @property
    def sweep_trigger(self) -> int:
        """``sweepDistMinTrigger``, beside ``gcPercentHeapGoal``."""
        return self.gc_percent_goal + 8

    @property
    def heap_released(self) -> int:
        """``heapReleased``, beside ``heapInUse`` in every release."""
        return self.heap_in_use + 8

    @property
    def heap_free(self) -> int:
        """``heapFree``."""
        return self.heap_in_use + 0x10

    @property
    def total_alloc(self) -> int:
        """``totalAlloc``."""
        return self.heap_in_use + 0x18

    @property
    def total_free(self) -> int:
        """``totalFree``."""
        return self.heap_in_use + 0x20

    @property
    def mapped_ready(self) -> int:
        """``mappedReady``."""
        return self.heap_in_use + 0x28

    @property
    def size(self) -> int:
        """Bytes to read so that every field is there."""
        return self.mapped_ready + 8


@dataclass(frozen=True, slots=True)
class MemStats:
    """``runtime.memstats`` (``type mstats``, mstats.go 1.19:14, 1.25:15).

    Attributes:
        delta_stride: size of one of the three ``heapStatsDelta`` at offset 0 (mstats.go, ``type
            heapStatsDelta``); each begins with committed, released, inHeap, inStacks, inWorkBufs.
        has_ptr_scalar_bits: whether ``inPtrScalarBits`` follows these (≤ 1.24).
        stacks_sys: the first of six adjacent u64: stacks, mspan, mcache, buckhash, gcMisc, other.
        last_gc_unix: u64, nanoseconds.
        gc_cycles: ``numgc``, u32; ``numforcedgc`` follows.
        last_gc_monotonic: ``last_gc_nanotime``, u64; ``lastHeapInUse`` follows.
    """

    delta_stride: int
    has_ptr_scalar_bits: bool
    stacks_sys: int
    last_gc_unix: int
    gc_cycles: int
    last_gc_monotonic: int

    @property
    def last_heap_in_use(self) -> int:
        """``lastHeapInUse``: heap in use when marking last ended."""
        return self.last_gc_monotonic + 8

    @property
    def size(self) -> int:
        """Bytes to read so that every field is there."""
        return self.last_heap_in_use + 8


@dataclass(frozen=True, slots=True)
class Gobuf:
    """``g.sched`` (``type gobuf``, runtime2.go): offsets from the start of ``g``."""

    sp: int
    pc: int
    bp: int


@dataclass(frozen=True, slots=True)
class Goroutine:
    """``type g`` (runtime2.go). ``parent_goid`` is -1 before 1.21."""

    sched: Gobuf
    status: int
    goid: int
    parent_goid: int
    gopc: int
    startpc: int
    labels: int
    stack_lo: int = 0
    stack_hi: int = 8
    m: int = 0x30


@dataclass(frozen=True, slots=True)
class Machine:
    """``type m`` (runtime2.go). Flags are one byte; -1 where the release has no such field."""

    procid: int
    curg: int
    incgo: int
    isextra: int
    is_extra_in_c: int
    g0: int = 0


@dataclass(frozen=True, slots=True)
class Heap:
    """``runtime.mheap_`` (``type mheap``, mheap.go).

    Attributes:
        arenas: slice header of ``heapArenas`` (``allArenas`` up to 1.24): pointer, length,
            capacity.
        current_arena: ``curArena``: base, end of the arena that the heap grows in.
        arena_base: added to an arena index shifted by 26 (``arenaBaseOffset``, malloc.go).
        finalizers: ``specialfinalizeralloc``, which gives out a record per object with one;
            0 where it is not known.
        cleanups: ``specialCleanupAlloc`` (1.24 and later), or 0.
    """

    arenas: int
    current_arena: int
    arena_base: int
    finalizers: int = 0
    cleanups: int = 0


@dataclass(frozen=True, slots=True)
class GoLayout:
    """Everything about one minor release on one machine type."""

    minor: int
    machine: str
    controller: Controller
    memstats: MemStats
    g: Goroutine
    m: Machine
    heap: Heap
    frames: CgoFrames


# Puts a rank into every mutex, which moves what follows one (runtime/lockrank_on.go).
_MOVES_FIELDS: Final = "staticlockranking"


def layout_for(version: str, machine: str = AMD64) -> GoLayout | None:
    """Give the layout of a Go version as its build information spells it, or None if unknown."""
    minor = go_minor(version)
    if minor is None or not FIRST_MINOR <= minor <= LAST_MINOR or machine not in _HEAPS:
        return None
    if _MOVES_FIELDS in version:
        return None
    return GoLayout(
        minor=minor,
        machine=machine,
        controller=newest(_CONTROLLERS, minor),
        memstats=newest(_MEMSTATS, minor),
        g=newest(_GOROUTINES, minor),
        m=newest(_MACHINES, minor),
        heap=newest(_HEAPS[machine], minor),
        frames=frames_for(minor, machine),
    )


# Each row holds from the minor that is its key up to the next key.

_CONTROLLERS: Final = {
    19: Controller(
        gc_percent_goal=0x68,
        triggered=0x78,
        last_heap_goal=0x80,
        heap_live=0x88,
        heap_marked=0xB8,
        heap_in_use=0x130,
    ),
    20: Controller(
        gc_percent_goal=0x30,
        triggered=0x40,
        last_heap_goal=0x48,
        heap_live=0x50,
        heap_marked=0x80,
        heap_in_use=0xF8,
    ),
    21: Controller(
        gc_percent_goal=0x48,
        triggered=0x58,
        last_heap_goal=0x60,
        heap_live=0x68,
        heap_marked=0x98,
        heap_in_use=0x110,
    ),
}

_MEMSTATS: Final = {
    19: MemStats(
        delta_stride=1176,
        has_ptr_scalar_bits=True,
        stacks_sys=0xDD8,
        last_gc_unix=0xE08,
        gc_cycles=0x1E18,
        last_gc_monotonic=0x1E28,
    ),
    25: MemStats(
        delta_stride=1168,
        has_ptr_scalar_bits=False,
        stacks_sys=0xDC0,
        last_gc_unix=0xDF0,
        gc_cycles=0x1E00,
        last_gc_monotonic=0x1E10,
    ),
}

_SCHED: Final = Gobuf(sp=0x38, pc=0x40, bp=0x68)
_GO_1_19: Final = Goroutine(
    sched=_SCHED,
    status=0x90,
    goid=0x98,
    parent_goid=-1,
    gopc=0x128,
    startpc=0x138,
    labels=0x168,
)
_GO_1_21: Final = replace(_GO_1_19, parent_goid=0x110, gopc=0x118, startpc=0x128, labels=0x158)
_GO_1_25: Final = replace(_GO_1_21, sched=replace(_SCHED, bp=0x60))  # gobuf.ret is gone
_GOROUTINES: Final = {
    19: _GO_1_19,
    21: _GO_1_21,
    23: Goroutine(  # g.syscallbp came
        sched=_SCHED,
        status=0x98,
        goid=0xA0,
        parent_goid=0x118,
        gopc=0x120,
        startpc=0x130,
        labels=0x160,
    ),
    25: _GO_1_25,
    26: replace(_GO_1_25, parent_goid=0x118, gopc=0x120, startpc=0x130, labels=0x160),
}

_M_1_19: Final = Machine(procid=0x48, curg=0xC0, incgo=0x118, isextra=-1, is_extra_in_c=-1)
_MACHINES: Final = {
    19: _M_1_19,
    20: replace(_M_1_19, isextra=0x119),
    21: replace(_M_1_19, isextra=0x119, is_extra_in_c=0x11A),
    25: Machine(procid=0x40, curg=0xB8, incgo=0x110, isextra=0x111, is_extra_in_c=0x112),
    26: Machine(procid=0x40, curg=0xB8, incgo=0x118, isextra=0x119, is_extra_in_c=0x11A),
}

_AMD64_BASE: Final = 0xFFFF800000000000  # arenaBaseOffset, modulo 2**64
_HEAPS: Final = {
    AMD64: {
        19: Heap(arenas=0x101E0, current_arena=0x10228, arena_base=_AMD64_BASE),
        20: Heap(arenas=0x101C0, current_arena=0x10208, arena_base=_AMD64_BASE),
        21: Heap(0x101F0, 0x10238, arena_base=_AMD64_BASE, finalizers=0x168D8),
        22: Heap(0x10230, 0x10278, arena_base=_AMD64_BASE, finalizers=0x16918),
        24: Heap(0x10230, 0x10278, _AMD64_BASE, finalizers=0x16918, cleanups=0x16960),
        25: Heap(0x10230, 0x10290, _AMD64_BASE, finalizers=0x16930, cleanups=0x16978),
        26: Heap(0x10230, 0x10290, _AMD64_BASE, finalizers=0x16978, cleanups=0x169C0),
    },
    ARM64: {
        19: Heap(arenas=0x101E0, current_arena=0x10228, arena_base=0),
        20: Heap(arenas=0x101C0, current_arena=0x10208, arena_base=0),
        21: Heap(arenas=0x101F0, current_arena=0x10238, arena_base=0),
        22: Heap(arenas=0x10270, current_arena=0x102B8, arena_base=0),
        25: Heap(arenas=0x10270, current_arena=0x102D0, arena_base=0),
    },
}
