"""Sampling in the probe's own code: what is estimated has the truth as its mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import pytest

from cgoleak.ledger.estimate import interval
from support.native_build import (
    NATIVE,
    compile_driver,
    compile_emulated,
    run_driver,
    sanitizer_flags,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.native

SEEDS = 600
RATE = 4096
SITES = {0: "blocks far below the rate", 1: "up to the rate", 2: "above it"}


@dataclass(frozen=True, slots=True)
class Line:
    """One site after one seed: what there was, and what the probe's tables say."""

    site: int
    blocks: int
    bytes: int
    estimated_blocks: float
    estimated_bytes: int
    blocks_error: float
    bytes_error: float
    born: int
    born_bytes: int
    estimated_born: float
    estimated_born_bytes: int
    samples: int

    @classmethod
    def read(cls, text: str) -> Line:
        words = text.split()[1:]
        places = {3, 5, 6, 9}
        return cls(*(float(w) if at in places else int(w) for at, w in enumerate(words)))  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["plain", "address,undefined", "thread", "aarch64"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("sampling")
    if request.param == "aarch64":
        return compile_emulated(NATIVE / "sample_driver.c", where / "driver")
    flags = sanitizer_flags(request.param, where)
    return compile_driver(NATIVE / "sample_driver.c", where / "driver", *flags)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("sampling")
    return compile_driver(NATIVE / "sample_driver.c", where / "driver")


@pytest.fixture(
    scope="module",
    params=["from the start", "after every block was followed", "with rare ones for sure"],
)
def lines(request: pytest.FixtureRequest, plain: Path) -> dict[int, list[Line]]:
    later = int(request.param != "from the start")
    rare = 200 if "rare" in request.param else 0
    said = run_driver(plain, "estimates", SEEDS, RATE, later, rare, timeout=300)
    read = [Line.read(line) for line in said.splitlines()]
    assert len(read) == SEEDS * len(SITES)
    return {site: [one for one in read if one.site == site] for site in SITES}


def test_weights_and_draws_are_those_of_the_mathematics(driver: Path) -> None:
    assert "weights are off by" in run_driver(driver, "numbers", timeout=300)


def test_every_event_is_counted_once_and_every_sample_is_found_again(driver: Path) -> None:
    for later in (0, 1):
        for rare in (0, 200):
            run_driver(driver, "estimates", 10, RATE, later, rare)


def test_among_many_threads_no_free_is_missed_when_the_rate_changes(driver: Path) -> None:
    assert "sampled=" in run_driver(driver, "threads", 4)


@pytest.mark.parametrize(
    ("truth", "estimate"),
    [
        (lambda one: one.blocks, lambda one: one.estimated_blocks),
        (lambda one: one.bytes, lambda one: one.estimated_bytes),
        (lambda one: one.born, lambda one: one.estimated_born),
        (lambda one: one.born_bytes, lambda one: one.estimated_born_bytes),
    ],
    ids=["outstanding blocks", "outstanding bytes", "born blocks", "born bytes"],
)
def test_the_mean_of_the_estimates_is_the_truth(
    lines: dict[int, list[Line]],
    truth: Callable[[Line], float],
    estimate: Callable[[Line], float],
) -> None:
    for site, name in SITES.items():
        off = [estimate(one) - truth(one) for one in lines[site]]
        # Four standard errors: one in 16,000; there are 36 of these, and the seeds are fixed.
        assert abs(fmean(off)) <= 4 * stdev(off) / math.sqrt(len(off)), name


def test_the_standard_errors_are_those_that_the_estimates_have(
    lines: dict[int, list[Line]],
) -> None:
    for site, name in SITES.items():
        seen = stdev(one.estimated_bytes - one.bytes for one in lines[site])
        said = math.sqrt(fmean(one.bytes_error**2 for one in lines[site]))
        assert said == pytest.approx(seen, rel=0.15), name


def test_the_interval_holds_the_truth_as_often_as_it_says(lines: dict[int, list[Line]]) -> None:
    for site, name in SITES.items():
        within = 0
        for one in lines[site]:
            low, high = interval(one.estimated_bytes, round(one.bytes_error))
            within += low <= one.bytes <= high
        # 95 % is meant; few large blocks of different sizes are not quite a Poisson number.
        assert within / len(lines[site]) > 0.90, name
