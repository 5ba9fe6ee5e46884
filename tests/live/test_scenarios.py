"""Every scenario of the sample, measured as users do, against what the sample says of itself."""

from __future__ import annotations

import json
import os
from functools import partial

import jsonschema
import pytest

from cgoleak.render.contract.document import schema_text
from support.findings import findings_at, leaks, reported, without_lines
from support.go_programs import missing_tools
from support.sample import Scenario, scenarios
from support.scenario_runs import Measured, Runs, measure

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

SHORT_S = 15
"""A leak shows in less than its whole window; what only looks like one needs all of it."""
OUTERMOST_OF_C = {"clone3", "__clone3", "clone", "__clone", "start_thread"}
NOT_CLEAN = {"probe.slots-changed", "probe.code-changed", "probe.not-gone"}


def chosen() -> list[Scenario]:
    full = os.environ.get("CGOLEAK_LIVE") == "full"
    return [one for one in scenarios() if full or one.short]


@pytest.fixture(scope="module")
def runs(request, sample, tmp_path_factory, is_full):
    """Begin all scenarios that this session asks for, the longest first."""
    wanted = {
        item.callspec.params["scenario"].name: item.callspec.params["scenario"]
        for item in request.session.items
        if item.path == request.path and "scenario" in getattr(item, "callspec", item).params
    }
    folder = tmp_path_factory.mktemp("scenarios")
    runs = Runs()
    for one in sorted(wanted.values(), key=lambda scenario: -scenario.seconds):
        hurried = one.leaking and not is_full
        run = partial(
            measure,
            one,
            sample,
            folder / one.name,
            seconds=SHORT_S if hurried else one.seconds,
            interval=1 if hurried else None,
            flags=("-event-delay", "500ms") if hurried else (),
        )
        runs.begin(one.name, run)
    yield runs
    runs.close()


@pytest.fixture
def measured(runs, scenario) -> Measured:
    return runs.result(scenario.name)


each_scenario = pytest.mark.parametrize("scenario", chosen(), ids=lambda one: one.name)


@each_scenario
def test_the_leaking_sites_and_no_others_are_called_leaks(scenario, measured):
    report = measured.report
    expected: set[str] = set()
    for site in scenario.leaking:
        found = findings_at(report, site)
        expected.update(one["site"] for one in found)
        if scenario.cause == "native-leak":
            assert found, f"{site.counter} is not found in\n{reported(report)}"
            assert {one["verdict"] for one in found} == {"native-leak"}, reported(report)

    others = [one for one in leaks(report) if one["site"] not in expected]
    assert not others, reported(report)


@pytest.mark.parametrize(
    "scenario", [one for one in chosen() if one.leaking], ids=lambda one: one.name
)
def test_stacks_of_leaks_are_whole_and_have_lines(scenario, measured):
    """From the allocating function to where the thread or goroutine began, callbacks included."""
    for site in scenario.leaking:
        for one in findings_at(measured.report, site):
            assert without_lines(one) == [], reported(measured.report)
            assert "unknown" not in {f["lang"] for f in one["stack"]}, reported(measured.report)
            last = one["stack"][-1]["function"]
            outermost = {"runtime.goexit"} if site.go_function else OUTERMOST_OF_C
            assert last in outermost, reported(measured.report)


@each_scenario
def test_the_report_is_valid_and_the_status_is_0(scenario, measured):
    assert measured.status == 0, measured.stderr
    jsonschema.validate(measured.report, json.loads(schema_text()))
    assert "Traceback" not in measured.stderr


@each_scenario
def test_the_capture_tells_the_same_without_the_process(scenario, measured):
    assert measured.told_again == measured.report


@each_scenario
def test_the_worker_serves_on_as_it_was_before(scenario, measured):
    notices = {notice["code"] for notice in measured.report["notices"]}

    assert measured.answered
    assert measured.still_hooked == []
    assert not notices & NOT_CLEAN, measured.report["notices"]
    if not scenario.supervised:  # that one is meant to die, with requests in its hands
        assert measured.failed_requests == 0
