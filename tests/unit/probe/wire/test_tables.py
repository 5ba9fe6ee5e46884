"""Shared memory → stacks, totals and ages; and what is written there for the probe."""

from __future__ import annotations

import os

import pytest

from cgoleak.errors import ProtocolMismatch
from cgoleak.model.capture import RawStack
from cgoleak.model.ids import StackId
from cgoleak.model.snapshot import StackCounts
from cgoleak.probe.wire import layout as wire
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.layout import Function, MappedModule, SlotState
from cgoleak.probe.wire.tables import FoundSlot, Tables
from support.probe_tables import TICK_MS

TICK_NS = TICK_MS * 1_000_000
UNKNOWN = RawStack(StackId(0), (), complete=False)


# --- stacks -----------------------------------------------------------------------------------


def test_before_all_others_comes_the_stack_of_blocks_that_have_none(tables):
    assert list(tables.new_stacks()) == [UNKNOWN]
    assert list(tables.new_stacks()) == []


def test_a_stack_comes_once_leaf_first(made, tables):
    made.stack(1, [0x401000, 0x402000])

    assert list(tables.new_stacks()) == [UNKNOWN, RawStack(StackId(1), (0x401000, 0x402000))]

    made.stack(2, [0x501000])
    assert list(tables.new_stacks()) == [RawStack(StackId(2), (0x501000,))]


@pytest.mark.parametrize("flags", [wire.STACK_TRUNCATED, wire.STACK_GAP])
def test_a_stack_that_was_not_followed_to_its_end_is_incomplete(made, tables, flags):
    made.stack(1, [0x401000], flags=flags)

    assert list(tables.new_stacks())[1:] == [RawStack(StackId(1), (0x401000,), complete=False)]


def test_a_stack_that_is_being_written_holds_up_those_behind_it(made, tables):
    made.stack(1, [0x401000])
    made.stack(2, [0x501000], ready=False)
    made.stack(3, [0x601000])

    assert [stack.id for stack in tables.new_stacks()] == [0, 1]

    made.stack(2, [0x501000])
    assert [(stack.id, stack.addresses) for stack in tables.new_stacks()] == [
        (2, (0x501000,)),
        (3, (0x601000,)),
    ]


def test_an_address_that_no_process_has_reads_as_a_gap(made, tables):
    made.stack(1, [0x401000, 1 << 63, 0x403000])

    assert list(tables.new_stacks())[1:] == [
        RawStack(StackId(1), (0x401000, 0, 0x403000), complete=False)
    ]


def test_a_row_that_points_outside_the_pool_costs_its_addresses(made, tables):
    made.stack(1, [], first=0xFFFF_FFFF, count=9)
    made.stack(2, [], first=0, count=0xFFFF)

    _, outside, long = tables.new_stacks()

    assert (outside.addresses, outside.complete) == ((), False)
    assert len(long.addresses) == wire.MAX_FRAMES
    assert not long.complete


def test_a_count_of_stacks_beyond_the_table_is_not_believed(made, tables):
    made.set(stacks_count=0xFFFF_FFFF)

    assert tables.stack_count == wire.MAX_STACKS


# --- totals -----------------------------------------------------------------------------------


def test_the_totals_of_a_stack_are_summed_over_the_shards(made, tables):
    made.stack(1, [0x401000])
    numbers = {"born_blocks": 10, "born_bytes": 1000, "freed_blocks": 4, "freed_bytes": 300}
    made.row(1, shard=0, **numbers, cleaned_blocks=1, lifetime_sum=6, lifetime_max=5)
    made.row(1, shard=63, **numbers, cleaned_blocks=2, lifetime_sum=8, lifetime_max=3)

    assert tables.counts() == {
        1: StackCounts(
            born_blocks=20,
            born_bytes=2000,
            freed_blocks=8,
            freed_bytes=600,
            cleaned_blocks=3,
            lifetime_ns_sum=14 * TICK_NS,
            lifetime_ns_max=5 * TICK_NS,
            old_blocks=0,
        )
    }


def test_a_stack_without_blocks_has_no_totals(made, tables):
    made.stack(1, [0x401000])
    made.stack(2, [0x501000])
    made.row(2, born_blocks=1, born_bytes=8)

    assert list(tables.counts()) == [2]


def test_blocks_without_a_stack_count_for_stack_zero(made, tables):
    made.row(0, born_blocks=3, born_bytes=24)

    assert tables.counts()[StackId(0)].born_blocks == 3


