from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.target.libc.glibc import Books, Heap, locate, read_arenas
from cgoleak.target.libc.glibc_free import FreeMemory, cached_bytes, free_memory
from support.glibc_build import BRK, DATA, PAGE, SECOND_ARENA, ModernMalloc

EVERYTHING = 10.0


def books(malloc: ModernMalloc) -> Books:
    found = locate(malloc.data, BRK, malloc.read)
    assert found is not None
    return found


def free(malloc: ModernMalloc, *, seconds: float = EVERYTHING) -> FreeMemory | None:
    arenas = read_arenas(books(malloc), malloc.main_heap, malloc.read)
    assert arenas is not None
    return free_memory(arenas, malloc.read, lambda low, high: high - low, seconds=seconds)


@pytest.mark.parametrize("old", [False, True])
def test_the_main_arena_is_found_by_its_shape(*, old: bool) -> None:
    malloc = ModernMalloc(old=old)

    found = books(malloc)

    assert (found.main_arena, found.layout) == (malloc.main, malloc.layout)


def test_large_blocks_and_the_depth_of_caches_are_read_beside_the_start_of_the_heap() -> None:
    malloc = ModernMalloc(mapped=3 << 20)

    parameters = books(malloc).read_parameters(malloc.read)

    assert parameters is not None
    assert (parameters.mapped_blocks, parameters.heap_start, parameters.cache_depth) == (
        3 << 20,
        BRK,
        7,
    )


def test_data_without_an_arena_has_none() -> None:
    malloc = ModernMalloc()
    malloc.parts[DATA][:] = random.Random(1).randbytes(len(malloc.parts[DATA]))

    assert locate(malloc.data, BRK, malloc.read) is None


def test_an_arena_before_its_first_use_is_not_taken_for_one() -> None:
    malloc = ModernMalloc()
    malloc.parts[DATA][:] = bytes(len(malloc.parts[DATA]))
    malloc.put(malloc.main + malloc.layout.next, malloc.main)

    assert locate(malloc.data, BRK, malloc.read) is None


def test_an_arena_of_a_thread_is_found_with_its_heap() -> None:
    malloc = ModernMalloc()
    second = malloc.second_arena(heap_pages=32)

    arenas = read_arenas(books(malloc), malloc.main_heap, malloc.read)

    assert arenas is not None
    assert [arena.address for arena in arenas] == [malloc.main, second]
    assert arenas[1].heaps == (Heap(SECOND_ARENA, SECOND_ARENA + 32 * PAGE),)
    assert arenas[1].system_bytes == 32 * PAGE


def test_a_heap_that_does_not_know_its_arena_makes_the_books_worthless() -> None:
    malloc = ModernMalloc()
    malloc.second_arena()
    found = books(malloc)
    malloc.put(SECOND_ARENA, 0xDEAD)

    assert read_arenas(found, malloc.main_heap, malloc.read) is None


def test_a_heap_that_was_never_cut_is_free_as_a_whole() -> None:
    found = free(ModernMalloc(heap_pages=64))

    assert found is not None
    assert (found.total, found.chunks) == (64 * PAGE, 1)


@pytest.mark.parametrize("masked", [True, False])
def test_bins_fastbins_and_top_add_up(*, masked: bool) -> None:
    malloc = ModernMalloc(heap_pages=64)
    chunks = [malloc.chunk(size) for size in (1040, 48, 2064, 48, 1040, 48, 64, 32)]
    malloc.free([chunks[0], chunks[2]], 1)
    malloc.free([chunks[4]], 66)
    malloc.free_fast([chunks[1], chunks[5]], masked=masked)
    used = 48 + 64 + 32

    found = free(malloc)

    assert found is not None
    assert (found.total, found.chunks, found.complete) == (64 * PAGE - used, 6, True)


def test_an_arena_of_a_thread_counts_what_lies_before_its_first_chunk_as_used() -> None:
    malloc = ModernMalloc(heap_pages=64)
    second = malloc.second_arena(heap_pages=32)
    kept, gone, _ = (malloc.chunk(size, second) for size in (96, 1040, 32))
    malloc.free([gone], 66, second)

    found = free(malloc)

    assert found is not None
    assert found.total == 64 * PAGE + SECOND_ARENA + 32 * PAGE - kept - 96 - 32


