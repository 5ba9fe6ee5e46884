"""Every scenario of the sample as it was once measured, sealed in ``tests/data/captures``.

``make scenarios`` records them anew, ``python -m support.neutral ../out/scenarios`` seals them.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from cgoleak.capture import open_capture
from cgoleak.model.report import Cause
from cgoleak.pipeline import analyse
from scenarios_table import table, totals
from support.first_screen import QUESTIONS, answers_on, missing
from support.handback import hand_back_of, story
from support.neutral import CAPTURES, LARGEST_BYTES, machine_paths, unpacked
from support.said_texts import english_left
from support.sample import scenarios
from support.scenario_reports import rendered
from support.scenario_truth import compared, judged

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.model.capture import Capture
    from support.sample import Scenario
    from support.scenario_truth import Compared

SCENARIOS = {one.name: one for one in scenarios()}
TYPES = {"unsigned long"}
"""In names of C++ functions."""
BAR = "bar-watched"
"""Half a minute of load and five of silence, watched from outside; see ``support.handback``."""


def as_measured(scenario: Scenario, folder: Path) -> Compared:
    return compared(scenario, judged(unpacked(scenario.name, folder)))


@pytest.fixture
def bar(tmp_path: Path) -> Capture:
    return open_capture(unpacked(BAR, tmp_path))


@pytest.mark.parametrize("name", SCENARIOS)
def test_cause_verdicts_and_sheet_are_those_of_the_truth(name: str, tmp_path: Path) -> None:
    row = as_measured(SCENARIOS[name], tmp_path)

    assert row.differences == (), "\n".join(table([row]))


def test_precision_and_recall_of_causes_and_of_leaks_are_whole(tmp_path: Path) -> None:
    lines = totals([as_measured(one, tmp_path) for one in SCENARIOS.values()])

    assert f"causes in all             {len(SCENARIOS)} of {len(SCENARIOS)} are right" in lines
    assert all("100 %" in line and " 0 %" not in line for line in lines if "precision" in line)


def test_what_is_not_as_it_ought_to_be_is_said(tmp_path: Path) -> None:
    """A leak is no truth of ``clean``, nor is the leak of ``c-leak`` one of ``cpp-leak``."""
    leak = judged(unpacked("c-leak", tmp_path))

    assert "histogram_new is called a leak" in compared(SCENARIOS["clean"], leak).differences
    assert compared(SCENARIOS["cpp-leak"], leak).missed == 2


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_first_screen_answers_five_questions_as_the_truth_has_it(
    name: str, tmp_path: Path
) -> None:
    report = analyse(open_capture(unpacked(name, tmp_path)))
    screen = rendered(report, "terminal", width=80).decode().splitlines()[:24]

    assert missing(SCENARIOS[name], answers_on(screen)) == [], "\n".join(screen)


def test_an_answer_that_is_wrong_or_below_the_screen_is_told(tmp_path: Path) -> None:
    report = analyse(open_capture(unpacked("c-leak", tmp_path)))
    screen = rendered(report, "terminal", width=80).decode().splitlines()
    whole = answers_on(screen)
    elsewhere = {**whole, "which line?": "histogram_new (strbuf.c:10)"}

    assert [*whole] == [*QUESTIONS]
    assert missing(SCENARIOS["c-leak"], answers_on(screen[:9])) == [
        f"no answer: {one}" for one in QUESTIONS[2:]
    ]
    assert missing(SCENARIOS["cpp-leak"], whole) == [
        f"the other leaks: {whole['which line?']}",
        f"line: {whole['which line?']}",
    ]
    assert missing(SCENARIOS["clean"], whole) != []
    assert "line: histogram_new (strbuf.c:10)" in missing(SCENARIOS["c-leak"], elsewhere)


def test_a_go_heap_leak_names_the_go_function_that_keeps_it(tmp_path: Path) -> None:
    report = judged(unpacked("go-heap-leak", tmp_path))

    first, *_ = report["go_sites"]
    assert [first["function"]] == list(SCENARIOS["go-heap-leak"].go_functions)
    assert first["file"].endswith("cmd/worker/scenario.go")
    assert first["line"] > 0
    assert first["change_bytes"] > sum(one["change_bytes"] for one in report["go_sites"][1:])


def test_the_classic_burst_is_called_memory_that_comes_back(bar: Capture) -> None:
    report = analyse(bar)

    assert report.cause is Cause.GO_RETAINED, report.summary
    assert "hands back late" in report.summary
    assert "has come back" in report.summary


def test_the_forecast_of_the_classic_burst_came_true(bar: Capture) -> None:
    found = hand_back_of(bar)
    forecast = found.found.forecast

    assert found.peak.rss > 8 * found.before.rss
    assert found.returned_bytes == pytest.approx(forecast.returning_bytes, rel=0.15)
    assert forecast.within_seconds is not None
    low, high = forecast.within_seconds
    assert low <= found.seconds <= high


def test_what_is_foretold_before_the_collection_is_a_part_of_what_comes_and_in_time(
    bar: Capture,
) -> None:
    """Garbage that Go has not found yet cannot be known; the forecast says that it is missing."""
    found = hand_back_of(bar)
    forecast = found.quiet.forecast

    assert 0 < forecast.returning_bytes <= found.returned_bytes
    assert "On top comes" in forecast.why
    assert forecast.within_seconds is not None
    low, high = forecast.within_seconds
    assert low <= found.done.at_s - found.quiet.at_s <= high


def test_the_story_of_the_burst_is_a_table_of_its_moments(bar: Capture) -> None:
    lines = story(hand_back_of(bar))

    assert len(lines) == 7
    assert all(line.count("|") == 6 for line in lines)
    assert "Go collects" in lines[5]


@pytest.mark.parametrize("name", [*SCENARIOS, BAR])
def test_captures_are_small_and_could_be_from_any_machine(name: str, tmp_path: Path) -> None:
    assert (CAPTURES / f"{name}.cgoleak.gz").stat().st_size <= LARGEST_BYTES
    assert machine_paths(open_capture(unpacked(name, tmp_path))) == set()


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_people_read_of_it_in_chinese_is_chinese(name: str, tmp_path: Path) -> None:
    report = analyse(open_capture(unpacked(name, tmp_path)))
    text = rendered(report, "terminal", lang="zh", top=100).decode()
    page = rendered(report, "html", lang="zh", top=100).decode()
    shown = unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL))

    left = [run for line in (text + shown).splitlines() for run in english_left(line)]

    assert [run for run in left if run not in TYPES] == []