def test_the_oldest_block_and_the_oldest_mapping_tell_the_age(made, tables):
    for stack in (1, 2):
        made.stack(stack, [0x401000])
        made.row(stack, born_blocks=2, born_bytes=128)
    made.block(0, stack=1, size=64, tick=30)
    made.block(5000, stack=1, size=64, tick=20, level=1)
    made.region(7, start=0x7F00_0000_0000, size=128, stack=2, tick=10)
    made.set(tick=50)

    counts = tables.counts()

    assert counts[StackId(1)].oldest_ns == 30 * TICK_NS
    assert counts[StackId(2)].oldest_ns == 40 * TICK_NS


def test_old_blocks_were_there_at_the_call_before(made, tables):
    made.stack(1, [0x401000])
    made.row(1, born_blocks=3, born_bytes=24)
    made.block(0, stack=1, size=8, tick=10)
    made.block(1, stack=1, size=8, tick=20)
    made.set(tick=20)
    assert tables.counts()[StackId(1)].old_blocks == 0

    made.block(2, stack=1, size=8, tick=30)
    made.set(tick=40)

    assert tables.counts()[StackId(1)].old_blocks == 2


def test_a_mapping_that_is_gone_has_no_age(made, tables):
    made.stack(1, [0x401000])
    made.row(1, born_blocks=1, born_bytes=8)
    made.region(0, start=1, size=8, stack=1, tick=1)

    assert tables.counts()[StackId(1)].oldest_ns == 0


def test_the_cheap_totals_are_events_bytes_and_blocks(made, tables):
    for stack in (1, 2):
        made.stack(stack, [0x401000])
        made.row(stack, born_blocks=10, born_bytes=800, freed_blocks=4, freed_bytes=300)

    assert tables.totals() == (28, 1000, 12)


def test_what_the_probe_says_of_itself_is_summed_over_its_shards(made, tables):
    made.stack(1, [0x401000])
    made.row(1, born_blocks=10, born_bytes=80, freed_blocks=4, freed_bytes=32)
    made.shard(0, unmatched_frees=5, unseen_frees=1, dropped_blocks=2, dropped_stacks=3, walks=7)
    made.shard(63, unmatched_frees=1, rule_misses=9)

    counters = tables.counters(tables.counts())

    # An unseen free is booked as one: it was no event.
    assert counters.events == 10 + 4 + 6 - 1
    assert (counters.unmatched_frees, counters.dropped_blocks, counters.dropped_stacks) == (6, 2, 3)
    assert counters.table_bytes == made.memory
    assert tables.walks() == (7, 9)


def test_reading_does_not_fill_the_holes(made, tables):
    made.stack(wire.MAX_STACKS - 1, [0x401000])
    made.row(40000, shard=31, born_blocks=1, born_bytes=8)
    made.block(1, stack=40000, size=8, tick=1, level=wire.LEVELS - 1)
    # The first page of the shards' own numbers is looked at as it is.
    made.shard(0)
    before = made.memory

    counts = tables.counts()
    tables.totals()

    assert counts[StackId(40000)].born_blocks == 1
    assert made.memory == before


# --- filling ----------------------------------------------------------------------------------


def a_slot(address, *, function=Function.MALLOC, original=0x7F00_0000_1000):
    return FoundSlot(address, original, function, prot=3, module="libwork.so")


def test_slots_are_entered_as_wanted(made, tables):
    assert tables.add_slots([a_slot(0x1000), a_slot(0x2000, function=Function.FREE)]) == (0, 2)

    row = made.slot(1)
    assert (row.address, row.original) == (0x2000, 0x7F00_0000_1000)
    assert (row.function, row.prot, row.state) == (Function.FREE, 3, SlotState.WANTED)
    assert [slot.address for slot in tables.slots()] == [0x1000, 0x2000]


def test_later_slots_come_behind_and_only_they_are_asked_for(tables):
    tables.add_slots([a_slot(0x1000), a_slot(0x2000)])

    assert tables.add_slots([a_slot(0x3000)]) == (2, 3)


def test_a_slot_that_comes_back_takes_its_old_row(made, tables):
    tables.add_slots([a_slot(0x1000), a_slot(0x2000), a_slot(0x3000)])
    made.set_slot_state(1, SlotState.GONE)

    assert tables.add_slots([a_slot(0x2000, original=0x1234)]) == (1, 2)

    assert (made.slot(1).state, made.slot(1).original) == (SlotState.WANTED, 0x1234)
    assert len(list(tables.slots())) == 3