def test_pages_that_the_kernel_took_from_a_free_chunk_are_not_resident() -> None:
    malloc = ModernMalloc(heap_pages=64)
    chunk = malloc.chunk(20 * PAGE)
    malloc.chunk(32)
    malloc.free([chunk], 100)
    arenas = read_arenas(books(malloc), malloc.main_heap, malloc.read)
    assert arenas is not None

    found = free_memory(arenas, malloc.read, lambda low, high: 0, seconds=EVERYTHING)

    # Of the 20 pages the first holds the header; of the 44 of the top the first does.
    assert found is not None
    assert found.total - found.resident == 19 * PAGE + 43 * PAGE


def test_a_list_whose_links_disagree_is_made_up_for_by_a_walk_over_all_chunks() -> None:
    malloc = ModernMalloc(heap_pages=64)
    chunks = [malloc.chunk(1040) for _ in range(8)]
    malloc.free(chunks[:6:2], 66)
    malloc.put(chunks[2] + 24, 0xBAD)

    found = free(malloc)

    assert found is not None
    assert (found.total, found.complete) == (64 * PAGE - 5 * 1040, True)


def test_a_list_that_runs_in_a_circle_ends() -> None:
    malloc = ModernMalloc(heap_pages=64)
    chunks = [malloc.chunk(48) for _ in range(4)]
    malloc.free_fast(chunks[:2])
    malloc.put(chunks[1] + 16, chunks[0] ^ ((chunks[1] + 16) >> 12))

    assert free(malloc) is None


def many(pairs: int) -> tuple[ModernMalloc, int]:
    """Free every other one of many chunks; give how much is free."""
    malloc = ModernMalloc(heap_pages=2048)
    sizes = random.Random(7)
    chunks = [malloc.chunk(16 * sizes.randint(70, 90)) for _ in range(2 * pairs)]
    malloc.free(chunks[::2], 1)
    used = sum(malloc.size_of(chunk) for chunk in chunks[1::2])
    return malloc, 2048 * PAGE - used


def test_long_lists_are_left_for_a_walk_over_all_chunks_with_the_same_sum() -> None:
    malloc, expected = many(2000)
    malloc.reads = 0

    found = free(malloc)

    assert found is not None
    assert (found.total, found.chunks, found.complete) == (expected, 2001, True)
    assert malloc.reads < 1000


def test_where_the_walk_meets_nonsense_the_lists_stand_as_at_least() -> None:
    malloc, expected = many(2000)
    malloc.put(BRK + malloc.size_of(BRK) + 8, 24)  # the first chunk in use

    found = free(malloc)

    assert found is not None
    assert not found.complete
    assert 0 < found.total < expected


def test_without_time_the_sum_is_at_least() -> None:
    malloc, expected = many(2000)

    found = free(malloc, seconds=0.0)

    assert found is not None
    assert not found.complete
    assert found.total < expected


@pytest.mark.parametrize("form", ["H", "B"], ids=["2.30", "2.26"])
def test_a_cache_counts_its_blocks_by_their_bin(form: str) -> None:
    counts = [0] * 64
    lists = [0] * 64
    counts[0], counts[5], lists[0], lists[5] = 3, 7, 0x1000, 0x2000

    raw = struct.pack(f"<64{form}64Q", *counts, *lists)

    assert cached_bytes(raw, 7) == 3 * 32 + 7 * 112


@pytest.mark.parametrize(
    ("count", "first"), [(8, 0x1000), (1, 0), (0, 0x1000)], ids=["too many", "no list", "no count"]
)
def test_what_cannot_be_a_cache_is_none(count: int, first: int) -> None:
    raw = struct.pack("<64H64Q", count, *[0] * 63, first, *[0] * 63)

    assert cached_bytes(raw, 7) is None


@given(
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=40),
    long=st.booleans(),
)
@settings(max_examples=150)
def test_no_damage_to_the_memory_of_malloc_does_more_than_cost_numbers(
    *, flips: list[tuple[int, int]], long: bool
) -> None:
    malloc = many(400)[0] if long else ModernMalloc()
    second = malloc.second_arena()
    malloc.free([malloc.chunk(1040, second), malloc.chunk(2064, second)], 1, second)
    parts = list(malloc.parts.values())
    for place, value in flips:
        part = parts[place % len(parts)]
        # Most of the damage where it matters: the first pages hold the books.
        part[place % min(len(part), 3 * PAGE)] = value

    found = locate(malloc.data, BRK, malloc.read)
    arenas = read_arenas(found, malloc.main_heap, malloc.read) if found else None
    if arenas is not None:
        seen = free_memory(arenas, malloc.read, lambda low, high: high - low, seconds=0.2)
        room = sum(heap.end - heap.start for arena in arenas for heap in arena.heaps)
        assert seen is None or 0 <= seen.resident <= seen.total <= room
