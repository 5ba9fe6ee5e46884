"""The walker with everything hostile at once: registers, both stacks, .eh_frame behind the cache.

The driver checks each read against the bytes that may be read, counts the reads of each walk
against what the limits allow, and has unreadable pages beside the stacks and the tables. Its
rounds depend on the seed alone: what fails once fails again.
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

SEEDS = (20261123, 4, 3_000_001)
SHORT = {"plain": 100_000, "address,undefined": 40_000}
LONG = {"plain": 2_000_000, "address,undefined": 500_000}


@pytest.fixture(scope="module", params=SHORT)
def driver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    where = tmp_path_factory.mktemp("hostile")
    flags = sanitizer_flags(request.param, where)
    return request.param, compile_driver(NATIVE / "hostile_driver.c", where / "driver", *flags)


def fuzz(program: Path, seed: int, rounds: int) -> dict[str, int]:
    said = run_driver(program, seed, rounds, timeout=400)
    print(said)  # noqa: T201 - the seed, where this fails; the numbers, under -s
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", said)}


def check(met: dict[str, int], rounds: int) -> None:
    """A fuzz that meets nothing shows nothing."""
    assert met["rounds"] == rounds
    assert met["deep"] > rounds // 2, "most walks must get beyond their first frames"
    assert met["whole"] > rounds // 200, "some stacks must be whole in spite of all"
    assert met["rules"] > rounds // 2, "the tables must be asked"
    assert met["torn"] > rounds // 20, "tables whose pages are gone must be met"
    assert met["most_words"] > 512, "some walks must go as far as they may"


@pytest.mark.parametrize("seed", SEEDS)
def test_hostile_stacks_and_tables_are_read_within_their_bounds_and_in_bounded_steps(
    driver: tuple[str, Path], seed: int
) -> None:
    kind, program = driver

    check(fuzz(program, seed, SHORT[kind]), SHORT[kind])


@pytest.mark.slow
def test_hostile_stacks_and_tables_are_read_within_their_bounds_for_minutes(
    driver: tuple[str, Path],
) -> None:
    kind, program = driver

    check(fuzz(program, SEEDS[0] + 1, LONG[kind]), LONG[kind])
