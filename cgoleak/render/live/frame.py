"""One picture of the live view: report, view and moment → lines. Pure: it is tested as text.

The picture has as many lines as the terminal: facts, verdict and curves on top, the sheet and the
table of sites below (or what was opened instead), the keys at the bottom. What does not fit is left
out, the less important first; every part says what it leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from cgoleak.model.words import words_in
from cgoleak.render.answers.labels import cause_label, is_leaking
from cgoleak.render.live.panes import help_lines, sheet_lines, stack_lines
from cgoleak.render.live.parts import curves, largest_parts
from cgoleak.render.live.sites import has_room_beside, site_rows
from cgoleak.render.live.view import Pane, Seen, View, in_order
from cgoleak.render.text.document import CAUSE_STYLES, write_sheet
from cgoleak.render.text.paper import Paper
from cgoleak.render.text.styled import Text
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["Drawn", "Moment", "frame"]

_NARROWEST: Final = 40
_LOWEST: Final = 6
_AIRY: Final = 20
"""From this height on there are blank lines between the parts."""
_STALE_S: Final = 6.0
"""An older report says how old it is."""
_LEAST_SHEET: Final = 3
"""Lines: the heading, one part, and the others as one."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known besides the report, which is judged now and then only.

    Attributes:
        subject: what is measured, for as long as there is no report.
        phase: ``measuring``, ``watching`` or ``waiting`` for a process; any other is shown instead
            of the keys.
        outstanding_bytes: by now; None where it is not counted.
    """

    subject: str
    phase: str
    elapsed_s: float = 0.0
    duration_s: float | None = None
    outstanding_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The lines, as many as the terminal has, and what a key press needs to know of them."""

    lines: tuple[Text, ...]
    seen: Seen


_WAITING: Final = "waiting"
_QUIET_PHASES: Final = frozenset({"measuring", "watching", _WAITING})
_PHASES: Final = {
    "preparing": "preparing",
    "attaching": "attaching",
    "detaching": "detaching",
    "reading symbols": "reading symbols",
    "reporting": "reporting",
}


def frame(
    report: Report | None,
    view: View,
    moment: Moment,
    *,
    width: int,
    height: int,
    lang: str = "en",
) -> Drawn:
    """Draw a report; ``None`` is one that is not there yet."""
    words = words_in(lang)
    asked, width, lines_left = width, max(width, _NARROWEST), max(height, _LOWEST)
    paper = Paper(width=width, cut=True)
    _write_facts(paper, report, view, moment, words)
    if moment.phase == _WAITING:
        paper.line(Text(words("nothing runs; waiting for it to be started"), style="bold"))
    # Of one reading nothing can be told: no site has a verdict yet.
    findings: tuple[Finding, ...] = ()
    if report is not None and report.window.snapshots > 1:
        findings = in_order(report.findings, view.order)
    cursor = _cursor(findings, view)
    if report is not None:
        _write_verdict(paper, report, words, lines=3 if lines_left >= 2 * _AIRY else 2)
    room = lines_left - len(paper.lines) - 1
    sites = tuple(one.site for one in findings)
    if report is None and view.pane is not Pane.HELP:
        paper.blank()
        if moment.phase != _WAITING:
            paper.line(Text(f" {words('The first numbers come in a moment.')}", style="dim"))
        seen = Seen()
    elif report is not None and view.pane is Pane.SITES:
        page = _write_sites(paper, report, findings, cursor, view, room, words)
        seen = Seen(sites, page)
    else:
        body = _pane(report, findings[cursor] if findings else None, view, width, words)
        last = max(0, len(body) - room)
        paper.lines += body[min(view.offset, last) :][:room]
        seen = Seen(sites, room, last)
    shown = paper.lines[: lines_left - 1]
    shown += [Text()] * (lines_left - 1 - len(shown))
    shown.append(_footer(view, moment, (cursor, seen), width, words))
    for line in shown:
        line.truncate(asked, overflow="crop")
    return Drawn(tuple(shown[: max(height, 0)]), seen)


