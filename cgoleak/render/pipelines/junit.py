"""JUnit XML, as Jenkins, GitLab and most others read it; there is no standard.

One case a site, and one for the program as a whole, so that a clean run is seen as a test that
passed. GitLab shows neither the message, nor the suite's name, nor file and line: everything stands
in the body again, and the program in ``classname``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from xml.etree import ElementTree as ET  # written only, nothing is parsed

from cgoleak.render.pipelines.ci import body_lines, cut, headline, program_of, told
from cgoleak.render.stacklines import site_words
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.report import Report
    from cgoleak.render.pipelines.ci import Told

__all__ = ["JunitRenderer"]

_LONGEST_NAME = 500
_LONGEST_BODY = 16_000


@dataclass(frozen=True, slots=True)
class JunitRenderer:
    """Writes one suite."""

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the document."""
        program = cut(program_of(report), _LONGEST_NAME)
        found = told(report)
        failures = sum(one.level == "error" for one in found)
        seconds = f"{report.window.seconds:.3f}"
        suites = ET.Element("testsuites")
        suite = ET.SubElement(
            suites,
            "testsuite",
            name="cgoleak",
            tests=str(len(found) + 1),
            failures=str(failures),
            errors="0",
            skipped=str(len(found) - failures),
            time=seconds,
        )
        whole = ET.SubElement(suite, "testcase", name="C memory", classname=program, time=seconds)
        summary = visible(report.gate.summary if report.gate else report.summary)
        ET.SubElement(whole, "system-out").text = "\n".join(
            [summary, *(f"{visible(one.code)}: {visible(one.text)}" for one in report.notices)]
        )
        for one in found:
            _add_case(suite, one, program)
        ET.indent(suites)
        out.write(ET.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n")


def _add_case(suite: ET.Element, one: Told, program: str) -> None:
    words = cut(site_words(one.finding.stack), _LONGEST_NAME)
    name = f"{words} [{visible(one.finding.site)}]"
    case = ET.SubElement(suite, "testcase", name=name, classname=program, time="0")
    text = headline(one)
    body = cut("\n".join([text, *body_lines(one)]), _LONGEST_BODY)
    kind = one.finding.verdict.value
    if one.level == "error":
        failure = ET.SubElement(case, "failure", message=cut(text, 1_000), type=kind)
        failure.text = body
    else:
        # A warning is no failure, and JUnit has no word for it.
        ET.SubElement(case, "skipped", message=cut(text, 1_000))
        ET.SubElement(case, "system-out").text = body
