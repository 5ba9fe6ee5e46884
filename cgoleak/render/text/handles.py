"""Handles as text: what was made by functions of a library and not given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.report import Verdict
from cgoleak.render.stacklines import site_words
from cgoleak.render.text.findings import VERDICT_STYLES, write_site
from cgoleak.render.text.paper import left_in, right_in
from cgoleak.render.text.styled import Text
from cgoleak.render.visible import visible
from cgoleak.units import format_count, format_seconds, is_growth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import HandleFinding
    from cgoleak.model.words import Words
    from cgoleak.render.text.paper import Paper

__all__ = ["handles_per_second", "write_handles"]

_DETAILED = frozenset({Verdict.NATIVE_LEAK, Verdict.SUSPECT, Verdict.GO_HELD})


def write_handles(
    paper: Paper,
    findings: Sequence[HandleFinding],
    words: Words,
    *,
    top: int,
    full_stacks: bool,
) -> None:
    """Write one row for each, and the stacks of those that somebody should look at."""
    if not findings:
        return
    paper.blank()
    columns = (("outstanding", 13), ("growth", 12), ("oldest", 12))
    head = left_in(f" {words('handles')}", 12)
    head += "".join(right_in(words(name), width) for name, width in columns)
    paper.line(Text(head, style="bold"))
    for one in findings[:top]:
        row = Text(" ")
        row.append(
            left_in(words(VERDICTS[one.verdict].label), 11), style=VERDICT_STYLES[one.verdict]
        )
        row.append(f"{format_count(one.outstanding):>13}")
        row.append(right_in(handles_per_second(one, words), 12))
        row.append(f"{format_seconds(one.oldest_seconds):>12}")
        row.append(f"   {paper.middle(visible(one.family), max(8, paper.width - 52))}")
        paper.line(row)
        paper.line(Text(f"   {paper.middle(site_words(one.stack), paper.width - 3)}"))
    if len(findings) > top:
        more = words("{tally} more", tally=len(findings) - top)
        paper.line(Text(f" … {more}: --top {len(findings)}", style="dim"))
    for one in findings[:top]:
        if one.verdict in _DETAILED:
            _write_one(paper, one, words, full_stacks=full_stacks)


def handles_per_second(finding: HandleFinding, words: Words) -> str:
    """Say how fast they become more."""
    rate = finding.growth_per_second
    return f"{rate:.3g}/s" if is_growth(rate) else words("flat")


def _write_one(paper: Paper, one: HandleFinding, words: Words, *, full_stacks: bool) -> None:
    said = words(
        "{count} {family} not given up, made from",
        count=format_count(one.outstanding),
        family=visible(one.family),
    )
    write_site(paper, one, said, words, full_stacks=full_stacks)
