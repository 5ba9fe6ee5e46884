"""JSON reports are read back, and nothing but a report is."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import is_dataclass, replace
from enum import Enum
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.errors import CgoleakError, NewerCapture, NotACapture
from cgoleak.model import capture, frames, gate, goprofile, handles, ids, notice
from cgoleak.model import report as report_model
from cgoleak.model.gate import Gate, Level, Violation
from cgoleak.model.ids import SiteKey
from cgoleak.model.report import Report
from cgoleak.render.contract.reading import read_report
from support.reports import a_report
from support.scenario_reports import SCENARIOS, many_sites, rendered, scenario_report


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_report_of_a_scenario_survives_the_round_trip(name):
    report = scenario_report(name)

    assert read_report(rendered(report, "json"), "x") == report


NAMES = {
    name: value
    for module in (capture, frames, gate, goprofile, handles, ids, notice, report_model)
    for name, value in vars(module).items()
}


def filled(kind):
    """Return a value with something other than the default in every field, later ones too."""
    if get_origin(kind) is UnionType:
        return filled(next(arm for arm in get_args(kind) if arm is not NoneType))
    if get_origin(kind) is tuple:
        return tuple(filled(item) for item in get_args(kind) if item is not Ellipsis)
    kind = getattr(kind, "__supertype__", kind)
    if is_dataclass(kind) or issubclass(kind, tuple):
        hints = get_type_hints(kind, localns=NAMES)
        return kind(**{name: filled(hint) for name, hint in hints.items()})
    if issubclass(kind, Enum):
        return list(kind)[-1]
    return {bool: True, int: 7, float: 2.5, str: "x"}[kind]


def test_no_field_is_lost_on_the_way():
    report = filled(Report)

    assert read_report(rendered(report, "json"), "x") == report


@pytest.mark.parametrize("report", [a_report(), many_sites(20)], ids=["made", "many"])
def test_a_made_report_survives_the_round_trip(report):
    assert read_report(rendered(report, "json"), "x") == report


def test_the_decision_of_the_gate_survives_the_round_trip():
    violation = Violation(SiteKey("a3f1c2"), Level.ERROR, "over", "new", 12.5)
    gate = Gate(
        passed=False,
        program="worker",
        policy="cgoleak.toml",
        summary="1 site over",
        violations=(violation,),
        iterations=20,
        tolerated=(SiteKey("1c9e04"),),
        unused_suppressions=("leak:x",),
        stale_baseline=(SiteKey("77b0de"),),
        compared=True,
    )
    report = replace(a_report(), gate=gate)

    assert read_report(rendered(report, "json"), "x") == report


def test_what_a_later_version_adds_is_passed_over():
    document = json.loads(rendered(a_report(), "json"))
    document["later"] = {"a": 1}
    document["findings"][0]["later"] = [1]

    assert read_report(json.dumps(document).encode(), "x") == a_report()


def test_what_an_older_version_did_not_have_is_left_empty():
    document = json.loads(rendered(a_report(), "json"))
    for name in ("timeline", "history_seconds", "modules", "go_sites"):
        del document[name]

    assert read_report(json.dumps(document).encode(), "x").timeline is None


@pytest.mark.parametrize(
    ("part", "field"), [("stack", "inlined"), ("stack", "lang"), ("families", "created")]
)
def test_what_every_report_has_must_be_there(part, field):
    document = json.loads(rendered(filled(Report), "json"))
    place = document["findings"][0] if part == "stack" else document
    del place[part][0][field]

    with pytest.raises(NotACapture, match="not a whole report"):
        read_report(json.dumps(document).encode(), "x.json")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"1", b"{}", b'{"schema": 1}', b"\xff\xfe", b"[" * 100_000]
)
def test_anything_else_is_no_report(content):
    with pytest.raises(NotACapture):
        read_report(content, "x.json")


def test_a_later_major_version_is_told_as_such():
    with pytest.raises(NewerCapture):
        read_report(b'{"schema": "cgoleak.report/2"}', "x.json")


def paths_in(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from paths_in(item, (*path, key))


DOCUMENT = json.loads(rendered(a_report(), "json"))
PATHS = sorted(paths_in(DOCUMENT), key=str)


@given(st.sampled_from(PATHS), st.sampled_from([None, -1, "x", [], {}, True, 1.5, 10**400]))
def test_a_report_with_something_else_in_it_is_read_or_refused(path, value):
    document = json.loads(json.dumps(DOCUMENT))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    with suppress(CgoleakError):
        read_report(json.dumps(document).encode(), "x.json")
