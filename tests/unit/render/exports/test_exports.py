"""Folded stacks, speedscope and OpenMetrics, each read by somebody else's reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older_parser

from cgoleak.render.exports.folded import FoldedRenderer
from support.builders import frames
from support.reports import a_finding, a_report
from support.scenario_reports import (
    SCENARIOS,
    hostile_report,
    many_sites,
    rendered,
    scenario_report,
)

SCHEMA = Path(__file__).parents[3] / "data" / "speedscope" / "file-format-schema.json"


def folded(report):
    lines = rendered(report, "folded").decode().splitlines()
    return [tuple(line.rsplit(" ", 1)) for line in lines if line]


def metrics(report, **options):
    text = rendered(report, "openmetrics", **options).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_folded_stacks_are_root_first_and_end_in_bytes():
    report = a_report(findings=(a_finding(stack=frames("C leaf a.c:1", "Go main.f b.go:2")),))

    assert rendered(report, "folded") == b"main.f;leaf 19088744\n"


def test_a_semicolon_in_a_name_parts_no_frames():
    stack = frames("C++ f<a;b> a.cc:1", "Go main.f")

    assert folded(a_report(findings=(a_finding(stack=stack),)))[0][0] == "main.f;f<a:b>"


def test_folded_stacks_are_sorted_and_each_stands_once():
    twice = (a_finding(site="a"), a_finding(site="b"))

    [(_, size)] = folded(a_report(findings=twice))

    assert int(size) == 2 * twice[0].outstanding_bytes
    lines = [stack for stack, _ in folded(many_sites(200))]
    assert lines == sorted(set(lines))


def test_folded_stacks_of_hostile_names_are_lines_with_numbers():
    assert all(size.isdigit() and stack for stack, size in folded(hostile_report()))


@pytest.mark.parametrize("name", SCENARIOS)
def test_speedscope_files_are_valid_by_its_own_schema(name):
    schema = json.loads(SCHEMA.read_text("utf-8"))
    document = json.loads(rendered(scenario_report(name), "speedscope"))

    Draft7Validator(schema).validate(document)


@pytest.mark.parametrize("report", [hostile_report(), many_sites(0)], ids=["hostile", "empty"])
def test_speedscope_files_are_valid_whatever_is_in_them(report):
    Draft7Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(
        json.loads(rendered(report, "speedscope"))
    )


def test_speedscope_has_a_weight_for_each_stack_and_roots_first():
    report = many_sites(50)
    document = json.loads(rendered(report, "speedscope"))
    names = [frame["name"] for frame in document["shared"]["frames"]]
    for profile, unit in zip(document["profiles"], ("bytes", "none"), strict=True):
        assert profile["unit"] == unit
        assert len(profile["samples"]) == len(profile["weights"]) == 50
        assert profile["endValue"] == sum(profile["weights"])

    first = [names[place] for place in document["profiles"][0]["samples"][0]]
    assert first == [frame.function for frame in reversed(report.findings[0].stack)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_metrics_are_read_by_both_prometheus_parsers(name):
    text = rendered(scenario_report(name), "openmetrics").decode()

    assert text.endswith("# EOF\n")
    assert list(text_string_to_metric_families(text))
    assert {family.type for family in older_parser(text)} <= {"gauge", "counter", "unknown"}


def test_metrics_tell_the_cause_the_balance_and_the_top_sites():
    report = many_sites(30)
    found = metrics(report, top=4)

    assert found["cgoleak_cause", (("cause", "native-leak"),)] == 1
    assert sum(value for (name, _), value in found.items() if name == "cgoleak_cause") == 1
    for line in report.balance:
        assert found["cgoleak_balance_bytes", (("part", line.part),)] == line.now_bytes
    sites = {
        dict(labels)["site"]: value
        for (name, labels), value in found.items()
        if name == "cgoleak_outstanding_bytes"
    }
    assert len(sites) == 5
    assert sites["000000"] == report.findings[0].outstanding_bytes
    assert sites["others"] == sum(one.outstanding_bytes for one in report.findings[4:])


def test_metrics_of_hostile_names_parse():
    found = metrics(hostile_report())

    assert any("\\x1b" in dict(labels).get("part", "") for _, labels in found)


def test_an_empty_report_is_written_in_every_format():
    empty = many_sites(0)

    assert metrics(empty)["cgoleak_events_total", ()] == empty.cost.events
    assert folded(empty) == []
    assert FoldedRenderer()
