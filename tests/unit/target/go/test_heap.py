from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import GoMemory
from cgoleak.target.go.heap import ARENA_BYTES, NO_LIMIT, GoHeap
from cgoleak.target.go.layout import (
    ARM64,
    FIRST_MINOR,
    LAST_MINOR,
    GoLayout,
    layout_for,
)
from support.go_images import GLOBALS, Memory, a_heap

MIB = 1 << 20
EVERY_MINOR = range(FIRST_MINOR, LAST_MINOR + 1)


def layout(minor: int = 26) -> GoLayout:
    found = layout_for(f"go1.{minor}.0")
    assert found is not None
    return found


def read(memory: Memory, at: GoLayout | None = None) -> GoMemory | Notice:
    return GoHeap(GLOBALS, at or layout(), memory.read).memory()


@pytest.mark.parametrize("minor", EVERY_MINOR)
def test_the_numbers_are_those_of_the_runtime(minor: int) -> None:
    found = read(a_heap(layout(minor)), layout(minor))

    assert found == GoMemory(
        heap_in_use=20 * MIB,
        heap_free=8 * MIB,
        heap_released=4 * MIB,
        stacks_in_use=MIB,
        metadata=65536 + 15000,
        gc_cycles=7,
        last_gc_unix_ns=1_700_000_000_000_000_000,
        gc_percent=100,
        memory_limit=NO_LIMIT,
        heap_goal=32 * MIB,
        last_heap_goal=30 * MIB,
        heap_live=18 * MIB,
        heap_marked=16 * MIB,
        last_heap_in_use=24 * MIB,
        mapped_ready=31 * MIB,
        total_alloc=900 * MIB,
        total_free=882 * MIB,
        scavenge_goal=22 * MIB,
        limit_goal=None,
        work_bufs=65536,
        stacks_sys=4096,
        forced_gc_cycles=2,
    )


def test_a_memory_limit_lowers_the_heap_goal_by_what_is_not_heap_and_some_headroom() -> None:
    # 31 MiB are committed, 8 free, 18 in objects: 5 MiB are something else; 3 % is below 1 MiB.
    found = read(a_heap(layout(), memory_limit=36 * MIB))

    assert isinstance(found, GoMemory)
    assert found.heap_goal == (36 - 5 - 1) * MIB


def test_a_memory_limit_below_everything_leaves_the_marked_heap_as_goal() -> None:
    found = read(a_heap(layout(), memory_limit=MIB))

    assert isinstance(found, GoMemory)
    assert found.heap_goal == 16 * MIB


def test_without_the_scavenger_its_goals_are_unknown_and_the_rest_is_there() -> None:
    at = layout()

    found = GoHeap(replace(GLOBALS, scavenge=None), at, a_heap(at).read).memory()

    assert isinstance(found, GoMemory)
    assert (found.scavenge_goal, found.heap_free) == (None, 8 * MIB)


@pytest.mark.parametrize("missing", ["gc_controller", "memstats"])
def test_without_a_variable_there_is_a_notice_and_no_number(missing: str) -> None:
    at = layout()

    found = GoHeap(replace(GLOBALS, **{missing: None}), at, a_heap(at).read).memory()

    assert isinstance(found, Notice)
    assert found.code == "go.no-memory-numbers"
    assert "not found" in found.text


