"""JUnit XML, parsed back by somebody else's parser."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

from cgoleak.render.pipelines.junit import JunitRenderer
from support.gates import HOSTILE, checked, hostile_report
from support.reports import a_report


def suite(report) -> ET.Element:
    out = io.BytesIO()
    JunitRenderer().render(report, out)
    found = ET.fromstring(out.getvalue()).find("testsuite")
    assert found is not None
    return found


def test_a_leak_is_a_failure_that_says_everything_in_its_body():
    found = suite(checked())
    (failure,) = found.iter("failure")

    assert found.get("failures") == "1"
    assert failure.get("type") == "native-leak"
    assert failure.text is not None
    assert failure.get("message") in failure.text
    assert "png_row.c:41" in failure.text
    assert "mute: leak:row_dup" in failure.text


def test_the_counts_are_those_of_the_cases():
    found = suite(checked())
    cases = found.findall("testcase")

    assert found.get("tests") == str(len(cases)) == "3"
    assert found.get("skipped") == str(len(list(found.iter("skipped")))) == "1"
    assert {case.get("classname") for case in cases} == {"thumbs/thumbs.test"}


def test_a_clean_run_is_a_test_that_passed():
    found = suite(checked([]))

    assert (found.get("tests"), found.get("failures")) == ("1", "0")
    assert found.find("testcase/failure") is None


def test_a_report_of_another_command_is_written_too():
    assert suite(a_report()).get("failures") == "1"


def test_hostile_names_come_back_as_text():
    found = suite(hostile_report())
    bodies = [failure.text or "" for failure in found.iter("failure")]

    assert len(bodies) == len(HOSTILE)
    assert any("<script>alert(1)</script>" in body for body in bodies)
    assert not any(set(body) & set("\x00\x07\x1b\u202e\ud800") for body in bodies)
    assert all(len(body) <= 16_000 for body in bodies)
