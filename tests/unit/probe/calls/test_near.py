"""Memory maps → where a page with jumps can lie, and what it holds."""

from __future__ import annotations

import struct

import pytest

from cgoleak.probe.calls.near import (
    NEAR_BYTES,
    NEAR_NAME,
    NearPage,
    find_near_pages,
    free_places,
    jumps_of,
)
from cgoleak.target.kernel.procfs import Region
from support.fake_target import memory_of

HOOKS = (0x7F00_1000_1000, 0x7F00_1000_2000)
REACH = 1 << 31


def region(start, end, path="/srv/worker"):
    return Region(start, end, "r-xp", 0, "fe:00", 7, path)


def test_each_hook_has_a_jump_that_leads_to_it():
    page = NearPage(0x3F0000, HOOKS)

    for hook in HOOKS:
        at = page.jump_to(hook) - page.start
        code, distance, target = struct.unpack_from("<2siQ", page.content, at)
        assert (code, distance, target) == (b"\xff\x25", 0, hook)  # jmp *0(%rip): the next 8 bytes
    assert len(page.content) <= NEAR_BYTES


def test_the_jumps_of_a_page_are_known_again():
    page = NearPage(0x3F0000, HOOKS)

    assert jumps_of({page.start: page.content}) == {page.jump_to(hook) for hook in HOOKS}
    assert jumps_of({page.start: bytes(64)}) == frozenset()


def test_a_page_for_other_hooks_is_not_ours():
    page = NearPage(0x3F0000, HOOKS)
    memory = memory_of({page.start: page.content.ljust(NEAR_BYTES, b"\0")})

    assert page.is_in(memory)
    assert not NearPage(page.start, HOOKS[::-1]).is_in(memory)


def test_pages_are_found_by_their_name():
    assert find_near_pages([region(0x3F0000, 0x3F1000, NEAR_NAME), region(1 << 22, 2 << 22)]) == (
        0x3F0000,
    )


def test_the_nearest_room_below_comes_first():
    regions = [region(0x400000, 0x600000), region(0x600000, 0x700000, "[heap]")]

    first, *_ = free_places(regions, (0x400000, 0x600000))

    assert 0x10000 <= first < 0x400000


def test_room_above_a_heap_and_below_a_stack_is_left_to_them():
    regions = [
        region(0x400000, 0x600000),
        region(0x600000, 0x700000, "[heap]"),
        region(0x4000_0000, 0x5000_0000, "[stack]"),
    ]

    assert all(at < 0x400000 for at in free_places(regions, (0x400000, 0x600000)))


@pytest.mark.parametrize("base", [0x400000, 0x5555_0000_0000, 0x7F00_0000_0000])
def test_every_place_is_free_and_in_reach(base):
    regions = [
        region(base, base + 0x200000),
        region(base + 0x300000, base + 0x302000),
        region(base + 0x8000_0000, base + 0x9000_0000),
    ]
    span = base, base + 0x200000

    places = list(free_places(regions, span))

    assert places
    for at in places:
        assert at % 4096 == 0
        assert all(r.end <= at or at + NEAR_BYTES <= r.start for r in regions)
        assert all(abs(at + NEAR_BYTES - end) < REACH and abs(at - end) < REACH for end in span)


def test_a_module_with_no_room_in_reach_gets_none():
    regions = [region(0x1000, 0x7FFF_FFFF_F000)]

    assert list(free_places(regions, (0x4000_0000_0000, 0x4000_0010_0000))) == []
