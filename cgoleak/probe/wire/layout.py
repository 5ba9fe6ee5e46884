"""The wire layout of ``probes/layout.h``, as ctypes structures; a native test compares the two.

Names are those of the header. Everything here is read from, or written to, memory that the target
maps as well: no field may change without ``VERSION`` in both places.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from enum import IntEnum
from typing import Final

__all__ = [
    "BORROW_BYTES",
    "FAMILIES",
    "FUNCTIONS",
    "MAGIC",
    "MAX_FRAMES",
    "MAX_MODULES",
    "MAX_SLOTS",
    "MAX_STACKS",
    "PAIR_FUNCTIONS",
    "PAIR_THUNK_BYTES",
    "RATE_MOST",
    "STACK_FAMILY_SHIFT",
    "STACK_GAP",
    "STACK_TRUNCATED",
    "VERSION",
    "WEIGHT_ONE",
    "Ages",
    "Borrow",
    "FamilyRow",
    "Function",
    "Go",
    "Header",
    "MappedModule",
    "Pair",
    "Row",
    "Shard",
    "Shared",
    "Slot",
    "SlotState",
    "Stack",
    "State",
]

MAGIC: Final = 0x6B61656C6F676367
VERSION: Final = 9
MAX_MODULES: Final = 1024
MAX_SLOTS: Final = 32768
MAX_STACKS: Final = 1 << 17
MAX_FRAMES: Final = 256
SHARDS: Final = 64
LEVELS: Final = 14
LEVEL0_BITS: Final = 12
REGIONS: Final = 16384
EPOCHS: Final = 8
FAMILIES: Final = 48
PAIR_FUNCTIONS: Final = 240
PAIR_THUNK_BYTES: Final = 16
PAIR_WORDS: Final = 16
HANDLE_LEVELS: Final = 10
HANDLE_LEVEL0_BITS: Final = 10
RATE_MOST: Final = 1 << 32
"""Bytes per sample, at most."""
WEIGHT_ONE: Final = 65536
"""In this unit sampled blocks are counted."""
BORROW_BYTES: Final = 131072
STACK_TRUNCATED: Final = 1
STACK_GAP: Final = 2
STACK_FAMILY_SHIFT: Final = 2
"""From here on the flags of a stack: family and 1, if it made handles."""


class Function(IntEnum):
    """What a slot leads to."""

    MALLOC = 0
    CALLOC = 1
    REALLOC = 2
    REALLOCARRAY = 3
    FREE = 4
    POSIX_MEMALIGN = 5
    ALIGNED_ALLOC = 6
    MEMALIGN = 7
    VALLOC = 8
    PVALLOC = 9
    MMAP = 10
    MUNMAP = 11
    MREMAP = 12
    DLOPEN = 13
    DLMOPEN = 14
    DLCLOSE = 15
    DLSYM = 16


FUNCTIONS: Final = len(Function)


class State(IntEnum):
    """Life of the resident copy."""

    IDLE = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    FAILED = 4


class SlotState(IntEnum):
    """What became of a slot."""

    FREE = 0
    WANTED = 1
    TAKEN = 2
    RESTORED = 3
    FOREIGN = 4
    GONE = 5


class Header(ctypes.Structure):
    """``struct cg_header``: in the data of the resident copy."""

    _fields_ = (
        ("magic", c_uint64),
        ("version", c_uint32),
        ("state", c_uint32),
        ("build", c_uint64),
        ("image_start", c_uint64),
        ("image_size", c_uint64),
        ("start", c_uint64),
        ("resident", c_uint64),
        ("shared", c_uint64),
        ("shared_size", c_uint64),
        ("owner_pid", c_int32),
        ("shared_fd", c_int32),
        ("command_fd", c_int32),
        ("event_fd", c_int32),
        ("control_tid", c_int32),
        ("error", c_int32),
        ("step", c_uint32),
        ("rounds", c_uint32),
        ("reason", c_uint32),
        ("leftover", c_uint32),
        ("real", c_uint64 * FUNCTIONS),
        ("hook", c_uint64 * FUNCTIONS),
        ("pair_real", c_uint64 * PAIR_FUNCTIONS),
        ("pair_hook", c_uint64),
        ("loader_tid", c_int32),
        ("loader_watched", c_uint32),
    )


class MappedModule(ctypes.Structure):
    """``struct cg_module``: where a module's unwind tables lie in the target."""

    _fields_ = (
        ("start", c_uint64),
        ("end", c_uint64),
        ("hdr", c_uint64),
        ("hdr_end", c_uint64),
        ("frame", c_uint64),
        ("frame_end", c_uint64),
    )


