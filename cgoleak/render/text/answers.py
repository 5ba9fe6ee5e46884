"""The five answers as text: what somebody who sees a report for the first time looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from cgoleak.render.answers.five import answers_to
from cgoleak.render.text.paper import left_in

if TYPE_CHECKING:
    from cgoleak.model.report import Report
    from cgoleak.model.words import Words
    from cgoleak.render.text.paper import Paper

__all__ = ["write_answers", "write_line"]

_LABELS: Final = {
    "leak": "leak?",
    "speed": "how fast?",
    "line": "which line?",
    "return": "comes back?",
    "do": "what to do?",
}
"""Name of an answer → its question, short enough for a column."""


def write_answers(paper: Paper, report: Report, words: Words) -> None:
    """Write one paragraph for each; they stand above all tables, on any screen."""
    labels = {name: words(label) for name, label in _LABELS.items()}
    width = max(map(cell_len, labels.values()))
    paper.blank()
    for answer in answers_to(report, words):
        text = answer.text
        if answer.detail:
            text = f"{text}{_joint(text)}{answer.detail}"
        label = f" {left_in(labels[answer.name], width)}  "
        paper.paragraph(text, label=label, label_style="bold", hang=width + 3)


def write_line(paper: Paper, report: Report, words: Words) -> None:
    """Write the line that is to blame, if there is one, without who called it."""
    for answer in answers_to(report, words):
        if answer.name == "line" and answer.site is not None:
            label = f" {words(_LABELS[answer.name])}  "
            paper.paragraph(answer.text, label=label, label_style="bold", hang=cell_len(label))


def _joint(text: str) -> str:
    """A sentence has its own end."""
    return "" if text.endswith("。") else " " if text.endswith(".") else " · "
