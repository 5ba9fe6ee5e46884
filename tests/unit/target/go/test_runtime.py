from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.target.go.runtime import Span, old_frame_size


def test_the_old_prologue_tells_the_frame_of_cgocall() -> None:
    # Go 1.19 cgocall: cmp rsp,[r14+16]; jbe; sub rsp,0x30; mov [rsp+0x28],rbp; lea rbp,[rsp+0x28]
    code = bytes.fromhex("493b6610 7666 4883ec30 48896c2428 488d6c2428")

    assert old_frame_size(code) == 0x30


def test_a_long_frame_is_read_too() -> None:
    code = bytes.fromhex("4881ec80010000 4889ac2478010000")

    assert old_frame_size(code) == 0x180


def test_a_prologue_that_saves_something_else_there_is_not_one() -> None:
    assert old_frame_size(bytes.fromhex("4883ec30 48896c2420")) is None


def test_the_new_prologue_is_not_one() -> None:
    assert old_frame_size(bytes.fromhex("55 4889e5 4883ec28")) is None


@given(st.binary(max_size=64))
def test_any_bytes_give_a_frame_or_none(code: bytes) -> None:
    size = old_frame_size(code)

    assert size is None or size >= 8


def test_spans_are_ordered_by_address() -> None:
    assert sorted([Span(3, 4), Span(1, 2)]) == [Span(1, 2), Span(3, 4)]
