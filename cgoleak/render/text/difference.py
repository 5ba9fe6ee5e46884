"""A difference as text: the sentence, the sheet of both, what became of each site, and details."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from rich.cells import cell_len

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.difference import Change
from cgoleak.model.words import words_in
from cgoleak.render.answers.labels import causes_told
from cgoleak.render.balances import balance_changes
from cgoleak.render.stacklines import fitted_site
from cgoleak.render.text.findings import growth_words, write_advice, write_stack
from cgoleak.render.text.paper import Paper, left_in, printed, right_in
from cgoleak.render.text.styled import Text
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_bytes_change, format_seconds

if TYPE_CHECKING:
    from cgoleak.model.difference import Difference, SiteChange
    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["DiffTextRenderer"]

_PIPE_WIDTH: Final = 100
_NARROWEST: Final = 60
_WIDE: Final = 110
_STYLES: Final = {
    Change.GAINED: "bold red",
    Change.GROWN: "bold red",
    Change.SHRUNK: "green",
    Change.GONE: "green",
    Change.SAME: "dim",
}
_DETAILED: Final = frozenset({Change.GAINED, Change.GROWN})


@dataclass(frozen=True, slots=True)
class DiffTextRenderer:
    """Writes UTF-8 text; the fields are those of ``TerminalRenderer``."""

    top: int = 10
    full_stacks: bool = False
    width: int | None = None
    color: bool = False
    lang: str = "en"

    def render(self, difference: Difference, out: BinaryIO) -> None:
        """Write the whole text."""
        words = words_in(self.lang)
        paper = Paper(width=max(self.width or _PIPE_WIDTH, _NARROWEST), cut=self.width is not None)
        for label, report in (("base", difference.base), ("new", difference.new)):
            first, *facts = _facts(report, words)
            paper.joined([f"{left_in(words(label), 5)}{first}", *facts], " · ", style="dim")
        paper.blank()
        paper.paragraph(visible(words(difference.summary)), label="", label_style="bold", hang=2)
        _write_sheet(paper, difference, words)
        changed = [one for one in difference.sites if one.change is not Change.SAME]
        _write_table(paper, changed, self.top, words)
        for one in changed[: self.top]:
            if one.change in _DETAILED:
                _write_one(paper, one, words, full_stacks=self.full_stacks)
        same = len(difference.sites) - len(changed)
        if same:
            paper.blank()
            paper.line(Text(f" {words.count(same, 'site')} {words('unchanged')}", style="dim"))
        out.write(printed(paper, color=self.color))


def _facts(report: Report, words: Words) -> list[str]:
    return [
        f"{visible(report.target.exe.rpartition('/')[2])} pid {report.target.pid}",
        visible(report.target.go_version or words("Go of unknown version")),
        format_seconds(report.window.seconds),
        " + ".join(words(cause.value) for cause in causes_told(report)),
    ]


def _write_sheet(paper: Paper, difference: Difference, words: Words) -> None:
    lines = [line for line in balance_changes(difference) if line.start_bytes or line.now_bytes]
    if not lines:
        return
    paper.blank()
    title = words("where RSS went")
    names = [visible(words(line.part)) for line in lines]
    width = max(map(cell_len, (title, *names))) + 1
    head = f" {left_in(title, width)}{right_in(words('base'), 11)}{right_in(words('new'), 11)}"
    paper.line(Text(f"{head}{right_in(words('change'), 12)}", style="bold"))
    for name, line in zip(names, lines, strict=True):
        change = line.change_bytes or 0
        text = Text(f"  {left_in(name, width - 1)}")
        text.append(f"{format_bytes(line.start_bytes or 0):>11}{format_bytes(line.now_bytes):>11}")
        text.append(f"{format_bytes_change(change):>12}", style="bold" if change > 0 else "")
        paper.line(text)


def _write_table(paper: Paper, changed: list[SiteChange], top: int, words: Words) -> None:
    if not changed:
        return
    paper.blank()
    columns = (("base", 11), ("new", 11), ("growth base", 14), ("new", 12))
    head = left_in(f" {words('change')}", 10)
    head += "".join(right_in(words(name), width) for name, width in columns)
    wide = paper.width >= _WIDE
    paper.line(Text(f"{head}   {words('site')}" if wide else head, style="bold"))
    for one in changed[:top]:
        row = Text(" ")
        row.append(left_in(words(one.change.value), 9), style=_STYLES[one.change])
        row.append(f"{_size(one.base):>11}{_size(one.new):>11}")
        row.append(f"{right_in(_rate(one.base, words), 14)}{right_in(_rate(one.new, words), 12)}")
        if wide:
            row.append("   ")
        else:
            paper.line(row)
            row = Text("   ")
        room = paper.width - row.cell_len
        paper.line(row.append(fitted_site(one.shown.stack, room if paper.cut else None)))
    left = Counter(one.change.value for one in changed[top:])
    if left:
        tally = ", ".join(f"{count} {words(name)}" for name, count in left.items())
        more = words("{tally} more", tally=tally)
        paper.line(Text(f" … {more}: --top {len(changed)}", style="dim"))


def _size(finding: Finding | None) -> str:
    return "-" if finding is None else format_bytes(finding.outstanding_bytes)


def _rate(finding: Finding | None, words: Words) -> str:
    return "-" if finding is None else growth_words(finding, words)


def _write_one(paper: Paper, one: SiteChange, words: Words, *, full_stacks: bool) -> None:
    paper.blank()
    shown = one.shown
    head = Text(" ")
    head.append(words(one.change.value).upper(), style=_STYLES[one.change])
    now = words(VERDICTS[shown.verdict].label)
    was = words(VERDICTS[one.base.verdict].label) if one.base else ""
    verdict = f"{was} → {now}" if was and was != now else now
    head.append(f"  {format_bytes_change(one.change_bytes)}  {verdict}")
    head.append(f"   {words('site')} {visible(one.site)}", style="dim")
    paper.line(head)
    write_stack(paper, shown.stack, words, full_stacks=full_stacks)
    write_advice(paper, shown, words)
