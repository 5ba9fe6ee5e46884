"""The report as text for people: the verdict, five answers, where RSS went, then each site.

One look at any width from 60 columns on. On a terminal nothing is wider than the window; in a
pipe lines are laid out for 100 columns and nothing is cut, so that the text is stable and
complete. Names are never read as markup, and what does not print is shown as its code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from rich.cells import cell_len

from cgoleak.model.frames import Frame, Language
from cgoleak.model.report import Cause
from cgoleak.model.sheetwords import PLAIN_WORDS
from cgoleak.model.words import words_in
from cgoleak.render.answers.labels import cause_label, is_leaking
from cgoleak.render.answers.recovery import go_gives_back
from cgoleak.render.estimates import sampling_facts
from cgoleak.render.stacklines import place_of
from cgoleak.render.text.answers import write_answers, write_line
from cgoleak.render.text.findings import write_details, write_table
from cgoleak.render.text.handles import write_handles
from cgoleak.render.text.paper import Paper, left_in, printed, right_in
from cgoleak.render.text.styled import Text
from cgoleak.render.visible import visible
from cgoleak.units import (
    format_bytes,
    format_bytes_change,
    format_count,
    format_percent,
    format_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import BalanceLine, Report
    from cgoleak.model.words import Words

__all__ = [
    "CAUSE_STYLES",
    "TerminalRenderer",
    "write_balance",
    "write_head",
    "write_notices",
    "write_sheet",
]

_PIPE_WIDTH: Final = 100
_NARROWEST: Final = 60
_SOURCE_WIDTH: Final = 36
"""With less room than this the sources of the balance are left to the JSON."""

_GO_SITES: Final = 5
"""How many places in Go are shown; the JSON has more."""

CAUSE_STYLES: Final = {
    Cause.NATIVE_LEAK: "bold red",
    Cause.GO_HEAP: "bold yellow",
    Cause.GO_HELD: "bold yellow",
    Cause.RESTART: "bold yellow",
    Cause.UNKNOWN: "bold yellow",
    Cause.OTHER: "bold yellow",
}


@dataclass(frozen=True, slots=True)
class TerminalRenderer:
    """Writes UTF-8 text.

    Attributes:
        top: how many findings are shown.
        full_stacks: show cgo and runtime frames too.
        width: columns of the terminal, or None for a pipe or file.
        height: lines of the terminal, or None. Of a longer report the end is what is seen, so that
            the verdict is said there once more.
        color: use the sixteen ANSI colours.
        lang: language of the words, a key of ``cgoleak.model.words.LANGUAGES``.
    """

    top: int = 10
    full_stacks: bool = False
    width: int | None = None
    height: int | None = None
    color: bool = False
    lang: str = "en"

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the whole text."""
        out.write(printed(self.paper(report), color=self.color))

    def paper(self, report: Report) -> Paper:
        """Lay the report out."""
        words = words_in(self.lang)
        width = max(self.width or _PIPE_WIDTH, _NARROWEST)
        paper = Paper(width=width, cut=self.width is not None)
        write_head(paper, report, words)
        if report.gate is not None:
            from cgoleak.render.text.gate import write_gate  # noqa: PLC0415 - check only

            write_gate(paper, report, words)
        write_answers(paper, report, words)
        write_balance(paper, report, words)
        _write_go_sites(paper, report, words)
        shown = report.findings[: self.top]
        write_table(paper, report.findings, shown, words)
        write_details(paper, shown, words, full_stacks=self.full_stacks)
        write_handles(paper, report.handles, words, top=self.top, full_stacks=self.full_stacks)
        write_notices(paper, report, words)
        _write_cost(paper, report, words)
        if self.height is not None and len(paper.lines) >= self.height:
            paper.blank()
            _write_verdict(paper, report, words)
            write_line(paper, report, words)
        return paper


def write_head(paper: Paper, report: Report, words: Words) -> None:
    """Write the line of facts, and the verdict in one sentence."""
    target, window = report.target, report.window
    since = words("watched") if window.mode == "watch" else words("since attach")
    unknown = words("Go of unknown version")
    facts = [
        "cgoleak",
        f"pid {target.pid} {visible(target.exe.rpartition('/')[2])}",
        f"{visible(target.go_version or unknown)} linux/{visible(target.arch)}",
        visible(target.libc or words("no libc")),
        f"{format_seconds(window.seconds)} {since}",
        words.count(window.snapshots, "snapshot"),
        words("GC cycles unknown")
        if window.gc_cycles is None
        else words.count(window.gc_cycles, "GC cycle"),
    ]
    if target.allocator and target.libc and not target.libc.startswith(target.allocator):
        facts.insert(4, words("malloc from {name}", name=visible(target.allocator)))
    facts += sampling_facts(window, words)
    paper.joined(facts, " · ", style="dim")
    paper.blank()
    _write_verdict(paper, report, words)


def _write_verdict(paper: Paper, report: Report, words: Words) -> None:
    label = cause_label(report, words)
    style = "bold red" if is_leaking(report) else CAUSE_STYLES.get(report.cause, "bold green")
    paper.paragraph(visible(words(report.summary)), label=f"{label}  ", label_style=style, hang=2)


