from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.target.go.heap import ARENA_BYTES, GoHeap
from cgoleak.target.go.layout import FIRST_MINOR, LAST_MINOR, GoLayout, layout_for
from cgoleak.target.go.regions import GoPointers
from support.go_images import GLOBALS, Memory

ARENAS = tuple(
    (0xC000000000 + i * ARENA_BYTES, 0xC000000000 + (i + 1) * ARENA_BYTES) for i in (0, 3)
)
INDEX = 0x7F0000000000
STRUCTURES = (0x7F1000000000, 0x7F1000200000)
SPAN_LIST = 0x7F2000000000
SPANS = 0x7F3000000000
SUMMARY = 0x7F4000000000
BUCKET = 0x7F5000000000


def layout(minor: int = 26) -> GoLayout:
    found = layout_for(f"go1.{minor}.0")
    assert found is not None
    return found


def a_runtime(at: GoLayout) -> Memory:
    """``mheap_`` with a summary, the arena index and three spans in two pieces of memory."""
    memory = Memory()
    assert GLOBALS.mheap is not None
    size = at.heap.current_arena + 16
    memory.parts[GLOBALS.mheap] = bytearray(size)
    memory.put(GLOBALS.mheap + 64, "<Q", SUMMARY)
    memory.put(GLOBALS.mheap + 0x200, "<Q", INDEX)
    memory.put(GLOBALS.mheap + 0x400, "<3Q", SPAN_LIST, 3, 8)
    memory.parts[INDEX + ((1 << 22) - 1) * 8] = bytearray(8)
    for (start, _), structure in zip(ARENAS, STRUCTURES, strict=True):
        number = (start - at.heap.arena_base) % (1 << 64) >> 26
        memory.put(INDEX + 8 * number, "<Q", structure)
    assert GLOBALS.mbuckets is not None
    memory.put(GLOBALS.mbuckets, "<Q", BUCKET)
    spans = (SPANS, SPANS + 160, SPANS + (1 << 18))
    memory.put(SPAN_LIST, "<3Q", *spans)
    for span in spans:
        memory.put(span + 24, "<Q", ARENAS[1][0] + 8192)
    return memory


@pytest.mark.parametrize("minor", range(FIRST_MINOR, LAST_MINOR + 1))
def test_the_heap_points_at_everything_that_the_runtime_mapped_for_itself(minor: int) -> None:
    at = layout(minor)

    found = GoPointers(GoHeap(GLOBALS, at, a_runtime(at).read)).read(ARENAS)

    assert {SUMMARY, BUCKET, INDEX, SPAN_LIST, *STRUCTURES, SPANS + (1 << 18)} <= set(found)
    assert {SPANS, SPANS + 160} & set(found)
    assert list(found) == sorted(found)


def test_spans_outside_of_the_heap_are_no_spans() -> None:
    at = layout()
    memory = a_runtime(at)
    memory.put(SPANS + 160 + 24, "<Q", 0x1000)

    found = GoPointers(GoHeap(GLOBALS, at, memory.read)).read(ARENAS)

    assert SPANS + (1 << 18) not in found
    assert SUMMARY in found


def test_without_the_heaps_address_there_is_nothing() -> None:
    at = layout()
    heap = GoHeap(replace(GLOBALS, mheap=None), at, a_runtime(at).read)

    assert GoPointers(heap).read(ARENAS) == ()


@given(st.lists(st.tuples(st.integers(0, 1 << 17), st.integers(0, (1 << 64) - 1)), max_size=30))
def test_no_content_of_the_heap_structure_does_more_than_change_addresses(
    words: list[tuple[int, int]],
) -> None:
    at = layout()
    memory = a_runtime(at)
    parts = list(memory.parts.items())
    for place, word in words:
        start, part = parts[place % len(parts)]
        memory.put(start + place % max(1, len(part) - 7), "<Q", word)

    GoPointers(GoHeap(GLOBALS, at, memory.read)).read(ARENAS)
