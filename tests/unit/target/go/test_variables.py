from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.symbols.go.pclntab import GoFunction
from cgoleak.target.go.layout import AMD64, ARM64
from cgoleak.target.go.variables import GoGlobals, locate_globals
from support.go_images import CODE, a_program, call, lea_rax

METHOD = "runtime.(*gcControllerState).heapGoal"


def program_that_calls(*receivers: int) -> tuple[bytes, list[GoFunction]]:
    """Code of one caller that calls a method with each receiver, and of the method after it."""
    size = 16 * len(receivers)
    code = b""
    for receiver in receivers:
        at = CODE + len(code)
        code += lea_rax(at, receiver) + b"\x90\x90"
        code += call(CODE + len(code), CODE + size) + b"\x90\x90"
    code += b"\xc3" * 16
    return code, [
        GoFunction("runtime.gcStart", CODE, CODE + size),
        GoFunction(METHOD, CODE + size, CODE + size + 16),
    ]


def test_the_receiver_of_most_calls_is_the_variable() -> None:
    code, functions = program_that_calls(*[0x5FA6A0] * 8, 0x123400)

    assert locate_globals(a_program(code), functions) == GoGlobals(
        gc_controller=0x5FA6A0,
        memstats=None,
        mheap=None,
        scavenge=None,
        mbuckets=None,
        located=True,
    )


def test_few_votes_elect_nobody() -> None:
    code, functions = program_that_calls(*[0x5FA6A0] * 3)

    assert locate_globals(a_program(code), functions).gc_controller is None


def test_a_divided_vote_elects_nobody() -> None:
    code, functions = program_that_calls(*[0x5FA6A0] * 8, *[0x5FA6B0] * 5)

    assert locate_globals(a_program(code), functions).gc_controller is None


def test_the_lowest_address_that_the_pacer_takes_is_the_scavenger() -> None:
    code = lea_rax(CODE, 0x5F9008) + lea_rax(CODE + 7, 0x5F9000) + b"\xc3"
    functions = [GoFunction("runtime.gcPaceScavenger", CODE, CODE + len(code))]

    assert locate_globals(a_program(code), functions).scavenge == 0x5F9000


def test_the_first_load_of_the_profile_flush_is_the_bucket_list() -> None:
    code = bytes.fromhex("4c8b05 00100000 4889c3 488b0d 00200000 c3")
    functions = [GoFunction("runtime.mProf_FlushLocked", CODE, CODE + len(code))]

    assert locate_globals(a_program(code), functions).mbuckets == CODE + 7 + 0x1000


def test_addresses_move_with_the_load_bias_and_unknown_ones_stay_unknown() -> None:
    found = GoGlobals(1, None, 3, None, 5, located=True)

    assert found.moved(0x1000) == GoGlobals(0x1001, None, 0x1003, None, 0x1005, located=True)


@given(
    st.binary(min_size=1, max_size=400),
    st.lists(st.tuples(st.integers(-8, 500), st.integers(-8, 1 << 40)), max_size=4),
    st.sampled_from([AMD64, ARM64]),
)
def test_any_code_gives_addresses_or_none(
    code: bytes, places: list[tuple[int, int]], machine: str
) -> None:
    names = ["runtime.gcPaceScavenger", METHOD, "runtime.mProf_FlushLocked", "runtime.x"]
    functions = [
        GoFunction(name, CODE + start, CODE + end)
        for name, (start, end) in zip(names, places, strict=False)
    ]

    found = locate_globals(a_program(code), functions, machine)

    assert found.located
