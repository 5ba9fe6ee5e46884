"""Programs of classic BPF over system calls that are to come: what becomes of each."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.probe.entry.filters import ALLOW, Call, action_of

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, LOG = 0x80000000, 0, 0x30000, 0x50001, 0x7FFC0000
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16
LOAD, EQUAL, MORE, ANY_OF, AND, RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
MMAP = Call("mmap", 9, (0, 4096, 7))
OPEN = Call("openat", 257)


def a_filter(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<HBBI", *one) for one in instructions)


def for_number(number: int, action: int, otherwise: int = ALLOW) -> bytes:
    return a_filter(
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 1, number),
        (RETURN, 0, 0, action),
        (RETURN, 0, 0, otherwise),
    )


def test_without_a_filter_everything_is_allowed():
    assert action_of((), MMAP) == ALLOW


def test_a_call_that_a_filter_names_gets_its_answer_and_others_do_not():
    assert action_of([for_number(9, ERRNO)], MMAP) == ERRNO
    assert action_of([for_number(9, ERRNO)], OPEN) == ALLOW
    assert action_of([for_number(9, ALLOW, KILL_PROCESS)], OPEN) == KILL_PROCESS


@pytest.mark.parametrize(
    ("answers", "what_counts"),
    [
        ((ALLOW, ERRNO), ERRNO),
        ((ERRNO, KILL_THREAD), KILL_THREAD),
        ((KILL_THREAD, KILL_PROCESS), KILL_PROCESS),
        ((LOG, ALLOW), LOG),
        ((TRAP, ERRNO), TRAP),
    ],
)
def test_of_several_filters_the_severest_counts_in_any_order(answers, what_counts):
    filters = [a_filter((RETURN, 0, 0, answer)) for answer in answers]

    assert action_of(filters, MMAP) == what_counts
    assert action_of(filters[::-1], MMAP) == what_counts


def test_arguments_are_asked_for_as_systemd_asks_for_memory_that_can_be_executed():
    protection = FIRST_ARGUMENT + 8 * 2
    refuses = a_filter(
        (LOAD, 0, 0, ARCH),
        (EQUAL, 0, 5, 0xC000003E),
        (LOAD, 0, 0, protection),
        (AND, 0, 0, 6),
        (EQUAL, 0, 2, 6),
        (RETURN, 0, 0, ERRNO),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    )

    assert action_of([refuses], MMAP) == ERRNO
    assert action_of([refuses], MMAP._replace(arguments=(0, 4096, 3))) == ALLOW


def test_comparisons_are_those_of_the_kernel():
    def over(test: int, k: int) -> int:
        return action_of(
            [a_filter((LOAD, 0, 0, NUMBER), (test, 0, 1, k), (RETURN, 0, 0, ERRNO))], OPEN
        )

    assert (over(MORE, 256), over(MORE, 257)) == (ERRNO, ALLOW)
    assert (over(ANY_OF, 0x101), over(ANY_OF, 0x002)) == (ERRNO, ALLOW)


@given(st.binary(max_size=400).map(lambda raw: raw[: len(raw) // 8 * 8]))
def test_any_program_comes_to_an_end(raw):
    assert 0 <= action_of([raw], MMAP) <= 0xFFFFFFFF