FIELDS = layout().controller
STATS = layout().memstats
WRONG = {
    "not whole pages": (0x600000 + FIELDS.heap_in_use, "<Q", 20 * MIB + 1),
    "empty": (0x600000 + FIELDS.heap_in_use, "<Q", 0),
    "larger than its arenas": (0x600000 + FIELDS.heap_released, "<Q", 200 * MIB),
    "larger than the address space": (0x600000 + FIELDS.heap_live, "<Q", 1 << 60),
    "less memory is committed": (0x600000 + FIELDS.mapped_ready, "<Q", MIB),
    "GOGC": (0x600000 + FIELDS.gc_percent, "<i", -2),
    "GOMEMLIMIT": (0x600000 + FIELDS.memory_limit, "<q", -1),
    "time of the last": (0x610000 + STATS.gc_cycles, "<I", 0),
    "larger than the whole": (0x610000 + STATS.stacks_sys, "<Q", 1 << 40),
    "more was freed": (0x600000 + FIELDS.total_alloc, "<Q", MIB),
    "heap in use differ": (0x610000 + 16, "<q", 90 * MIB),
    "released heap differ": (0x610000 + 8, "<q", 90 * MIB),
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_number_that_cannot_be_is_refused(reason: str) -> None:
    memory = a_heap(layout())
    address, form, value = WRONG[reason]
    memory.put(address, form, value)

    found = read(memory)

    assert isinstance(found, Notice)
    assert reason in found.text


def test_two_counts_that_differ_for_an_instant_are_read_again() -> None:
    memory = a_heap(layout())
    memory.put(0x610000 + 16, "<q", 90 * MIB)

    def read_twice(address: int, size: int) -> bytes | None:
        found = memory.read(address, size)
        if address == 0x610000:
            memory.put(0x610000 + 16, "<q", 25 * MIB)
        return found

    found = GoHeap(GLOBALS, layout(), read_twice).memory()

    assert isinstance(found, GoMemory)
    assert found.heap_in_use == 20 * MIB


def test_two_counts_that_differ_a_little_for_long_are_accepted() -> None:
    memory = a_heap(layout())
    memory.put(0x610000 + 16, "<q", 25 * MIB + 8192)

    assert isinstance(read(memory), GoMemory)


def test_arenas_are_in_order_of_address() -> None:
    at = layout()

    assert GoHeap(GLOBALS, at, a_heap(at).read).arenas() == (
        (0xC000000000, 0xC000000000 + ARENA_BYTES),
        (0xC000000000 + ARENA_BYTES, 0xC000000000 + 2 * ARENA_BYTES),
    )


def test_arenas_of_arm64_count_from_zero() -> None:
    at = layout_for("go1.26.0", ARM64)
    assert at is not None

    assert GoHeap(GLOBALS, at, a_heap(at).read).arenas()[0][0] == 0xC000000000


@pytest.mark.parametrize(
    "header",
    [(0, 1, 1), (0x660000, 0, 8), (0x660000, 9, 8), (0x660000, 1 << 40, 1 << 41), (1 << 63, 1, 1)],
)
def test_a_list_of_arenas_that_cannot_be_is_no_list(header: tuple[int, int, int]) -> None:
    at = layout()
    memory = a_heap(at)
    memory.put(0x620000 + at.heap.arenas, "<3Q", *header)

    assert GoHeap(GLOBALS, at, memory.read).arenas() == ()


@given(st.integers(0, 2**64), st.sampled_from(EVERY_MINOR))
def test_noise_gives_a_notice(seed: int, minor: int) -> None:
    noise = random.Random(seed)

    found = GoHeap(GLOBALS, layout(minor), lambda _, size: noise.randbytes(min(size, 1 << 16)))

    assert isinstance(found.memory(), Notice)


@given(st.integers(0, 9000), st.integers(0, 2**64), st.sampled_from(EVERY_MINOR))
def test_short_reads_and_flipped_bytes_give_a_notice_or_a_plausible_heap(
    length: int, seed: int, minor: int
) -> None:
    at = layout(minor)
    memory = a_heap(at)
    noise = random.Random(seed)
    for part in memory.parts.values():
        part[noise.randrange(len(part))] ^= 1 << noise.randrange(8)

    def torn(address: int, size: int) -> bytes | None:
        found = memory.read(address, size)
        return found[:length] if found else None

    found = GoHeap(GLOBALS, at, torn).memory()

    if isinstance(found, GoMemory):
        assert 0 < found.heap_in_use + found.heap_free <= found.mapped_ready < 1 << 47
        assert all(abs(value) < 1 << 63 for value in (found.heap_goal, found.last_heap_goal))


def test_what_cannot_be_read_costs_a_bounded_number_of_reads() -> None:
    memory = Memory()

    assert isinstance(read(memory), Notice)
    assert memory.reads < 20


@pytest.mark.parametrize(("minor", "cleanups"), [(21, 0), (23, 0), (24, 30), (26, 30)])
def test_objects_with_finalizers_and_with_cleanups_are_counted(minor: int, cleanups: int) -> None:
    at, memory = layout(minor), a_heap(layout(minor))
    put_fixalloc(memory, at.heap.finalizers, size=48, in_use=5 * 48)
    if at.heap.cleanups:
        put_fixalloc(memory, at.heap.cleanups, size=40, in_use=30 * 40)

    found = read(memory, at)

    assert isinstance(found, GoMemory)
    assert found.owners == 5 + cleanups


@pytest.mark.parametrize(("size", "in_use"), [(0, 0), (48, 50), (1 << 20, 1 << 20), (8, 1 << 62)])
def test_records_that_cannot_be_true_are_not_counted(size: int, in_use: int) -> None:
    at, memory = layout(23), a_heap(layout(23))
    put_fixalloc(memory, at.heap.finalizers, size=size, in_use=in_use)

    found = read(memory, at)

    assert isinstance(found, GoMemory)
    assert found.owners is None


def put_fixalloc(memory: Memory, offset: int, *, size: int, in_use: int) -> None:
    assert offset
    memory.put(0x620000 + offset, "<7Q", size, 0, 0, 0, 0, 0, in_use)
