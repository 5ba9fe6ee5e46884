"""The report as text for people: the verdict first, then where RSS went, then each site.

One look at any width from 60 columns on. On a terminal nothing is wider than the window; in a
pipe lines are laid out for 100 columns and nothing is cut, so that the text is stable and
complete. Names are never read as markup, and what does not print is shown as its code.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from rich.console import Console
from rich.text import Text

from cgoleak.model.catalog import CAUSES
from cgoleak.model.frames import Frame, Language
from cgoleak.model.report import Cause
from cgoleak.render.paper import Paper
from cgoleak.render.stacklines import place_of
from cgoleak.render.termfindings import write_details, write_table
from cgoleak.render.termgate import write_gate
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_bytes_change, format_count, format_seconds, plural

if TYPE_CHECKING:
    from cgoleak.model.report import BalanceLine, Report

__all__ = ["TerminalRenderer"]

_PIPE_WIDTH: Final = 100
_NARROWEST: Final = 60
_SOURCE_WIDTH: Final = 36
"""With less room than this the sources of the balance are left to the JSON."""

_GO_SITES: Final = 5
"""How many places in Go are shown; the JSON has more."""

_CAUSE_STYLES: Final = {
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
        color: use the sixteen ANSI colours.
    """

    top: int = 10
    full_stacks: bool = False
    width: int | None = None
    color: bool = False

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the whole text."""
        width = max(self.width or _PIPE_WIDTH, _NARROWEST)
        paper = Paper(width=width, cut=self.width is not None)
        _write_head(paper, report)
        write_gate(paper, report)
        _write_balance(paper, report)
        _write_go_sites(paper, report)
        shown = report.findings[: self.top]
        write_table(paper, report.findings, shown)
        write_details(paper, shown, full_stacks=self.full_stacks)
        _write_notices(paper, report)
        _write_cost(paper, report)
        out.write(_printed(paper.lines, width=width, color=self.color))


def _printed(lines: list[Text], *, width: int, color: bool) -> bytes:
    """Turn styled lines into bytes; rich adds colour and must not fold, crop or read markup."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        color_system="standard" if color else None,
        force_terminal=color,
        no_color=not color,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    for line in lines:
        line.rstrip()
        console.print(line, soft_wrap=True)
    return text.getvalue().encode("utf-8", "replace")


def _write_head(paper: Paper, report: Report) -> None:
    """Write the line of facts, and the verdict in one sentence."""
    target, window = report.target, report.window
    is_watch = window.mode == "watch"
    facts = [
        "cgoleak",
        f"pid {target.pid} {visible(target.exe.rpartition('/')[2])}",
        f"{visible(target.go_version or 'Go of unknown version')} linux/{visible(target.arch)}",
        visible(target.libc or "no libc"),
        f"{format_seconds(window.seconds)} {'watched' if is_watch else 'since attach'}",
        plural(window.snapshots, "snapshot"),
        "GC cycles unknown" if window.gc_cycles is None else plural(window.gc_cycles, "GC cycle"),
    ]
    if target.allocator and target.libc and not target.libc.startswith(target.allocator):
        facts.insert(4, f"malloc from {visible(target.allocator)}")
    if window.mode not in {"exact", "watch"}:
        facts.append(window.mode)
    paper.joined(facts, " · ", style="dim")
    paper.blank()
    label = CAUSES[report.cause].label
    style = _CAUSE_STYLES.get(report.cause, "bold green")
    paper.paragraph(visible(report.summary), label=f"{label}  ", label_style=style, hang=2)


