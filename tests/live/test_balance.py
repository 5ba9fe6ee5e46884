"""The balance sheet of real workers: it adds up, and next to nothing is left unexplained."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from support.findings import leaks
from support.go_programs import missing_tools
from support.sample import scenarios
from support.scenario_runs import Runs, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

MIB: Final = 1 << 20
SECONDS: Final = 10
GROWS: Final = {
    "clean": {},
    "c-leak": {"native outstanding": 1},
    "mmap-leak": {"native outstanding": 4},
    "arena-retained": {"allocator slack": 100},
    "go-heap-leak": {"Go heap in use": 3},
    "file-map": {"other files, shared": 50},
}
"""Scenario → the line that grows beyond warming up, and by how many MiB at least."""
WARMING_UP: Final = 12 * MIB


@pytest.fixture(scope="module")
def runs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    pool = Runs()
    for one in scenarios():
        if one.name in GROWS:
            folder = tmp_path_factory.mktemp(one.name)
            pool.begin(one.name, partial(measure, one, sample, folder, seconds=SECONDS))
    yield pool
    pool.close()


@pytest.fixture(params=GROWS)
def scenario(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def lines(scenario: str, runs: Runs) -> dict[str, Any]:
    measured = runs.result(scenario)
    assert measured.status == 0, measured.stderr
    return {line["part"]: line for line in measured.report["balance"]}


def test_the_lines_add_up_to_rss(lines: dict[str, Any]) -> None:
    rss = lines.pop("RSS")

    assert sum(line["now_bytes"] for line in lines.values()) == rss["now_bytes"]
    assert sum(line["start_bytes"] for line in lines.values()) == rss["start_bytes"]


def test_next_to_nothing_is_unexplained(lines: dict[str, Any]) -> None:
    left, rss = lines["unexplained"]["now_bytes"], lines["RSS"]["now_bytes"]

    assert abs(left) <= max(4 * MIB, rss // 20)


def test_a_leaked_mapping_is_to_be_unmapped_and_a_leaked_block_to_be_freed(runs: Runs) -> None:
    mapped, allocated = (leaks(runs.result(one).report)[0] for one in ("mmap-leak", "c-leak"))

    assert "munmap" in mapped["advice"]
    assert "free" in allocated["advice"]
    assert "munmap" not in allocated["advice"]


def test_growth_is_in_the_line_of_its_cause(scenario: str, lines: dict[str, Any]) -> None:
    del lines["RSS"]
    expected = GROWS[scenario]

    for part, line in lines.items():
        if part in expected:
            assert line["change_bytes"] >= expected[part] * MIB
        else:
            assert line["change_bytes"] < WARMING_UP, part