def _cursor(findings: Sequence[Finding], view: View) -> int:
    sites = [one.site for one in findings]
    return sites.index(view.selected) if view.selected in sites else 0


# --- the top ----------------------------------------------------------------------------------


def _write_facts(
    paper: Paper, report: Report | None, view: View, moment: Moment, words: Words
) -> None:
    """Write one line; facts that do not fit are left out from the end."""
    facts = ["cgoleak", *_facts_now(report, view, moment, words)]
    if report is not None:
        facts += _facts_of(report, words)
    mark = ""
    if view.paused:
        at = format_seconds(0 if report is None else int(report.window.seconds))
        mark = f" {words('PAUSED at {time}', time=at)} "
    text = facts[0]
    for fact in facts[1:]:
        if cell_len(text) + 3 + cell_len(fact) + cell_len(mark) + 1 > paper.width and fact:
            break
        text += f" · {fact}"
    line = Text(text, style="dim")
    line.truncate(paper.width - cell_len(mark), overflow="ellipsis")
    if mark:
        line.append(" " * max(0, paper.width - line.cell_len - cell_len(mark)))
        line.append(mark, style="bold reverse not dim")
    paper.line(line)


def _facts_now(report: Report | None, view: View, moment: Moment, words: Words) -> list[str]:
    """Say what is measured, for how long, and what is known of this instant."""
    subject = moment.subject
    if report is not None:
        subject = f"pid {report.target.pid} {report.target.exe.rpartition('/')[2]}"
    elapsed = format_seconds(int(moment.elapsed_s))
    if moment.duration_s is not None:
        elapsed += f" / {format_seconds(moment.duration_s)}"
    facts = [visible(subject), elapsed]
    if report is not None and report.window.mode == "watch" and moment.phase == "measuring":
        facts.append(words("hooks are in"))
    if view.paused:
        return facts
    if report is not None and moment.elapsed_s - report.window.seconds > _STALE_S:
        time = format_seconds(int(report.window.seconds))
        facts.append(words("as of {time}", time=time))
    if moment.outstanding_bytes is not None:
        size = format_bytes(moment.outstanding_bytes)
        facts.append(f"{size} {words('outstanding')}")
    return facts


def _facts_of(report: Report, words: Words) -> list[str]:
    timeline, window = report.timeline, report.window
    facts = []
    rss = None if timeline is None else next(filter(None, reversed(timeline.rss_bytes)), None)
    if rss is not None:
        facts.append(f"RSS {format_bytes(rss)}")
    if window.gc_cycles is not None:
        facts.append(words.count(window.gc_cycles, "GC cycle"))
    if window.sample_bytes:
        facts.append(words("one block per {size}", size=format_bytes(window.sample_bytes)))
    facts.append(visible(report.target.go_version or words("Go of unknown version")))
    if report.target.libc:
        facts.append(visible(report.target.libc))
    return facts


def _write_verdict(paper: Paper, report: Report, words: Words, *, lines: int) -> None:
    if report.window.snapshots < 2:
        paper.line(Text(words("The first numbers come in a moment."), style="dim"))
        return
    whole = Paper(width=paper.width, cut=True)
    label = cause_label(report, words)
    style = "bold red" if is_leaking(report) else CAUSE_STYLES.get(report.cause, "bold green")
    whole.paragraph(visible(words(report.summary)), label=f"{label}  ", label_style=style, hang=2)
    shown = whole.lines[:lines]
    if len(whole.lines) > lines:
        shown[-1].truncate(paper.width - 2)
        shown[-1].append(" …")
    paper.lines += shown


# --- the middle -------------------------------------------------------------------------------