def _write_balance(paper: Paper, report: Report) -> None:
    """Write the sheet, what Go will hand back, and the restarts."""
    if report.balance:
        paper.blank()
        _write_sheet(paper, report.balance)
    back = report.go_return
    if back is not None and back.held_bytes:
        when = ""
        if back.within_seconds is not None:
            low, high = back.within_seconds
            when = f" within {format_seconds(low)} to {format_seconds(high)}"
        text = (
            f"{format_bytes(back.returning_bytes)} of {format_bytes(back.held_bytes)}{when}, "
            f"{format_bytes(back.buffer_bytes)} stay as buffer; {visible(back.why)}"
        )
        paper.blank()
        paper.paragraph(text, label=" Go gives back  ", label_style="bold", hang=16)
    for restart in report.restarts:
        text = (
            f"at {format_seconds(restart.at)}: pid {restart.old_pid} → {restart.new_pid}, "
            f"{visible(restart.reason)}; RSS {format_bytes(restart.rss_before_bytes)} → "
            f"{format_bytes(restart.rss_after_bytes)}"
        )
        paper.paragraph(text, label=" restart  ", label_style="bold", hang=10)


def _write_sheet(paper: Paper, balance: tuple[BalanceLine, ...]) -> None:
    """Write the balance; where there is room, each number's source stands beside it."""
    widest = max(16, *(len(visible(line.part)) for line in balance))
    part_width = min(widest, paper.width - 37)
    source_width = paper.width - part_width - 38
    head = f" {'where RSS went':<{part_width + 1}}{'at start':>10}{'now':>11}{'change':>12}"
    paper.line(Text(head, style="bold"))
    for line in balance:
        change = line.change_bytes
        text = Text(f"  {paper.middle(visible(line.part), part_width):<{part_width}}")
        text.append(f"{_known(line.start_bytes):>10}{format_bytes(line.now_bytes):>11}")
        signed = "-" if change is None else format_bytes_change(change)
        text.append(f"{signed:>12}", style="bold" if change and change > 0 else "")
        if line.source and source_width >= _SOURCE_WIDTH:
            text.append(f"   {paper.end(visible(line.source), source_width - 2)}", style="dim")
        paper.line(text)


def _write_go_sites(paper: Paper, report: Report) -> None:
    """Write where the Go heap grew, if that is what RSS is about."""
    if report.cause is not Cause.GO_HEAP or not report.go_sites:
        return
    paper.blank()
    paper.line(Text(" where the Go heap grew, by its own profile", style="bold"))
    for site in report.go_sites[:_GO_SITES]:
        grown = format_bytes_change(site.change_bytes)
        frame = Frame(Language.GO, site.function, site.file, site.line)
        place = place_of(frame, parts=2)
        text = f"{visible(site.function)}  {place}" if place else visible(site.function)
        paper.paragraph(
            f"{text}  (now {format_bytes(site.in_use_bytes)})",
            label=f"  {grown:>10}  ",
            label_style="bold",
            hang=14,
        )


def _known(count: int | None) -> str:
    return "-" if count is None else format_bytes(count)


def _write_notices(paper: Paper, report: Report) -> None:
    """Write what was not measured, and the like."""
    if report.notices:
        paper.blank()
    for notice in report.notices:
        fix = f" ({visible(notice.fix)})" if notice.fix else ""
        label = f" note  {visible(notice.code)}  "
        paper.paragraph(f"{visible(notice.text)}{fix}", label=label, label_style="bold", hang=7)


def _write_cost(paper: Paper, report: Report) -> None:
    """Write what the measurement cost the target, and what it lost."""
    cost = report.cost
    if report.window.mode == "watch" and not cost.target_bytes:
        paper.blank()
        paper.joined([" cost  watched from outside", "nothing put into it"], " · ", style="dim")
        return
    facts = [
        f"target stood still for {format_seconds(cost.pause_seconds)}",
        f"{format_bytes(cost.target_bytes)} in it",
        plural(cost.events, "event"),
    ]
    if cost.ns_per_event is not None:
        facts.append(f"{cost.ns_per_event:.0f} ns each")
    facts.append(f"{format_count(cost.dropped)} dropped")
    if cost.unmatched_frees:
        facts.append(f"{format_count(cost.unmatched_frees)} frees of older blocks")
    paper.blank()
    paper.joined([f" cost  {facts[0]}", *facts[1:]], " · ", style="dim", hang=7)
