"""What ``cgoleak check`` decided, as text: the first thing that is read in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.gate import Level
from cgoleak.render.stacklines import site_words
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.gate import Gate
    from cgoleak.model.report import Report
    from cgoleak.render.paper import Paper

__all__ = ["write_gate"]


def write_gate(paper: Paper, report: Report) -> None:
    """Write the decision, each violation in two lines, and what the policy no longer needs."""
    gate = report.gate
    if gate is None:
        return
    label, style = ("PASS  ", "bold green") if gate.passed else ("FAIL  ", "bold red")
    paper.blank()
    paper.paragraph(visible(gate.summary), label=label, label_style=style, hang=6)
    stacks = {one.site: one.stack for one in report.findings}
    for violation in gate.violations:
        is_error = violation.level is Level.ERROR
        since = f", {violation.baseline} since the baseline" if violation.baseline else ""
        paper.paragraph(
            f"{visible(violation.text)}{since}",
            label=" over  " if is_error else " warn  ",
            label_style="bold red" if is_error else "bold yellow",
            hang=7,
        )
        paper.paragraph(
            f"{site_words(stacks.get(violation.site, ()))}   site {visible(violation.site)}",
            label="       ",
            label_style="",
            hang=7,
        )
    _write_notes(paper, gate)


def _write_notes(paper: Paper, gate: Gate) -> None:
    notes = []
    if gate.unused_suppressions:
        lines = ", ".join(map(visible, gate.unused_suppressions))
        notes.append(f"suppressions that match no site here: {lines}")
    if gate.stale_baseline:
        sites = ", ".join(map(visible, gate.stale_baseline))
        notes.append(f"sites of the baseline that are gone: {sites}; see --update-baseline")
    for note in notes:
        paper.paragraph(note, label=" note  ", label_style="bold", hang=7)
