"""What is shown of handles: as text, page, JSON and to pipelines."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import jsonschema
import pytest

from cgoleak.model.handles import HandleFamily
from cgoleak.render.contract.document import JsonRenderer, schema_text
from cgoleak.render.contract.reading import read_report
from cgoleak.render.html import HtmlRenderer
from cgoleak.render.pipelines.ci import headline, told
from cgoleak.render.text.document import TerminalRenderer
from support.reports import a_handle_finding, a_report

HANDLES = a_handle_finding()
FAMILY = HandleFamily("sqlite3_stmt", ("sqlite3_prepare_v2",), ("sqlite3_finalize",), 1240, 3)


@pytest.fixture
def report():
    return replace(a_report(), handles=(HANDLES,), families=(FAMILY,))


def rendered(renderer, report):
    out = io.BytesIO()
    renderer.render(report, out)
    return out.getvalue().decode()


def test_the_text_has_a_row_and_what_to_do(report):
    text = rendered(TerminalRenderer(), report)

    assert " NATIVE LEAK        1 240      20.7/s        59 s   sqlite3_stmt\n" in text
    assert "1 240 sqlite3_stmt not given up, made from   site 0ddba1" in text
    assert "do    Call sqlite3_finalize on every sqlite3_stmt" in text
    assert "mute  leak:main.encode" in text


def test_the_page_has_a_section_only_where_handles_were_counted(report):
    page = rendered(HtmlRenderer(), report)

    assert 'id="handles"' in page
    assert "sqlite3_stmt" in page
    assert "Call sqlite3_finalize on every" in page
    assert 'id="handles"' not in rendered(HtmlRenderer(), a_report())


def test_json_keeps_to_its_schema_and_gives_back_what_was_written(report):
    text = rendered(JsonRenderer(), report)

    jsonschema.validate(json.loads(text), json.loads(schema_text()))
    again = read_report(text.encode(), "r.json")
    assert again.handles == report.handles
    assert again.families == report.families


def test_pipelines_are_told_what_kind_it_is_and_no_bytes(report):
    found = [one for one in told(report) if one.family]

    assert [one.level for one in found] == ["error"]
    assert headline(found[0]).startswith("NATIVE LEAK: 1 240 sqlite3_stmt not given up, made from")
