"""Reports of ``check``, and names that nobody would choose but somebody may have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cgoleak.model.frames import Frame, Language
from cgoleak.verdict.gate import decide
from cgoleak.verdict.limits import Limits
from support.reports import a_finding, a_report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgoleak.model.report import Finding, Report
    from cgoleak.verdict.baseline import Baseline

__all__ = ["HOSTILE", "checked", "hostile_report"]

HOSTILE = (
    "line one\nline two\r\n::error::forged",
    "100%",
    "%0A::warning title=x::forged",
    "<script>alert(1)</script>",
    "]]> & <!-- '\" -->",
    "a, file=forged:1",
    "| table | cell |",
    "`code` **bold** [link](javascript:alert(1))",
    "\x1b[31mred\x1b[0m\x00\x07",
    "\u202egpj.exe\u2066",
    "\ud800 lone surrogate \udcff",
    "std::map<" + ", ".join(f"very::long<template{n}>" for n in range(500)) + ">::insert()",
    "",
)


def checked(
    findings: Iterable[Finding] | None = None,
    *,
    limits: Limits | None = None,
    baseline: Baseline | None = None,
) -> Report:
    """A report with the gate's decision."""
    report = a_report(findings=None if findings is None else tuple(findings))
    gate = decide(report, limits or Limits(), program="thumbs/thumbs.test", baseline=baseline)
    return replace(report, gate=gate)


def hostile_report() -> Report:
    """One leak for each hostile name, which stands everywhere where a name can stand."""
    findings = [
        a_finding(
            site=f"{number:06x}",
            stack=(
                Frame(Language.C, name, name, 7, name),
                Frame(Language.GO, name, f"/repo/{name}", 9, name),
            ),
            evidence=(name,),
            advice=name,
            suppression=f"leak:{name}",
        )
        for number, name in enumerate(HOSTILE)
    ]
    report = a_report(findings=tuple(findings), summary=HOSTILE[0], exe=f"/x/{HOSTILE[3]}")
    return replace(report, gate=decide(report, Limits(), program=HOSTILE[0]))
