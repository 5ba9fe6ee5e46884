"""A Go heap that grows: its own profile, read from outside, names the Go line if there is one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.findings import leaks, reported
from support.go_programs import go_commands, missing_tools
from support.sample import build_sample, scenarios
from support.scenario_runs import Measured, Runs, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

SECONDS = 12


@pytest.fixture(scope="module")
def runs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Measure both at once: as services are usually built, and without Go's profiles."""
    folder = tmp_path_factory.mktemp("go-heap")
    pool = Runs()
    pool.begin("profile", partial(grow, sample, folder / "usual"))
    pool.begin("no profile", partial(build_and_grow, folder / "bare"))
    yield pool
    pool.close()


def grow(programs: Path, folder: Path) -> Measured:
    scenario = next(one for one in scenarios() if one.name == "go-heap-leak")
    faster = replace(scenario, load=scenario.load | {"rate": 100})
    return measure(faster, programs, folder, seconds=SECONDS)


def build_and_grow(folder: Path) -> Measured:
    programs = build_sample(folder / "programs", go_commands()[0], "-tags", "nopprof")
    return grow(programs, folder / "run")


def report_of(measured: Measured) -> dict[str, Any]:
    assert measured.status == 0, measured.stderr
    assert measured.report["cause"] == "go-heap", reported(measured.report)
    assert leaks(measured.report) == []
    return measured.report


def test_the_function_that_keeps_the_memory_is_named_with_its_line(runs: Runs) -> None:
    report = report_of(runs.result("profile"))

    first = report["go_sites"][0]
    assert first["function"] == "main.(*worker).remember"
    assert first["file"].endswith("cmd/worker/scenario.go")
    assert first["line"] > 0
    grown = next(line for line in report["balance"] if line["part"] == "Go heap in use")
    # Sampled at one object in 512 KiB, and as of the last collection.
    assert first["change_bytes"] > grown["change_bytes"] / 3
    assert "go.no-heap-profile" not in {notice["code"] for notice in report["notices"]}


def test_a_program_that_keeps_no_profile_has_none_and_the_report_says_so(runs: Runs) -> None:
    report = report_of(runs.result("no profile"))

    assert report["go_sites"] == []
    said = next(one for one in report["notices"] if one["code"] == "go.no-heap-profile")
    assert "not available" in said["text"]
    assert "runtime/pprof" in said["fix"]