def write_balance(paper: Paper, report: Report, words: Words) -> None:
    """Write the sheet, what Go will hand back, and the restarts."""
    if report.balance:
        paper.blank()
        write_sheet(paper, report.balance, words)
    text = go_gives_back(report, words)
    if text:
        paper.blank()
        label = f" {words('Go gives back')}  "
        paper.paragraph(text, label=label, label_style="bold", hang=cell_len(label))
    for restart in report.restarts:
        text = words(
            "at {time}: pid {old} → {new}, {reason}; RSS {before} → {after}",
            time=format_seconds(restart.at),
            old=restart.old_pid,
            new=restart.new_pid,
            reason=visible(words(restart.reason)),
            before=format_bytes(restart.rss_before_bytes),
            after=format_bytes(restart.rss_after_bytes),
        )
        label = f" {words('restart')}  "
        paper.paragraph(text, label=label, label_style="bold", hang=cell_len(label))


def write_sheet(paper: Paper, balance: Sequence[BalanceLine], words: Words) -> None:
    """Write the balance; where there is room, what each line is stands beside it."""
    names = [visible(words(line.part)) for line in balance]
    widest = max(16, *map(cell_len, names))
    part_width = min(widest, paper.width - 37)
    source_width = paper.width - part_width - 38
    head = left_in(f" {words('where RSS went')}", part_width + 2)
    head += right_in(words("at start"), 10) + right_in(words("now"), 11)
    paper.line(Text(head + right_in(words("change"), 12), style="bold"))
    for name, line in zip(names, balance, strict=True):
        change = line.change_bytes
        text = Text(f"  {left_in(paper.middle(name, part_width), part_width)}")
        text.append(f"{_known(line.start_bytes):>10}{format_bytes(line.now_bytes):>11}")
        signed = "-" if change is None else format_bytes_change(change)
        text.append(f"{signed:>12}", style="bold" if change and change > 0 else "")
        if line.source and source_width >= _SOURCE_WIDTH:
            source = paper.end(visible(_meaning(line, words)), source_width - 2)
            text.append(f"   {source}", style="dim")
        paper.line(text)


def _write_go_sites(paper: Paper, report: Report, words: Words) -> None:
    """Write where the Go heap grew, if that is what RSS is about."""
    if report.cause is not Cause.GO_HEAP or not report.go_sites:
        return
    paper.blank()
    title = words("Where the Go heap grew, by its own profile")
    paper.line(Text(f" {title[0].lower()}{title[1:]}", style="bold"))
    for site in report.go_sites[:_GO_SITES]:
        grown = format_bytes_change(site.change_bytes)
        frame = Frame(Language.GO, site.function, site.file, site.line)
        place = place_of(frame, parts=2)
        text = f"{visible(site.function)}  {place}" if place else visible(site.function)
        paper.paragraph(
            f"{text}  ({words('now {size}', size=format_bytes(site.in_use_bytes))})",
            label=f"  {grown:>10}  ",
            label_style="bold",
            hang=14,
        )


def _meaning(line: BalanceLine, words: Words) -> str:
    """Say in plain words what a line is; where its number is from is left to page and JSON."""
    plain = PLAIN_WORDS.get(line.part)
    more = line.source.partition("; ")[2] if line.source.endswith("not resident") else ""
    return words(more or plain or line.source)


def _known(count: int | None) -> str:
    return "-" if count is None else format_bytes(count)


def write_notices(paper: Paper, report: Report, words: Words) -> None:
    """Write what was not measured, and the like."""
    if report.notices:
        paper.blank()
    for notice in report.notices:
        fix = f" ({visible(words(notice.fix))})" if notice.fix else ""
        label = f" {words('note')}  {visible(notice.code)}  "
        paper.paragraph(
            f"{visible(words(notice.text))}{fix}", label=label, label_style="bold", hang=7
        )


def _write_cost(paper: Paper, report: Report, words: Words) -> None:
    """Write what the measurement cost the target, and what it lost."""
    cost = report.cost
    label = words("cost")
    paper.blank()
    if report.window.mode == "watch" and not cost.target_bytes:
        said = [f" {label}  {words('watched from outside')}", words("nothing put into it")]
        paper.joined(said, " · ", style="dim")
        return
    facts = [
        words("target stood still for {time}", time=format_seconds(cost.pause_seconds)),
        words("{size} of memory in it", size=format_bytes(cost.target_bytes)),
        words("{count} allocations and frees", count=format_count(cost.events)),
    ]
    if cost.ns_per_event is not None:
        facts.append(words("{time} each", time=f"{cost.ns_per_event:.0f} ns"))
    if cost.cpu_share is not None:
        share = format_percent(cost.cpu_share)
        facts.append(words("{share} of its CPU time", share=share))
    lost = words("{count} lost", count=format_count(cost.dropped))
    facts.append(lost if cost.dropped else words("nothing lost"))
    if cost.unmatched_frees:
        count = format_count(cost.unmatched_frees)
        facts.append(words("{count} frees of older blocks", count=count))
    paper.joined([f" {label}  {facts[0]}", *facts[1:]], " · ", style="dim", hang=7)