def test_what_was_asked_for_and_not_taken_is_not_taken_with_what_is_asked_for_next(made, tables):
    tables.add_slots([a_slot(0x1000), a_slot(0x2000), a_slot(0x3000)])
    made.set_slot_state(0, SlotState.TAKEN)

    assert tables.add_slots([a_slot(0x1000), a_slot(0x3000)]) == (0, 3)

    states = [made.slot(index).state for index in range(3)]
    assert states == [SlotState.WANTED, SlotState.GONE, SlotState.WANTED]


def test_no_slots_are_an_empty_range(tables):
    first, last = tables.add_slots([])

    assert first == last


def test_what_finds_no_room_is_left_out_and_known_slots_still_find_theirs(tables):
    tables.add_slots(a_slot(8 * i) for i in range(wire.MAX_SLOTS - 1))

    first, last = tables.add_slots([a_slot(1 << 40), a_slot(2 << 40), a_slot(8)])

    assert (first, last) == (1, wire.MAX_SLOTS)
    assert tables.shared.slots_count == wire.MAX_SLOTS


def test_modules_go_into_the_table_that_is_not_in_use(made, tables):
    high, low = MappedModule(start=0x9000, end=0xA000), MappedModule(start=0x1000, end=0x2000)

    assert tables.write_modules([high, low]) == 2

    assert [row.start for row in made.modules(1)] == [0x1000, 0x9000]
    assert made.modules(0) == []
    made.set(modules_now=1)
    tables.write_modules([high])
    assert [row.start for row in made.modules(0)] == [0x9000]
    assert len(made.modules(1)) == 2


def test_the_room_for_modules_is_bounded(tables):
    many = [MappedModule(start=i << 12, end=(i + 1) << 12) for i in range(wire.MAX_MODULES + 5)]

    assert tables.write_modules(many) == wire.MAX_MODULES


# --- another version --------------------------------------------------------------------------


def refused(made):
    fd = os.dup(made.fd)
    with pytest.raises(ProtocolMismatch) as error:
        Tables(fd, load_artifact())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    return str(error.value.cause)


def test_tables_of_another_version_are_refused_and_the_file_is_closed(made):
    made.set(version=wire.VERSION + 1)

    assert refused(made) == f"wire layout {wire.VERSION + 1}, {wire.VERSION} here"


def test_something_else_is_refused(made):
    made.set(magic=0)

    refused(made)


@pytest.mark.parametrize("size", [0, 64])
def test_an_empty_or_torn_file_is_refused(made, size):
    os.ftruncate(made.fd, size)

    assert refused(made) == f"its tables have {size} bytes"


@pytest.mark.parametrize("name", ["slots_at", "rows_at", "stacks_at", "regions_at", "shards_at"])
@pytest.mark.parametrize("at", [1 << 62, 4097])
def test_tables_outside_the_shared_memory_are_refused(made, name, at):
    made.set(**{name: at})

    assert refused(made) == "a table lies outside the shared memory"


def test_closing_twice_is_harmless(made):
    tables = made.open()
    tables.close()
    tables.close()


def test_every_outstanding_block_and_mapping_is_told_with_its_stack(made, tables):
    made.set(levels_used=2)
    made.block(3, stack=1, size=64, tick=30)
    made.block(5000, stack=2, size=4096, tick=20, level=1)
    made.region(7, start=0x7F0000000000, size=1 << 20, stack=2, tick=5)

    found = sorted((size, stack) for _, size, stack in tables.outstanding())

    assert found == [(64, 1), (4096, 2), (1 << 20, 2)]
    assert (0x7F0000000000, 1 << 20, 2) in set(tables.outstanding())


def test_stacks_that_have_mappings_are_known(made, tables):
    made.set(levels_used=1)
    made.block(3, stack=1, size=64, tick=30)
    made.region(7, start=0x7F0000000000, size=1 << 20, stack=2, tick=5)
    made.region(8, start=1, size=1 << 20, stack=3, tick=5)
    made.region(9, start=0x7F0000100000, size=1 << 20, stack=1 << 63, tick=5)

    assert tables.mapping_stacks() == {2}


def test_what_is_sampled_between_two_looks_makes_no_event_negative(made, tables):
    """The probe sums the events that it passed over now and then; estimates run ahead of them."""
    made.stack(1, [0x401000])
    made.set(epoch=1)
    made.weighted(1, born_blocks=500 << 16, born_bytes=50_000, freed_blocks=400 << 16)
    counts = tables.counts()
    made.weighted(1, born_blocks=900 << 16, born_bytes=90_000, freed_blocks=800 << 16)

    found = tables.counters(counts)

    assert (counts[StackId(1)].born_blocks, counts[StackId(1)].freed_blocks) == (500, 400)
    assert found.events == 0
    made.set(passed_births=950, passed_frees=850)
    assert tables.counters(tables.counts()).events == 1800
