"""The findings as text: the table of sites, then each site's stack, why, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.text import Text

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.frames import Language
from cgoleak.model.report import Verdict
from cgoleak.render.stacklines import GUTTER, site_words, stack_lines
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_count, format_rate, format_seconds, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import Finding
    from cgoleak.render.paper import Paper
    from cgoleak.render.stacklines import StackLine

__all__ = ["write_details", "write_table"]

_WIDE: Final = 110
"""From this width on the site stands in the row of its numbers, below it under them."""

_STYLES: Final = {
    Verdict.NATIVE_LEAK: "bold red",
    Verdict.SUSPECT: "bold yellow",
    Verdict.GO_HELD: "cyan",
    Verdict.BOUNDED: "green",
    Verdict.SUPPRESSED: "dim",
}
_LANGUAGE_STYLES: Final = {
    Language.C: "magenta",
    Language.CPP: "magenta",
    Language.GO: "cyan",
    Language.BRIDGE: "dim",
    Language.RUNTIME: "dim",
    Language.UNKNOWN: "yellow",
}
_DETAILED: Final = frozenset({Verdict.NATIVE_LEAK, Verdict.SUSPECT, Verdict.GO_HELD})


def write_table(paper: Paper, findings: Sequence[Finding], shown: Sequence[Finding]) -> None:
    """Write one row for each finding shown, and say how many are not."""
    if not findings:
        return
    wide = paper.width >= _WIDE
    paper.blank()
    head = f" {'verdict':<11}{'outstanding':>13}{'blocks':>12}{'growth':>12}{'oldest':>13}"
    paper.line(Text(f"{head}   site" if wide else head, style="bold"))
    for finding in shown:
        row = _numbers(finding)
        words = site_words(finding.stack)
        if wide:
            row.append(f"   {paper.middle(words, paper.width - row.cell_len - 3)}")
            paper.line(row)
        else:
            paper.line(row)
            paper.line(Text(f"   {paper.middle(words, paper.width - 3)}"))
    left = findings[len(shown) :]
    if left:
        paper.line(Text(f" … {_tally(left)} more: --top {len(findings)}", style="dim"))


def _numbers(finding: Finding) -> Text:
    rate = finding.growth_bytes_per_second
    # A rate below one byte in an hour is the noise of the fit, not growth.
    growth = format_rate(rate) if abs(rate) * 3600 >= 1 else "flat"
    row = Text(" ")
    row.append(f"{VERDICTS[finding.verdict].label:<11}", style=_STYLES[finding.verdict])
    row.append(f"{format_bytes(finding.outstanding_bytes):>13}")
    row.append(f"{format_count(finding.outstanding_blocks):>12}{growth:>12}")
    row.append(f"{format_seconds(finding.oldest_seconds):>13}")
    return row


def _tally(findings: Sequence[Finding]) -> str:
    """Count findings by verdict: ``3 bounded, 1 suppressed``."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])


def write_details(paper: Paper, shown: Sequence[Finding], *, full_stacks: bool) -> None:
    """Write stack, evidence, advice and suppression of each site that somebody should look at."""
    for finding in shown:
        if finding.verdict in _DETAILED:
            _write_one(paper, finding, full_stacks=full_stacks)


def _write_one(paper: Paper, finding: Finding, *, full_stacks: bool) -> None:
    paper.blank()
    head = Text(" ")
    head.append(VERDICTS[finding.verdict].label, style=_STYLES[finding.verdict])
    head.append(
        f"  {format_bytes(finding.outstanding_bytes)} in "
        f"{plural(finding.outstanding_blocks, 'block')} allocated from"
    )
    head.append(f"   site {visible(finding.site)}", style="dim")
    paper.line(head)
    _write_stack(paper, stack_lines(finding.stack, full=full_stacks))
    for index, reason in enumerate(finding.evidence):
        _write_labelled(paper, "why" if index == 0 else "", reason)
    if finding.advice:
        _write_labelled(paper, "do", finding.advice)
    if finding.suppression:
        # Not folded: it is there to be copied.
        label = Text().append(f"   {'mute':<6}", style="bold")
        paper.lines.append(label.append(visible(finding.suppression)))


def _write_labelled(paper: Paper, label: str, text: str) -> None:
    paper.paragraph(visible(text), label=f"   {label:<6}", label_style="bold", hang=9)


def _write_stack(paper: Paper, lines: Sequence[StackLine]) -> None:
    """Write function and place side by side where both fit, else the place below."""
    room = paper.width - 6
    placed = [line for line in lines if line.place]
    beside = [len(line.text) for line in placed if len(line.text) + 2 + len(line.place) <= room]
    column = min(max(beside, default=0), room * 3 // 5)
    for line in lines:
        style = _LANGUAGE_STYLES[line.lang]
        text = Text("   ")
        text.append(GUTTER[line.lang], style=f"bold {style}")
        text.append(f"  {paper.middle(line.text, room)}", style=style)
        width = max(column, len(line.text))
        if not line.place:
            paper.line(text)
        elif width + 2 + len(line.place) <= room:
            text.append(" " * (width - len(line.text) + 2) + line.place, style="default")
            paper.line(text)
        elif len(line.text) + 2 + len(line.place) <= room:
            text.append(f"  {line.place}", style="default")
            paper.line(text)
        else:
            paper.line(text)
            paper.line(Text(f"        {paper.left(line.place, room - 2)}"))
