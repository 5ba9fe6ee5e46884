"""What can be opened instead of the table: a site's stack, the whole sheet, the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from cgoleak.render.live.parts import curve
from cgoleak.render.text.document import write_balance, write_notices
from cgoleak.render.text.findings import write_one
from cgoleak.render.text.paper import Paper, left_in
from cgoleak.render.text.styled import Text
from cgoleak.units import format_seconds

if TYPE_CHECKING:
    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["help_lines", "sheet_lines", "stack_lines"]

_STALE_S: Final = 3.0
"""A whole sheet that is older says so."""


def stack_lines(
    report: Report, finding: Finding, width: int, words: Words, *, full_stacks: bool
) -> list[Text]:
    """Write everything that is known of one site, and its curve."""
    paper = Paper(width=width, cut=True)
    write_one(paper, finding, words, full_stacks=full_stacks)
    if len(finding.history_bytes) == len(report.history_seconds) > 1:
        # Below the first line, which says what the curve is of.
        drawn = curve(
            words("outstanding"), report.history_seconds, finding.history_bytes, width - 2
        )
        paper.lines.insert(2, Text("  ").append_text(drawn))
    return paper.lines


def sheet_lines(report: Report, width: int, words: Words) -> list[Text]:
    """Write the sheet with all its parts, what Go gives back, restarts, and the notices."""
    paper = Paper(width=width, cut=True)
    if (age := _sheet_age(report)) is not None:
        text = words(
            "as of {time}: between two whole sheets only RSS and Go's numbers are read",
            time=format_seconds(int(age)),
        )
        paper.blank()
        paper.paragraph(text, label=" ", label_style="", hang=1)
    write_balance(paper, report, words)
    write_notices(paper, report, words)
    return paper.lines


def _sheet_age(report: Report) -> float | None:
    """Give when a watch read its newest whole sheet, if that was some time ago."""
    timeline = report.timeline
    if timeline is None or report.window.mode != "watch":
        return None
    whole = [
        at
        for at, slack in zip(timeline.seconds, timeline.slack_bytes, strict=True)
        if slack is not None
    ]
    if not whole or timeline.seconds[-1] - whole[-1] < _STALE_S:
        return None
    return whole[-1]


def help_lines(width: int, words: Words) -> list[Text]:
    """Write what each key does."""
    keys = (
        ("↑ ↓  k j", words("select a site; scroll what is open")),
        ("Enter  Esc", words("open a site: its stack, why and what to do; close it")),
        ("s  1…5", words("sort by the next column, or by one of the five:")),
        ("", words("1 verdict, 2 outstanding, 3 growth, 4 blocks, 5 oldest")),
        ("w", words("the whole sheet of where RSS went, and the notes")),
        ("f", words("show cgo and runtime frames too")),
        ("p  Space", words("let the screen stand still; the measurement goes on")),
        ("q", words("finish: detach, and print the report")),
        ("Ctrl-C", words("the same")),
    )
    label = max(cell_len(key) for key, _ in keys) + 3
    paper = Paper(width=width, cut=True)
    paper.blank()
    for key, does in keys:
        name = f" {left_in(key, label)}"
        paper.paragraph(does, label=name, label_style="bold", hang=cell_len(name))
    paper.blank()
    text = words("Numbers count from the attach; a site's verdict may change until the end.")
    paper.paragraph(text, label=" ", label_style="", hang=1)
    return paper.lines
