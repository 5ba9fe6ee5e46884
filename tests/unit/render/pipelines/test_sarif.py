"""SARIF 2.1.0: what code scanning needs, whatever the names are.

The schema of OASIS is not ours to ship. ``CGOLEAK_SARIF_SCHEMA`` names a copy, and every document
is held against it then; without one, against the parts of it that we use, written down below.
Packages for SARIF carry classes made from it, not the schema itself: sarif-om, sarif-tools,
sarif-pydantic, check-jsonschema (Python) and node-sarif-builder were looked through.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cgoleak.render.pipelines.sarif import SarifRenderer
from cgoleak.render.pipelines.sources import SourceTree
from cgoleak.verdict.baseline import Baseline
from cgoleak.verdict.limits import Limits
from support.builders import frames
from support.gates import checked, hostile_report
from support.reports import a_finding, a_report

TREE = SourceTree("/src/thumbnailer", (("example.org/thumbnailer", "."),))

TEXT = {"type": "string", "minLength": 1}
MESSAGE = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {"text": TEXT},
}
LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer", "minimum": -1},
        "message": MESSAGE,
        "logicalLocations": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"fullyQualifiedName": TEXT, "kind": TEXT},
            },
        },
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "additionalProperties": False,
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        # RFC 3986: what is not unreserved is percent-encoded.
                        "uri": {"type": "string", "pattern": "^[A-Za-z0-9._~/%-]+$"},
                        "uriBaseId": TEXT,
                    },
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"startLine": {"type": "integer", "minimum": 1}},
                },
            },
        },
    },
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"enum": ["native-leak", "suspect"]},
        "ruleIndex": {"enum": [0, 1]},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "baselineState": {"enum": ["new", "unchanged", "updated", "absent"]},
        "message": MESSAGE,
        "locations": {"type": "array", "items": LOCATION},
        "relatedLocations": {"type": "array", "uniqueItems": True, "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": TEXT},
        "codeFlows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["threadFlows"],
                "additionalProperties": False,
                "properties": {
                    "threadFlows": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["locations"],
                            "additionalProperties": False,
                            "properties": {
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {"location": LOCATION},
                                    },
                                }
                            },
                        },
                    }
                },
            },
        },
    },
}


def schema() -> dict[str, Any]:
    named = os.environ.get("CGOLEAK_SARIF_SCHEMA")
    if named:
        whole: dict[str, Any] = json.loads(Path(named).read_text("utf-8"))
        return whole
    return {
        "type": "object",
        "required": ["version", "runs"],
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string", "format": "uri"},
            "version": {"const": "2.1.0"},
            "runs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["tool"],
                    "properties": {
                        "tool": {"type": "object", "required": ["driver"]},
                        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                        "automationDetails": {"type": "object"},
                        "results": {"type": "array", "items": RESULT},
                    },
                    "additionalProperties": False,
                },
            },
        },
    }


def written(report, tree: SourceTree = TREE) -> dict[str, Any]:
    out = io.BytesIO()
    SarifRenderer(tree=tree).render(report, out)
    document: dict[str, Any] = json.loads(out.getvalue())
    found = schema()
    jsonschema.validators.validator_for(found)(found).validate(document)
    return document


def results(report, tree: SourceTree = TREE) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written(report, tree)["runs"][0]["results"]
    return found


def test_a_leak_is_placed_at_the_go_line_of_the_repository_and_points_to_the_c_line():
    leak, _ = results(checked())

    (place,) = leak["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "encode.go"
    assert place["physicalLocation"]["region"] == {"startLine": 88}
    assert leak["level"] == "error"
    assert leak["ruleId"] == "native-leak"
    assert leak["partialFingerprints"] == {"cgoleakSite/v1": "a3f1c2"}
    flow = leak["codeFlows"][0]["threadFlows"][0]["locations"]
    names = [step["location"]["message"]["text"] for step in flow]
    assert names[0] == "runtime.goexit"
    assert names[-1] == "row_dup"


def test_paths_of_trimmed_builds_are_found_by_their_module():
    stack = frames(
        "C row_dup example.org/thumbnailer/csrc/row.c:4", "Go m.f example.org/thumbnailer/m/f.go:9"
    )
    (leak,) = results(checked([a_finding(stack=stack)]))

    assert leak["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "m/f.go"
    (related,) = leak["relatedLocations"]
    assert related["physicalLocation"]["artifactLocation"]["uri"] == "csrc/row.c"


def test_a_site_outside_the_repository_has_a_message_and_no_place():
    (leak,) = results(checked([a_finding()]), SourceTree("/elsewhere"))

    assert "locations" not in leak
    assert "row_dup" in leak["message"]["text"]


def test_a_suspect_is_a_warning_and_a_tolerated_leak_a_note():
    assert [one["level"] for one in results(checked())] == ["error", "warning"]
    tolerated = checked([a_finding()], limits=Limits(max_bytes=1 << 40))
    (note,) = results(tolerated)
    assert note["level"] == "note"
    assert "baselineState" not in note


def test_a_baseline_says_what_is_new_and_what_is_not():
    known = a_finding()
    baseline = Baseline().with_program("thumbs/thumbs.test", (known,), None)
    both = checked([known, a_finding(site="bbbbbb")], baseline=baseline)

    assert [one["baselineState"] for one in results(both)] == ["new", "unchanged"]


def test_a_clean_run_has_rules_and_no_results():
    run = written(checked([]))["runs"][0]

    assert run["results"] == []
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["native-leak", "suspect"]


def test_a_report_of_another_command_is_written_too():
    assert [one["level"] for one in results(a_report())] == ["error", "warning"]


def test_hostile_names_break_nothing():
    found = results(hostile_report(), SourceTree("/repo"))

    assert len(found) == len(hostile_report().findings)
    for one in found:
        assert len(one["message"]["text"]) <= 8_000
        assert "\x1b" not in json.dumps(one, ensure_ascii=False)


def test_more_results_than_are_shown_are_cut_worst_first():
    many = [a_finding(site=f"{number:06x}", stack=()) for number in range(5_001)]
    out = io.BytesIO()
    SarifRenderer().render(checked(many), out)

    assert len(json.loads(out.getvalue())["runs"][0]["results"]) == 5_000


@pytest.mark.parametrize("depth", [0, 1, 5_000])
def test_stacks_of_any_depth_are_written(depth):
    stack = frames(*["C f /src/thumbnailer/f.c:1"] * depth)
    (leak,) = results(checked([a_finding(stack=stack)]))

    assert len(json.dumps(leak)) < 1 << 20
