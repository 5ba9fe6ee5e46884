"""A difference as text, page and JSON."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html import unescape

import pytest
from jsonschema import Draft202012Validator

from cgoleak.render.base import DIFFERENCES, format_by_name
from cgoleak.render.contract.difference import diff_schema_text
from cgoleak.verdict.compare import compare
from support.golden import assert_golden
from support.said_texts import english_left
from support.scenario_reports import hostile_report, many_sites, scenario_report


def written(difference, name, **options):
    out = io.BytesIO()
    format_by_name(name, DIFFERENCES).make(**options).render(difference, out)
    return out.getvalue()


def a_difference():
    return compare(scenario_report("finalizer-held"), scenario_report("held-and-leak"))


@pytest.mark.parametrize("width", [80, None])
def test_the_look_on_a_terminal_and_in_a_pipe(width):
    name = f"difference.terminal.{width or 'pipe'}.txt"

    assert_golden(name, written(a_difference(), "terminal", width=width))


@pytest.mark.parametrize("known", DIFFERENCES, ids=lambda known: known.name)
@pytest.mark.parametrize(
    ("base", "new"),
    [
        (hostile_report(), many_sites(3)),
        (many_sites(0), hostile_report()),
        (many_sites(0), many_sites(0)),
        (many_sites(700), many_sites(3)),
    ],
    ids=["hostile-base", "hostile-new", "empty", "many"],
)
def test_anything_can_be_compared_and_told(known, base, new):
    text = written(compare(base, new), known.name).decode()

    assert text.endswith("\n")
    assert "\u202e" not in text or known.name == "json"
    assert "</script><script>window.hacked" not in text or known.name in {"terminal", "json"}


def test_the_json_is_what_its_schema_says():
    schema = json.loads(diff_schema_text())
    Draft202012Validator.check_schema(schema)
    for base, new in (
        (scenario_report("clean"), scenario_report("cpp-leak")),
        (hostile_report(), many_sites(2)),
        (many_sites(0), many_sites(0)),
    ):
        document = json.loads(written(compare(base, new), "json"))
        Draft202012Validator(schema).validate(document)


def test_all_formats_name_the_site_that_was_gained():
    [gained] = [one for one in a_difference().sites if one.change == "gained"]

    document = json.loads(written(a_difference(), "json"))
    assert [one["site"] for one in document["sites"] if one["change"] == "gained"] == [gained.site]
    assert f'data-site="{gained.site}" data-change="gained" open' in (
        written(a_difference(), "html").decode()
    )
    assert f"site {gained.site}" in written(a_difference(), "terminal").decode()


@pytest.mark.parametrize("render", ["terminal", "html"])
@pytest.mark.parametrize(
    ("base", "new"),
    [("held-and-leak", "cpp-leak"), ("c-leak", "clean"), ("clean", "clean"), ("restart", "c-leak")],
)
@pytest.mark.parametrize("longer", [1, 10])
def test_a_difference_is_said_in_chinese(render, base, new, longer):
    second = scenario_report(new)
    window = replace(second.window, seconds=second.window.seconds * longer)
    difference = compare(scenario_report(base), replace(second, window=window))
    text = written(difference, render, lang="zh", top=50).decode()
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)

    left = [run for line in unescape(text).splitlines() for run in english_left(line)]

    assert set(left) <= {"unsigned long", "worker pid"}
