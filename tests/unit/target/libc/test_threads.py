from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.target.kernel.procfs import Region
from cgoleak.target.libc.glibc import Heap
from cgoleak.target.libc.threads import ThreadCaches, ThreadStack, thread_stacks
from support.go_images import Memory

STACK = 0x7F00_0000_1000
SIZE = 64 << 10
TOP = STACK + SIZE
DESCRIPTOR = TOP - 2304
HEAP = Heap(0x7F20_0000_0000, 0x7F20_0001_0000)


def a_region(start: int, end: int, perms: str = "rw-p", path: str = "") -> Region:
    return Region(start, end, perms, 0, "00:00", 0, path)


def a_map(end: int = TOP) -> tuple[Region, ...]:
    return (a_region(STACK - 4096, STACK, "---p"), a_region(STACK, end))


def a_memory(*, descriptor: int = DESCRIPTOR, own: bool = True, size: int = SIZE) -> Memory:
    memory = Memory()
    memory.parts[STACK] = bytearray(size)
    memory.put(descriptor, "<3Q", descriptor, 0, descriptor if own else 0)
    return memory


def stacks(
    memory: Memory,
    regions: tuple[Region, ...],
    *,
    libc: str = "glibc",
    limit: int | None = None,
    proved: bool = True,
) -> list[ThreadStack]:
    return list(thread_stacks(regions, memory.read, libc=libc, limit=limit, proved=proved))


def test_a_stack_is_known_by_its_guard_and_its_descriptor() -> None:
    assert stacks(a_memory(), a_map()) == [ThreadStack(STACK, TOP, DESCRIPTOR)]


def test_musl_has_the_address_of_the_descriptor_once() -> None:
    memory = a_memory(own=False)

    assert stacks(memory, a_map()) == []
    assert stacks(memory, a_map(), libc="musl") == [ThreadStack(STACK, TOP, DESCRIPTOR)]


def test_where_no_descriptor_can_be_expected_the_shape_decides() -> None:
    memory = Memory()
    memory.parts[STACK] = bytearray(SIZE)

    assert stacks(memory, a_map(), proved=False) == [ThreadStack(STACK, TOP, None)]


def test_memory_that_the_kernel_joined_to_a_stack_is_not_of_it() -> None:
    memory = a_memory(size=4 * SIZE)

    found = stacks(memory, a_map(STACK + 4 * SIZE), limit=SIZE)

    assert found == [ThreadStack(STACK, TOP, DESCRIPTOR)]


@pytest.mark.parametrize(
    "regions",
    [
        (a_region(STACK - (2 << 20), STACK, "---p"), a_region(STACK, TOP)),
        (a_region(STACK - 8192, STACK - 4096, "---p"), a_region(STACK, TOP)),
        (a_region(STACK - 4096, STACK, "---p"), a_region(STACK, TOP, path="[heap]")),
        (a_region(STACK - 4096, STACK, "r--p"), a_region(STACK, TOP)),
    ],
    ids=["a large hole", "a gap", "a name", "no guard"],
)
def test_other_neighbours_are_no_stacks(regions: tuple[Region, ...]) -> None:
    assert stacks(a_memory(), regions) == []


def with_cache(memory: Memory, *, below: int, blocks: int, at: int = HEAP.start + 0x1010) -> None:
    """Let a thread have some cached blocks of 48 bytes."""
    memory.put(DESCRIPTOR - below, "<Q", at)
    memory.put(at - 8, "<Q", 0x291)
    memory.put(at + 2, "<H", blocks)
    memory.put(at + 128 + 8, "<Q", at + 0x4000)


def a_memory_with_heap() -> Memory:
    memory = a_memory()
    memory.parts[HEAP.start] = bytearray(HEAP.end - HEAP.start)
    return memory


def test_the_cache_of_a_thread_is_found_through_its_storage() -> None:
    memory = a_memory_with_heap()
    with_cache(memory, below=0x48, blocks=5)

    assert ThreadCaches(memory.read).total([DESCRIPTOR], [HEAP], 7) == 5 * 48


def test_the_cache_of_the_main_thread_is_the_first_chunk() -> None:
    memory = a_memory_with_heap()
    with_cache(memory, below=0x48, blocks=2, at=HEAP.start + 16)

    assert ThreadCaches(memory.read).total([], [HEAP], 7) == 2 * 48


def test_a_pointer_to_something_else_is_no_cache() -> None:
    memory = a_memory_with_heap()
    memory.put(DESCRIPTOR - 0x48, "<Q", HEAP.start + 0x1010)

    assert ThreadCaches(memory.read).total([DESCRIPTOR], [HEAP], 7) == 0


def test_without_heaps_nothing_is_cached() -> None:
    assert ThreadCaches(a_memory().read).total([DESCRIPTOR], [], 7) == 0


@given(st.binary(min_size=0, max_size=3000), st.integers(0, 1 << 48))
def test_any_content_of_a_stack_gives_a_descriptor_in_it_or_none(raw: bytes, word: int) -> None:
    memory = a_memory_with_heap()
    memory.parts[STACK][-len(raw) :] = raw[-SIZE:] or bytes(SIZE)
    memory.put(TOP - 4096, "<Q", word)

    for found in stacks(memory, a_map()):
        assert found.descriptor is not None
        assert found.start <= found.descriptor < found.end
        assert struct.unpack("<Q", memory.read(found.descriptor, 8) or b"") == (found.descriptor,)
        assert ThreadCaches(memory.read).total([found.descriptor], [HEAP], 7) >= 0
