"""The walkers of probes/unwind.c: right on every layout, and harmless on stacks of any content.

The driver makes a Go process out of memory: g, m, a C stack and a goroutine's stack with
unreadable pages beside them. A read outside them ends the driver with status 3.
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

import pytest

from support.native_build import NATIVE, compile_driver, run_driver, sanitizer_flags

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the frames are those of x86-64"),
]

SEED = 20260923
FUZZ_MS = 2000

NAMES = {
    0x410040: "asmcgocall",
    0x411060: "cgocallback",
    0x412001: "goexit",
    0x413010: "cgocall",
    0x414010: "_Cfunc",
    0x415010: "main",
    0x416010: "cgocallbackg",
    0x417010: "exported",
}
INNERMOST = "asmcgocall cgocall _Cfunc"
CROSSING = "exported cgocallbackg cgocallback"
# The second goroutine's call is made from inside the first one's frames.
OUTERMOST = "c2 c1 asmcgocall cgocall _Cfunc cgocall _Cfunc main goexit"


@pytest.fixture(scope="module", params=["plain", "address,undefined"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("unwind")
    flags = sanitizer_flags(request.param, where)
    return compile_driver(NATIVE / "unwind_driver.c", where / "driver", *flags)


def stacks(said: str) -> dict[str, tuple[int, str]]:
    """Give name → flags (1: truncated, 2: gap) and the frames, leaf first, in words."""
    found = {}
    for line in said.splitlines():
        name, flags, *pcs = line.split(" ")
        found[name] = (int(flags.removeprefix("flags=")), " ".join(map(frame, pcs)))
    return found


def frame(pc: str) -> str:
    address = int(pc, 16)
    if 0x610000 <= address < 0x620000:
        return f"c{(address - 0x610000) // 0x100}"
    return NAMES.get(address, "gap" if address == 0 else pc)


@pytest.mark.parametrize("minor", [21, 22, 27])
def test_every_c_and_go_frame_is_found_through_nested_callbacks(driver: Path, minor: int) -> None:
    found = stacks(run_driver(driver, "layouts", minor))

    assert found["plain"] == (0, "c2 c1 asmcgocall cgocall _Cfunc main goexit")
    assert found["again"] == (0, OUTERMOST)
    assert found["once"] == (0, f"c4 {INNERMOST} {CROSSING} c3 {OUTERMOST}")
    assert found["twice"] == (
        0,
        f"c7 c6 {INNERMOST} {CROSSING} c5 c4 {INNERMOST} {CROSSING} c3 {OUTERMOST}",
    )


@pytest.mark.parametrize("minor", [19, 20])
def test_up_to_go_1_20_the_chain_begins_one_frame_further_out(driver: Path, minor: int) -> None:
    found = stacks(run_driver(driver, "layouts", minor))

    assert found["plain"] == (0, "c2 c1 asmcgocall _Cfunc main goexit")
    assert found["once"] == (
        0,
        f"c4 asmcgocall _Cfunc {CROSSING} c3 c2 c1 asmcgocall _Cfunc _Cfunc main goexit",
    )


@pytest.mark.parametrize("minor", [20, 21, 27])
def test_what_a_callback_leaves_behind_does_not_shorten_the_stack(driver: Path, minor: int) -> None:
    """Go gives the goroutine its stack pointer back and not its frame pointer."""
    found = stacks(run_driver(driver, "layouts", minor))

    assert found["back"] == (0, found["once"][1].replace("c4 ", "c5 c4 ", 1))


def test_a_place_that_is_come_to_in_many_ways_by_turns_is_walked_once_for_each(
    driver: Path,
) -> None:
    said = run_driver(driver, "turns").splitlines()

    assert said == ["turn0 walks=7", "turn1 walks=0", "afterwards walks=0"]


def test_outside_a_cgo_call_no_goroutine_is_guessed(driver: Path) -> None:
    found = stacks(run_driver(driver, "layouts", 22))

    assert found["not-in-cgo"] == (1, "c5")
    assert found["back-in-c"] == (1, "c5")


@pytest.mark.parametrize("damage", ["backwards", "cycle", "garbage", "at-the-end"])
def test_a_broken_frame_pointer_ends_the_chain_and_says_so(driver: Path, damage: str) -> None:
    assert stacks(run_driver(driver, "damage"))[damage] == (1, "c2 c1 asmcgocall cgocall")


@pytest.mark.parametrize("damage", ["outside", "unaligned"])
def test_a_chain_that_begins_nowhere_leaves_the_c_part(driver: Path, damage: str) -> None:
    assert stacks(run_driver(driver, "damage"))[damage] == (1, "c2 c1 asmcgocall")


@pytest.mark.parametrize("damage", ["no-rule", "too-far", "downwards"])
def test_where_c_cannot_be_unwound_a_gap_stands_and_go_goes_on(driver: Path, damage: str) -> None:
    expected = "c2 c1 gap cgocall _Cfunc main goexit"

    assert stacks(run_driver(driver, "damage"))[damage] == (2, expected)


def test_of_a_deep_recursion_in_c_both_ends_are_kept(driver: Path) -> None:
    flags, frames = stacks(run_driver(driver, "damage"))["deep"]

    assert flags == 2
    assert frames.startswith("c15 c14 c13 ")
    assert frames.endswith(" gap cgocall _Cfunc main goexit")


def test_a_thread_of_c_is_followed_as_far_as_its_stack_is_readable(driver: Path) -> None:
    found = stacks(run_driver(driver, "c-thread"))

    assert found["pthread"] == (0, "c2 c1 c60")
    assert found["island"] == (1, "c1")
    assert found["island-edge"] == (1, "c1")


def test_stacks_of_any_content_are_read_within_their_bounds_and_in_bounded_time(
    driver: Path,
) -> None:
    print(f"seed {SEED}")  # noqa: T201 - seen when it fails
    said = run_driver(driver, "fuzz", FUZZ_MS, SEED)

    numbers = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", said)}
    assert numbers["rounds"] > 1000
    assert numbers["deep"] > numbers["rounds"] // 10
    # Two walks; in the thread's own time, but the machine is shared: a thousand times the usual.
    assert numbers["slowest_us"] < 200_000