def _write_sites(
    paper: Paper,
    report: Report,
    findings: Sequence[Finding],
    cursor: int,
    view: View,
    room: int,
    words: Words,
) -> int:
    """Write curves, sheet and table; give how many sites there is room for."""
    airy = room + len(paper.lines) >= _AIRY
    begin = len(paper.lines)
    if drawn := curves(report, paper.width, most=max(0, min(3, room // 5)), words=words):
        if airy:
            paper.blank()
        paper.lines += drawn
    room -= len(paper.lines) - begin
    if not findings:
        body = sheet_lines(report, paper.width, words)
        if report.window.mode != "watch" and report.window.snapshots > 1:
            text = words("No C memory that was allocated since the attach is outstanding.")
            body = [Text(), Text(f" {text}"), *body]
        paper.lines += body[: room - 1] if len(body) > room else body
        if len(body) > room:
            paper.line(Text(f" … {words('the rest: {key}', key='w')}", style="dim"))
        return 1
    gap = int(airy)
    beside = has_room_beside(paper.width)
    wanted = gap + 1 + len(findings) + int(not beside)
    sheet_room = max(room - wanted, room // 2) - gap
    if sheet_room >= _LEAST_SHEET and report.balance:
        paper.lines += [Text()] * gap
        begin = len(paper.lines)
        write_sheet(paper, largest_parts(report.balance, sheet_room - 1, words), words)
        room -= len(paper.lines) - begin + gap
    rows = max(1, room - gap - 1 - int(not beside))
    start = max(0, min(cursor - rows // 2, len(findings) - rows))
    paper.lines += [Text()] * gap
    paper.lines += site_rows(
        findings[start : start + rows], cursor - start, view.order, paper.width, words
    )
    return rows


def _pane(
    report: Report | None, finding: Finding | None, view: View, width: int, words: Words
) -> list[Text]:
    if view.pane is Pane.HELP or report is None:
        return help_lines(width, words)
    if view.pane is Pane.SHEET:
        return sheet_lines(report, width, words)
    if finding is None or finding.site != view.selected:
        return [Text(), Text(f" {words('This site holds nothing any more.')}", style="dim")]
    return stack_lines(report, finding, width, words, full_stacks=view.full_stacks)


# --- the bottom -------------------------------------------------------------------------------


def _footer(view: View, moment: Moment, where: tuple[int, Seen], width: int, words: Words) -> Text:
    """Write the keys that fit, the needful ones always; or what is being done."""
    if moment.phase not in _QUIET_PHASES:
        return Text(f" {words(_PHASES.get(moment.phase, moment.phase))} …", style="bold")
    if view.finished:
        return Text(f" {words('finishing')} …", style="bold")
    cursor, seen = where
    place = ""
    if view.pane is Pane.SITES and seen.sites:
        place = f"{cursor + 1}/{len(seen.sites)} "
    elif seen.last_offset:
        place = f"{min(view.offset, seen.last_offset) * 100 // seen.last_offset} % "
    keys = _keys(view, seen, words)
    needful = [("?", words("keys")), ("q", words("finish"))]
    room = width - cell_len(place)
    while keys and _length([*keys, *needful]) > room:
        keys.pop()
    text = Text()
    for key, does in [*keys, *needful]:
        text.append(f" {key}", style="bold").append(f" {does} ", style="dim")
    text.append(" " * max(0, room - text.cell_len)).append(place, style="dim")
    return text


def _keys(view: View, seen: Seen, words: Words) -> list[tuple[str, str]]:
    """Give keys and what they do; the more needful first, since what does not fit is left out."""
    paused = ("p", words("go on") if view.paused else words("pause"))
    if view.pane is not Pane.SITES:
        keys = [("Esc", words("back")), paused]
        if view.pane is Pane.STACK:
            keys.append(("f", words("all frames")))
        return [*keys, ("↑↓", words("scroll"))] if seen.last_offset else keys
    if not seen.sites:
        return [paused, ("w", words("sheet"))]
    return [
        ("Enter", words("stack")),
        paused,
        ("s", words("sort")),
        ("w", words("sheet")),
        ("↑↓", words("select")),
    ]


def _length(keys: Sequence[tuple[str, str]]) -> int:
    return sum(cell_len(key) + cell_len(does) + 3 for key, does in keys)
