"""The five answers: what a first reader takes away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgoleak.model.goprofile import GoSiteGrowth
from cgoleak.model.report import Cause
from cgoleak.render.answers import answers_to, finding_to_blame
from support.reports import a_report
from support.scenario_reports import SCENARIOS, many_sites, scenario_report


def told(report):
    return {one.name: f"{one.text} {one.detail}".strip() for one in answers_to(report)}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_five_answers(name):
    answers = answers_to(scenario_report(name))

    assert [one.name for one in answers] == ["leak", "speed", "line", "return", "do"]
    assert all(one.text and one.question.endswith("?") for one in answers)


def test_a_leak_is_told_with_its_rate_its_line_and_what_to_do():
    answers = told(scenario_report("c-leak"))

    assert answers["leak"] == "Yes. C memory accumulates and is not freed."
    assert answers["speed"].startswith("200 KiB/s 16.5 GiB a day")
    assert answers["line"].startswith("histogram_new (histogram.c:15) ← ")
    assert "5.9 MiB of C memory stays" in answers["return"]
    assert "have it freed there" in answers["do"]


def test_a_leak_beside_something_larger_comes_first():
    answers = told(scenario_report("held-and-leak"))

    assert answers["leak"].startswith("Yes, in part: C memory accumulates at 1 site. ")
    assert "waits for Go's finalizers" in answers["leak"]
    assert "histogram_new" in answers["line"]
    assert "of C memory after a GC" in answers["return"]


@pytest.mark.parametrize(
    "name", ["clean", "cache-fills", "go-burst", "arena-retained", "finalizer-held"]
)
def test_what_only_looks_like_a_leak_is_told_as_none(name):
    assert told(scenario_report(name))["leak"].startswith("No. ")


def test_what_go_will_hand_back_is_told_with_its_time():
    assert "244 MiB of Go's heap, within 75.7 s." in told(scenario_report("go-burst"))["return"]


def test_a_go_heap_that_grows_is_told_with_its_go_function():
    report = scenario_report("go-heap-leak")
    grown = GoSiteGrowth("main.(*worker).remember", "/src/worker/handlers.go", 88, 9, 8, ())

    assert "pprof" in told(report)["do"]
    assert told(report)["line"] == "In Go code: its heap profile names it."
    with_profile = told(replace(report, go_sites=(grown,)))
    assert with_profile["line"] == "main.(*worker).remember worker/handlers.go:88"


def test_a_restart_tells_how_fast_it_grew_before():
    answers = told(scenario_report("restart"))

    assert "MiB/s before each restart" in answers["speed"]
    assert answers["line"] == "Not looked for: watched from outside, without hooks."


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("findings", [(), None])
def test_there_is_an_answer_whatever_the_cause(cause, findings):
    assert all(told(a_report(cause=cause, findings=findings)).values())


def test_a_leak_is_blamed_before_all_others():
    assert finding_to_blame(many_sites(100)).verdict == "native-leak"
    assert finding_to_blame(scenario_report("finalizer-held")).verdict == "go-held"
    assert finding_to_blame(scenario_report("cache-fills")) is None
