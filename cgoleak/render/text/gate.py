"""What ``cgoleak check`` decided, as text: the first thing that is read in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from cgoleak.model.gate import Level
from cgoleak.render.stacklines import site_words
from cgoleak.render.text.paper import left_in
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgoleak.model.gate import Gate
    from cgoleak.model.report import Report
    from cgoleak.model.words import Words
    from cgoleak.render.text.paper import Paper

__all__ = ["gate_notes", "write_gate"]


def write_gate(paper: Paper, report: Report, words: Words) -> None:
    """Write the decision, each violation in two lines, and what the policy no longer needs."""
    gate = report.gate
    if gate is None:
        return
    word, style = ("PASS", "bold green") if gate.passed else ("FAIL", "bold red")
    label = f"{words(word)}  "
    paper.blank()
    summary = visible(words(gate.summary))
    paper.paragraph(summary, label=label, label_style=style, hang=cell_len(label))
    stacks = {one.site: one.stack for one in report.findings}
    stacks |= {one.site: one.stack for one in report.handles}
    for violation in gate.violations:
        is_error = violation.level is Level.ERROR
        text = words(violation.text)
        if violation.baseline:
            since = words("{what} since the baseline", what=words(violation.baseline))
            text = f"{text}, {since}"
        label = left_in(f" {words('over') if is_error else words('warn')}", 7)
        paper.paragraph(
            visible(text),
            label=label,
            label_style="bold red" if is_error else "bold yellow",
            hang=cell_len(label),
        )
        site = f"{words('site')} {visible(violation.site)}"
        paper.paragraph(
            f"{site_words(stacks.get(violation.site, ()))}   {site}",
            label="       ",
            label_style="",
            hang=7,
        )
    _write_notes(paper, gate, words)


def _write_notes(paper: Paper, gate: Gate, words: Words) -> None:
    label = f" {words('note')}  "
    for note in gate_notes(gate, words):
        paper.paragraph(note, label=label, label_style="bold", hang=cell_len(label))


def gate_notes(gate: Gate, words: Words) -> Iterator[str]:
    """Say what the policy no longer needs."""
    if gate.unused_suppressions:
        lines = ", ".join(map(visible, gate.unused_suppressions))
        yield words("suppressions that match no site here: {lines}", lines=lines)
    if gate.stale_baseline:
        sites = ", ".join(map(visible, gate.stale_baseline))
        yield words(
            "sites of the baseline that are gone: {lines}; see --update-baseline", lines=sites
        )
