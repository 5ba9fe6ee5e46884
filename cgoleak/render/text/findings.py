"""The findings as text: the table of sites, then each site's stack, why, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.frames import Language
from cgoleak.model.report import Verdict
from cgoleak.render.growth import growth_shown
from cgoleak.render.stacklines import GUTTER, fitted_site, stack_lines
from cgoleak.render.text.paper import left_in, right_in
from cgoleak.render.text.styled import Text
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_count, format_rate, format_seconds, is_growth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame
    from cgoleak.model.report import Finding, HandleFinding
    from cgoleak.model.words import Words
    from cgoleak.render.text.paper import Paper

__all__ = [
    "VERDICT_STYLES",
    "growth_words",
    "write_advice",
    "write_details",
    "write_labelled",
    "write_numbers",
    "write_one",
    "write_site",
    "write_stack",
    "write_table",
]

_WIDE: Final = 110
"""From this width on the site stands in the row of its numbers, below it under them."""

VERDICT_STYLES: Final = {
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


def write_table(
    paper: Paper, findings: Sequence[Finding], shown: Sequence[Finding], words: Words
) -> None:
    """Write one row for each finding shown, and say how many are not."""
    if not findings:
        return
    wide = paper.width >= _WIDE
    paper.blank()
    columns = (("outstanding", 13), ("blocks", 12), ("growth", 12), ("oldest", 13))
    head = left_in(f" {words('verdict')}", 12)
    head += "".join(right_in(words(name), width) for name, width in columns)
    paper.line(Text(f"{head}   {words('site')}" if wide else head, style="bold"))
    for finding in shown:
        row = write_numbers(finding, words)
        if wide:
            row.append("   ")
        else:
            paper.line(row)
            row = Text("   ")
        room = paper.width - row.cell_len
        paper.line(row.append(fitted_site(finding.stack, room if paper.cut else None)))
    left = findings[len(shown) :]
    if left:
        more = words("{tally} more", tally=_tally(left, words))
        paper.line(Text(f" … {more}: --top {len(findings)}", style="dim"))


def write_numbers(finding: Finding, words: Words) -> Text:
    """Give the row of a finding up to its site."""
    growth = growth_words(finding, words)
    row = Text(" ")
    label = words(VERDICTS[finding.verdict].label)
    row.append(left_in(label, 11), style=VERDICT_STYLES[finding.verdict])
    row.append(f"{format_bytes(finding.outstanding_bytes):>13}")
    row.append(f"{format_count(finding.outstanding_blocks):>12}{right_in(growth, 12)}")
    row.append(f"{format_seconds(finding.oldest_seconds):>13}")
    return row


def growth_words(finding: Finding, words: Words) -> str:
    """Say how fast a site grows."""
    rate = growth_shown(finding)
    return format_rate(rate) if is_growth(rate) else words("flat")


def _tally(findings: Sequence[Finding], words: Words) -> str:
    """Count findings by verdict: ``3 bounded, 1 suppressed``."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(
        f"{counts[verdict]} {words(verdict.value)}" for verdict in Verdict if counts[verdict]
    )


def write_details(
    paper: Paper, shown: Sequence[Finding], words: Words, *, full_stacks: bool
) -> None:
    """Write stack, evidence, advice and suppression of each site that somebody should look at."""
    for finding in shown:
        if finding.verdict in _DETAILED:
            write_one(paper, finding, words, full_stacks=full_stacks)


def write_one(paper: Paper, finding: Finding, words: Words, *, full_stacks: bool) -> None:
    """Write everything that is known of one site."""
    said = words(
        "{size} in {blocks} allocated from",
        size=format_bytes(finding.outstanding_bytes),
        blocks=words.count(finding.outstanding_blocks, "block"),
    )
    write_site(paper, finding, said, words, full_stacks=full_stacks)


def write_site(
    paper: Paper,
    finding: Finding | HandleFinding,
    said: str,
    words: Words,
    *,
    full_stacks: bool,
) -> None:
    """Write verdict, stack, evidence and advice; ``said``: how much is outstanding."""
    paper.blank()
    head = Text(" ")
    head.append(words(VERDICTS[finding.verdict].label), style=VERDICT_STYLES[finding.verdict])
    head.append(f"  {said}")
    head.append(f"   {words('site')} {visible(finding.site)}", style="dim")
    paper.line(head)
    write_stack(paper, finding.stack, words, full_stacks=full_stacks)
    for index, reason in enumerate(finding.evidence):
        write_labelled(paper, words("why") if index == 0 else "", words(reason))
    write_advice(paper, finding, words)


def write_advice(paper: Paper, finding: Finding | HandleFinding, words: Words) -> None:
    """Write what to do, and the line that mutes the site."""
    if finding.advice:
        write_labelled(paper, words("do"), words(finding.advice))
    if finding.suppression:
        # Not folded: it is there to be copied.
        label = Text().append(f"   {left_in(words('mute'), 6)}", style="bold")
        paper.lines.append(label.append(visible(finding.suppression)))


def write_labelled(paper: Paper, label: str, text: str) -> None:
    """Write a paragraph with a word before it."""
    paper.paragraph(visible(text), label=f"   {left_in(label, 6)}", label_style="bold", hang=9)


def write_stack(paper: Paper, stack: Sequence[Frame], words: Words, *, full_stacks: bool) -> None:
    """Write function and place side by side where both fit, else the place below."""
    lines = stack_lines(stack, full=full_stacks, words=words)
    room = paper.width - 6
    placed = [line for line in lines if line.place]
    beside = [
        cell_len(line.text)
        for line in placed
        if cell_len(line.text) + 2 + cell_len(line.place) <= room
    ]
    column = min(max(beside, default=0), room * 3 // 5)
    for line in lines:
        style = _LANGUAGE_STYLES[line.lang]
        text = Text("   ")
        text.append(GUTTER[line.lang], style=f"bold {style}")
        text.append(f"  {paper.middle(line.text, room)}", style=style)
        width = max(column, cell_len(line.text))
        if not line.place:
            paper.line(text)
        elif width + 2 + cell_len(line.place) <= room:
            text.append(" " * (width - cell_len(line.text) + 2) + line.place, style="default")
            paper.line(text)
        elif cell_len(line.text) + 2 + cell_len(line.place) <= room:
            text.append(f"  {line.place}", style="default")
            paper.line(text)
        else:
            paper.line(text)
            paper.line(Text(f"        {paper.left(line.place, room - 2)}"))