class Go(ctypes.Structure):
    """``struct cg_go``: what the hook must know of Go's runtime."""

    _fields_ = (
        ("present", c_uint64),
        ("tls_g", c_int64),
        ("g_m", c_uint32),
        ("g_sched_sp", c_uint32),
        ("g_sched_bp", c_uint32),
        ("g_startpc", c_uint32),
        ("m_g0", c_uint32),
        ("m_curg", c_uint32),
        ("m_incgo", c_uint32),
        ("m_isextra", c_uint32),
        ("m_isextra_in_c", c_uint32),
        ("asm_pad", c_uint32),
        ("asm_saved_g", c_uint32),
        ("cross_ret", c_uint32),
        ("cross_bp", c_uint32),
        ("cgocall_frame", c_uint32),
        ("spare", c_uint32),
        ("asmcgocall", c_uint64 * 4),
        ("cgocallback", c_uint64 * 4),
        ("goexit", c_uint64 * 4),
        ("crosscall2", c_uint64 * 2),
        ("text", c_uint64 * 2),
        ("cleaners", c_uint64 * 8),
        ("gc_cycles", c_uint64),
    )


class Slot(ctypes.Structure):
    """``struct cg_slot``: one relocation slot."""

    _fields_ = (
        ("address", c_uint64),
        ("original", c_uint64),
        ("function", c_uint32),
        ("prot", c_uint32),
        ("state", c_uint32),
        ("module", c_uint32),
    )


class Pair(ctypes.Structure):
    """``struct cg_pair``: a function that makes or gives up handles."""

    _fields_ = (
        ("real", c_uint64),
        ("size", c_uint64),
        ("family", c_uint8),
        ("role", c_uint8),
        ("handle", c_uint8),
        ("indirect", c_uint8),
        ("success", c_uint8),
        ("size_argument", c_uint8),
        ("count_argument", c_uint8),
        ("unless_argument", c_uint8),
        ("unless_mask", c_uint32),
        ("unless_at", c_uint16),
        ("early", c_uint8),
        ("spare", c_uint8),
    )


class FamilyRow(ctypes.Structure):
    """``struct cg_family``: what happened to handles of one family."""

    _fields_ = (
        ("created", c_uint64),
        ("destroyed", c_uint64),
        ("unmatched", c_uint64),
        ("replaced", c_uint64),
        ("gone", c_uint64),
        ("dropped", c_uint64),
        ("making", c_uint64),
        ("spare", c_uint64),
    )


class Row(ctypes.Structure):
    """``struct cg_row``: totals of one stack."""

    _fields_ = (
        ("born_blocks", c_uint64),
        ("born_bytes", c_uint64),
        ("freed_blocks", c_uint64),
        ("freed_bytes", c_uint64),
        ("cleaned_blocks", c_uint64),
        ("lifetime_sum", c_uint64),
        ("lifetime_max", c_uint64),
        ("spare", c_uint64),
    )


class Shard(ctypes.Structure):
    """``struct cg_shard``: totals that belong to no stack."""

    _fields_ = (
        ("unmatched_frees", c_uint64),
        ("unseen_frees", c_uint64),
        ("dropped_blocks", c_uint64),
        ("dropped_stacks", c_uint64),
        ("walks", c_uint64),
        ("rule_misses", c_uint64),
        ("frees", c_uint64),
        ("spare", c_uint64),
    )


