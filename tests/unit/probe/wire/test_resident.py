"""The copy of the probe that stays in a target: found by name, known by its build."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cgoleak.probe.wire.layout import MAGIC, VERSION, Header, State
from cgoleak.probe.wire.resident import (
    IMAGE_NAME,
    find_residents,
    is_measuring,
    may_leave_by_itself,
)
from cgoleak.target.kernel.procfs import Region
from support.fake_target import memory_of

AT = 0x7F00_0000_0000
HEADER = 0x5000
BUILD = 0xB1D
ARTIFACT = SimpleNamespace(build=BUILD, header_vaddr=HEADER)


def an_image_at(start, path=IMAGE_NAME):
    return [
        Region(start, start + 0x1000, "r--p", 0, "00:01", 9, path, deleted=True),
        Region(start + 0x1000, start + 0x9000, "r-xp", 0x1000, "00:01", 9, path, deleted=True),
    ]


def a_header(start=AT, **fields):
    return Header(
        **{"magic": MAGIC, "version": VERSION, "build": BUILD, "image_start": start} | fields
    )


def test_a_copy_of_this_build_is_found_with_its_header():
    memory = memory_of({AT + HEADER: bytes(a_header(state=State.IDLE, rounds=3))})

    (resident,) = find_residents(an_image_at(AT), memory, ARTIFACT)

    assert (resident.image_start, resident.header_at, resident.same_build) == (
        AT,
        AT + HEADER,
        True,
    )
    assert resident.header(memory).rounds == 3


@pytest.mark.parametrize(
    "other",
    [{"magic": 1}, {"version": VERSION + 1}, {"build": BUILD + 1}, {"image_start": AT + 0x1000}],
)
def test_a_copy_of_another_build_is_not_read_as_ours(other):
    memory = memory_of({AT + HEADER: bytes(a_header(**other))})

    (resident,) = find_residents(an_image_at(AT), memory, ARTIFACT)

    assert not resident.same_build
    assert resident.header(memory) is None


def test_a_copy_that_cannot_be_read_is_not_ours():
    (resident,) = find_residents(an_image_at(AT), memory_of({}), ARTIFACT)

    assert not resident.same_build


def test_a_copy_that_is_gone_has_no_header():
    there = memory_of({AT + HEADER: bytes(a_header())})
    (resident,) = find_residents(an_image_at(AT), there, ARTIFACT)

    assert resident.header(memory_of({})) is None


def test_every_copy_is_found_and_nothing_else():
    second = AT + 0x10_0000
    regions = [
        *an_image_at(AT),
        *an_image_at(AT + 0x8_0000, "/memfd:cgoleak-tables"),
        *an_image_at(second),
    ]
    memory = memory_of({second + HEADER: bytes(a_header(second))})

    found = find_residents(regions, memory, ARTIFACT)

    assert [(r.image_start, r.same_build) for r in found] == [(AT, False), (second, True)]


@pytest.mark.parametrize(
    ("state", "measuring"),
    [
        (State.IDLE, False),
        (State.STARTING, True),
        (State.RUNNING, True),
        (State.STOPPING, True),
        (State.FAILED, False),
    ],
)
def test_a_copy_measures_between_its_start_and_its_end(state, measuring):
    assert is_measuring(a_header(state=state, owner_pid=7), 7) is measuring


def test_a_forked_child_has_its_parents_header_and_nobody_who_measures():
    assert not is_measuring(a_header(state=State.RUNNING, owner_pid=7), 8)


@pytest.mark.parametrize(
    ("state", "command_fd", "may_leave"),
    [
        (State.STARTING, -1, True),
        (State.RUNNING, 7, True),
        (State.RUNNING, -1, False),
        (State.STOPPING, -1, True),
    ],
)
def test_a_copy_whose_command_pipe_nobody_has_taken_has_no_controller(state, command_fd, may_leave):
    assert may_leave_by_itself(a_header(state=state, command_fd=command_fd)) is may_leave
