"""Who still knows a block: a process drawn word by word."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.holding import Holding
from cgoleak.model.ids import StackId
from cgoleak.target.go.world import GoSpan, GoWorld
from cgoleak.target.holders import Block, find_holders
from cgoleak.target.kernel.procfs import Region

DATA, HEAP, STACK, GO, LIBC = 0x500000, 0x900000, 0x7F0000000000, 0xC000000000, 0x7F1000000000
PAGE = 4096
ONE, TWO = StackId(1), StackId(2)


class Drawn:
    """Memory with some words in it."""

    def __init__(self, **words: dict[int, int]) -> None:
        self.regions = (
            Region(DATA, DATA + PAGE, "rw-p", 0, "08:01", 7, "/srv/worker"),
            Region(HEAP, HEAP + 16 * PAGE, "rw-p", 0, "00:00", 0, "[heap]"),
            Region(GO, GO + 64 * PAGE, "rw-p", 0, "00:00", 0, ""),
            Region(STACK, STACK + 4 * PAGE, "rw-p", 0, "00:00", 0, ""),
            Region(LIBC, LIBC + PAGE, "rw-p", 0, "08:01", 8, "/lib/x86_64-linux-gnu/libc.so.6"),
        )
        self.memory = {one.start: bytearray(one.end - one.start) for one in self.regions}
        for some in words.values():
            for address, word in some.items():
                start = max(start for start in self.memory if start <= address)
                struct.pack_into("<Q", self.memory[start], address - start, word)

    def read(self, address: int, size: int) -> bytes | None:
        start = max((start for start in self.memory if start <= address), default=None)
        if start is None or address + size > start + len(self.memory[start]):
            return None
        return bytes(self.memory[start][address - start : address - start + size])

    def holders(self, *blocks: Block, world: GoWorld | None = None, **more):
        found = find_holders(
            self.read,
            self.regions,
            blocks,
            world=world,
            arenas=((GO, GO + 64 * PAGE),),
            **more,
        )
        assert found is not None
        return found


def a_world(*, owners=(), stacks=(), resting=()) -> GoWorld:
    spans = (GoSpan(GO, GO + 8192, 64), GoSpan(GO + 16384, GO + 24576, 128))
    return GoWorld(spans, owners, stacks, resting, tuple(span.start for span in spans))


BLOCK = Block(HEAP + 0x100, 48, ONE)


def test_a_block_that_no_word_points_to_is_lost():
    assert Drawn().holders(BLOCK, world=a_world()) == {ONE: Holding(1, 48, 0, 0)}


@pytest.mark.parametrize("offset", [0, 8, 47])
def test_a_variable_knows_a_block_by_its_begin_or_its_inside(offset):
    drawn = Drawn(data={DATA + 64: BLOCK.address + offset})

    assert drawn.holders(BLOCK) == {ONE: Holding(known_blocks=1)}


@pytest.mark.parametrize("offset", [-1, 48])
def test_a_word_beside_a_block_is_no_pointer_to_it(offset):
    assert Drawn(data={DATA: BLOCK.address + offset}).holders(BLOCK)[ONE].lost_blocks == 1


def test_blocks_know_blocks_and_a_ring_that_nobody_knows_is_lost():
    a, b, c = (Block(HEAP + 0x100 * n, 32, StackId(n)) for n in (1, 2, 3))
    known = {DATA: a.address, a.address + 8: b.address}
    ring = Drawn(known=known, ring={c.address: c.address})

    found = ring.holders(a, b, c)
    assert [found[StackId(n)].known_blocks for n in (1, 2, 3)] == [1, 1, 0]
    assert found[StackId(3)] == Holding(1, 32, 0, 0)


def test_what_malloc_has_freed_knows_nothing():
    assert Drawn(stale={HEAP + 0x800: BLOCK.address}).holders(BLOCK)[ONE].lost_blocks == 1


def test_what_was_on_the_heap_before_we_counted_is_a_root():
    drawn = Drawn(early={HEAP + 0x800: BLOCK.address})

    assert drawn.holders(BLOCK, early=(HEAP, HEAP + 0x900))[ONE].known_blocks == 1


def test_the_head_of_the_chunk_behind_a_block_is_not_the_block():
    """main_arena.top of glibc points there, and overlaps the last word of the block before."""
    top = BLOCK.address + 40

    assert Drawn(libc={LIBC + 96: top}).holders(BLOCK)[ONE].lost_blocks == 1
    assert Drawn(libc={LIBC + 96: BLOCK.address}).holders(BLOCK)[ONE].known_blocks == 1


def test_the_stale_part_of_a_threads_stack_knows_nothing():
    resting = STACK + 2 * PAGE
    world = a_world(resting=(resting,))

    assert Drawn(s={resting - 64: BLOCK.address}).holders(BLOCK, world=world)[ONE].lost_blocks == 1
    assert Drawn(s={resting + 64: BLOCK.address}).holders(BLOCK, world=world)[ONE].known_blocks == 1


def test_all_of_the_stack_of_a_thread_in_c_is_a_root():
    assert Drawn(s={STACK + 64: BLOCK.address}).holders(BLOCK, world=a_world())[ONE].known_blocks


def test_a_live_go_object_knows_a_block_and_a_dead_one_does_not():
    words = {GO + 64 + 16: BLOCK.address}

    assert Drawn(go=words).holders(BLOCK, world=a_world())[ONE].lost_blocks == 1
    alive = Drawn(go=words, data={DATA: GO + 64})
    assert alive.holders(BLOCK, world=a_world())[ONE].known_blocks == 1


def test_go_objects_are_followed_from_one_to_the_next():
    chain = {GO: GO + 16384 + 130, GO + 16384 + 128: BLOCK.address}

    assert Drawn(go=chain, data={DATA: GO + 8}).holders(BLOCK, world=a_world())[ONE].known_blocks


def test_the_live_part_of_a_goroutines_stack_is_a_root():
    stack = (GO + 40 * PAGE + 512, GO + 41 * PAGE)
    world = a_world(stacks=(stack,))

    live = Drawn(go={stack[0] + 8: BLOCK.address})
    assert live.holders(BLOCK, world=world)[ONE].known_blocks == 1
    dead = Drawn(go={stack[0] - 8: BLOCK.address})
    assert dead.holders(BLOCK, world=world)[ONE].lost_blocks == 1


def test_a_go_object_with_a_finalizer_owns_what_it_points_to_dead_or_alive():
    other = Block(HEAP + 0x300, 16, TWO)
    words = {GO + 128: BLOCK.address, BLOCK.address: other.address}
    world = a_world(owners=(GO + 128,))

    found = Drawn(go=words).holders(BLOCK, other, world=world)
    assert found == {ONE: Holding(owned_blocks=1), TWO: Holding(owned_blocks=1)}


def test_without_gos_heap_whatever_it_mentions_is_known():
    assert Drawn(go={GO + 640: BLOCK.address}).holders(BLOCK, world=None)[ONE].known_blocks == 1


def test_time_is_bounded():
    drawn = Drawn()

    assert find_holders(drawn.read, drawn.regions, [BLOCK], world=None, seconds=-1.0) is None


def test_no_blocks_are_no_work():
    assert Drawn().holders(world=a_world()) == {}


@given(st.dictionaries(st.integers(0, PAGE // 8 - 1), st.integers(0, 2**64 - 1), max_size=30))
def test_each_block_is_counted_once_whatever_the_words(words):
    drawn = Drawn(data={DATA + 8 * at: word for at, word in words.items()})
    blocks = [Block(HEAP + 0x100 * n, n, StackId(n % 3)) for n in range(1, 20)]

    found = drawn.holders(*blocks, world=a_world(owners=(GO,)))

    total = sum(one.lost_blocks + one.owned_blocks + one.known_blocks for one in found.values())
    assert total == len(blocks)


def test_a_large_buffer_of_go_is_not_searched_and_a_small_number_is():
    def held_by(size: int) -> Holding:
        spans = (GoSpan(GO, GO + 16384, size, without_pointers=True),)
        world = GoWorld(spans, (), (), (), (GO,))
        drawn = Drawn(go={GO + 8: BLOCK.address}, data={DATA: GO})
        return drawn.holders(BLOCK, world=world)[ONE]

    assert held_by(64).known_blocks == 1
    assert held_by(16384).lost_blocks == 1