class Stack(ctypes.Structure):
    """``struct cg_stack``: where a stack's addresses lie in the pool."""

    _fields_ = (
        ("hash", c_uint64),
        ("first", c_uint32),
        ("count", c_uint16),
        ("flags", c_uint8),
        ("ready", c_uint8),
    )


class Ages(ctypes.Structure):
    """``struct cg_ages`` of ``scan.c``: what single blocks tell about a stack."""

    _fields_ = (
        ("blocks", c_uint64),
        ("bytes", c_uint64),
        ("oldest", c_uint64),
        ("old_blocks", c_uint64),
        ("samples", c_uint64),
        ("sample_blocks", c_uint64),
        ("sample_old_blocks", c_uint64),
        ("blocks_variance", c_uint64 * 2),
        ("bytes_variance", c_uint64 * 2),
    )


class Shared(ctypes.Structure):
    """``struct cg_shared``: the first page of the tables."""

    _fields_ = (
        ("magic", c_uint64),
        ("version", c_uint32),
        ("tick_ms", c_uint32),
        ("size", c_uint64),
        ("modules_at", c_uint64 * 2),
        ("slots_at", c_uint64),
        ("shards_at", c_uint64),
        ("rows_at", c_uint64),
        ("weighted_at", c_uint64),
        ("stacks_at", c_uint64),
        ("stack_index_at", c_uint64),
        ("pool_at", c_uint64),
        ("rules_at", c_uint64),
        ("memos_at", c_uint64),
        ("regions_at", c_uint64),
        ("levels_at", c_uint64 * LEVELS),
        ("pairs_at", c_uint64),
        ("families_at", c_uint64),
        ("handles_at", c_uint64 * HANDLE_LEVELS),
        ("cmd_first", c_uint32),
        ("cmd_last", c_uint32),
        ("cmd_done", c_uint32),
        ("cmd_status", c_uint32),
        ("cmd_held", c_uint32),
        ("cmd_rare", c_uint32),
        ("cmd_near_size", c_uint32),
        ("cmd_spare", c_uint32),
        ("cmd_near", c_uint64),
        ("tick", c_uint32),
        ("gc_cycles", c_uint32),
        ("modules_now", c_uint32),
        ("modules_count", c_uint32 * 2),
        ("rules_generation", c_uint32),
        ("slots_count", c_uint32),
        ("stacks_count", c_uint32),
        ("pool_used", c_uint32),
        ("levels_used", c_uint32),
        ("threads_used", c_uint32),
        ("dl_wanted", c_uint32),
        ("dl_done", c_uint32),
        ("dl_opens", c_uint32),
        ("dl_waited", c_uint32),
        ("dl_timeouts", c_uint32),
        ("detached", c_uint32),
        ("slots_failed", c_uint32),
        ("main_stack_top", c_uint64),
        ("regions_lock", c_uint64),
        ("cmd_rate", c_uint64),
        ("rates", c_uint64 * EPOCHS),
        ("epoch", c_uint64),
        ("passed_births", c_uint64),
        ("passed_frees", c_uint64),
        ("timed_events", c_uint64),
        ("timed_clock", c_int64),
        ("clock_per_ms", c_uint64),
        ("handle_levels_used", c_uint32),
        ("families", c_uint32),
        ("real", c_uint64 * FUNCTIONS),
        ("go", Go),
    )


class Borrow(ctypes.Structure):
    """``struct cg_borrow``: what a borrowed thread is told, see ``probes/borrow.c``."""

    _fields_ = (
        ("all", c_uint64),
        ("mask", c_uint64),
        ("rax", c_uint64),
        ("rcx", c_uint64),
        ("rdx", c_uint64),
        ("rsi", c_uint64),
        ("rdi", c_uint64),
        ("r10", c_uint64),
        ("r11", c_uint64),
        ("rip", c_uint64),
        ("room", c_uint64),
        ("seconds", c_uint64),
        ("nanoseconds", c_uint64),
    )
