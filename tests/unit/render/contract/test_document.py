"""The JSON report keeps its contract."""

from __future__ import annotations

import io
import json
import math
from dataclasses import fields

import pytest
from jsonschema import Draft202012Validator, ValidationError

from cgoleak.model.capture import Target
from cgoleak.model.frames import Frame
from cgoleak.model.notice import Notice
from cgoleak.model.report import (
    BalanceLine,
    Cause,
    Finding,
    GoReturn,
    Report,
    ReportCost,
    ReportWindow,
    Restart,
    Verdict,
)
from cgoleak.render.contract.document import JsonRenderer, report_document, schema_text
from support.reports import MIB, a_finding, a_report

CONTRACT = {
    "target": {"pid", "exe", "go_version", "libc", "allocator", "arch", "stripped"},
    "window": {"seconds", "snapshots", "gc_cycles", "mode"},
    "balance": {"part", "start_bytes", "now_bytes", "change_bytes", "source"},
    "go_return": {"held_bytes", "returning_bytes", "buffer_bytes", "within_seconds", "why"},
    "restarts": {"at", "old_pid", "new_pid", "reason", "rss_before_bytes", "rss_after_bytes"},
    "findings": {
        "site",
        "verdict",
        "outstanding_bytes",
        "outstanding_blocks",
        "growth_bytes_per_second",
        "oldest_seconds",
        "stack",
        "evidence",
        "advice",
        "suppression",
    },
    "cost": {
        "pause_seconds",
        "target_bytes",
        "events",
        "dropped",
        "unmatched_frees",
        "ns_per_event",
    },
    "notices": {"code", "text", "fix"},
}
FRAME = {"lang", "function", "file", "line", "module", "inlined"}

A_RESTART = Restart(12.5, 1, 2, "killed by the OOM killer", 800 * MIB, 40 * MIB)


def written(report):
    out = io.BytesIO()
    JsonRenderer().render(report, out)
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def schema():
    document = json.loads(schema_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def test_all_fields_of_the_contract_are_there():
    document = written(a_report(restarts=(A_RESTART,)))

    assert document["schema"] == "cgoleak.report/1"
    assert {"cause", "summary"} <= document.keys()
    for part, names in CONTRACT.items():
        value = document[part][0] if isinstance(document[part], list) else document[part]
        assert names <= value.keys(), part
    assert document["findings"][0]["stack"][0].keys() >= FRAME


@pytest.mark.parametrize(
    ("part", "model"),
    [
        ("target", Target),
        ("window", ReportWindow),
        ("balance", BalanceLine),
        ("go_return", GoReturn),
        ("restarts", Restart),
        ("findings", Finding),
        ("cost", ReportCost),
        ("notices", Notice),
    ],
)
def test_the_schema_describes_every_field_of_the_model(schema, part, model):
    described = schema.schema["properties"][part]
    described = described.get("items", described)

    assert {field.name for field in fields(model)} == described["properties"].keys()


def test_the_schema_describes_the_report_and_its_frames(schema):
    properties = schema.schema["properties"]
    frame = properties["findings"]["items"]["properties"]["stack"]["items"]

    assert {field.name for field in fields(Report)} | {"schema"} == properties.keys()
    assert set(Frame._fields) == frame["properties"].keys()


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_valid(schema, cause):
    schema.validate(written(a_report(cause=cause, findings=())))


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_valid(schema, verdict):
    schema.validate(written(a_report(findings=(a_finding(verdict),), restarts=(A_RESTART,))))


def test_the_schema_refuses_a_byte_count_that_is_no_integer(schema):
    document = written(a_report())
    document["findings"][0]["outstanding_bytes"] = 1.5

    with pytest.raises(ValidationError):
        schema.validate(document)


def test_the_schema_allows_fields_that_a_later_version_adds(schema):
    schema.validate(written(a_report()) | {"later": 1})


def test_columns_of_numbers_are_written_on_one_line_and_text_is_left_alone():
    history = (0, 1, -2)
    out = io.BytesIO()
    tricky = "[\n  1,\n  2\n]"
    JsonRenderer().render(
        a_report(findings=(a_finding(history=history, advice=tricky),), summary=tricky), out
    )
    text = out.getvalue().decode()

    assert '"history_bytes": [0, 1, -2]' in text
    assert json.loads(text)["summary"] == tricky
    assert json.loads(text)["findings"][0]["history_bytes"] == [0, 1, -2]


def test_byte_counts_are_integers():
    def counts(value):
        if isinstance(value, dict):
            for key, item in value.items():
                if key.endswith("_bytes") and item is not None:
                    yield from item if isinstance(item, list) else [item]
                yield from counts(item)
        elif isinstance(value, list):
            for item in value:
                yield from counts(item)

    found = list(counts(written(a_report())))

    assert found
    assert all(type(count) is int for count in found)


def test_numbers_that_are_not_finite_become_null(schema):
    document = written(a_report(findings=(a_finding(growth=math.nan, oldest_seconds=math.inf),)))

    assert document["findings"][0]["growth_bytes_per_second"] is None
    schema.validate(document)


def test_names_that_are_not_utf8_still_give_valid_json():
    document = written(a_report(exe="/srv/\udcff\x1b[2J"))

    assert document["target"]["exe"] == "/srv/?\x1b[2J"


def test_a_report_without_go_return_says_null():
    report = report_document(Report(**{**_fields(a_report()), "go_return": None}))

    assert report["go_return"] is None


def _fields(report):
    return {field.name: getattr(report, field.name) for field in fields(report)}
