"""What all formats for pipelines say of a report: which sites, how bad, in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.report import Verdict
from cgoleak.render.stacklines import GUTTER, site_words, stack_lines
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_count, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgoleak.model.gate import Violation
    from cgoleak.model.report import Finding, Report

__all__ = ["Told", "body_lines", "cut", "headline", "program_of", "told"]

_GUARDED: Final = {Verdict.NATIVE_LEAK: "error", Verdict.SUSPECT: "warning"}


@dataclass(frozen=True, slots=True)
class Told:
    """A finding as pipelines see it.

    ``level`` is ``error``, ``warning`` or ``note``; ``known``: it keeps to a baseline;
    ``family``: its blocks are handles of this kind.
    """

    finding: Finding
    level: str
    violation: Violation | None = None
    known: bool = False
    family: str | None = None


def told(report: Report) -> tuple[Told, ...]:
    """Choose the findings worth telling, errors first; without a gate leaks are errors."""
    gate = report.gate
    violations = {one.site: one for one in gate.violations} if gate else {}
    found = []
    kinds = {one.site: one.family for one in report.handles}
    for one in (*report.findings, *(handles.as_finding() for handles in report.handles)):
        if one.verdict not in _GUARDED:
            continue
        violation, family = violations.get(one.site), kinds.get(one.site)
        if gate is None:
            found.append(Told(one, _GUARDED[one.verdict], family=family))
        elif violation is not None:
            found.append(Told(one, violation.level.value, violation, family=family))
        else:
            found.append(Told(one, "note", known=gate.compared, family=family))
    return tuple(sorted(found, key=lambda one: ("error", "warning", "note").index(one.level)))


def program_of(report: Report) -> str:
    """Name what was measured."""
    return visible(report.gate.program if report.gate else report.target.exe.rpartition("/")[2])


def headline(one: Told) -> str:
    """Say it in one line: the verdict, how much, and where."""
    finding = one.finding
    if one.family is not None:
        compared = one.violation.baseline if one.violation is not None else None
        since = f" ({compared} since the baseline)" if compared else ""
        return (
            f"{VERDICTS[finding.verdict].label}: {format_count(finding.outstanding_blocks)} "
            f"{visible(one.family)} not given up, made from {site_words(finding.stack)}{since}"
        )
    text = (
        f"{VERDICTS[finding.verdict].label}: {format_bytes(finding.outstanding_bytes)} in "
        f"{plural(finding.outstanding_blocks, 'block')} allocated from {site_words(finding.stack)}"
    )
    if one.violation is not None and one.violation.bytes_per_iteration is not None:
        text += f", {format_bytes(one.violation.bytes_per_iteration)} per iteration"
    if one.violation is not None and one.violation.baseline is not None:
        text += f" ({one.violation.baseline} since the baseline)"
    return text


def body_lines(one: Told) -> Iterator[str]:
    """Give stack, evidence, advice and suppression; each line without control characters."""
    finding = one.finding
    for line in stack_lines(finding.stack):
        place = f"  {line.place}" if line.place else ""
        yield f"{GUTTER[line.lang]}  {line.text}{place}"
    for reason in finding.evidence:
        yield f"why: {visible(reason)}"
    if finding.advice:
        yield f"do: {visible(finding.advice)}"
    if finding.suppression:
        yield f"mute: {visible(finding.suppression)}"


def cut(text: str, limit: int) -> str:
    """Shorten a text to so many characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
