"""The page of a difference: the sheets of both reports, and what became of each site."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.difference import Change
from cgoleak.model.words import words_in
from cgoleak.render.answers.labels import cause_label
from cgoleak.render.balances import balance_changes
from cgoleak.render.growth import growth_shown
from cgoleak.render.html.page import Page
from cgoleak.render.html.payload import payload_of_difference, safe_json
from cgoleak.render.html.sheet import sheet_of
from cgoleak.render.html.sites import SiteView, growth_text, view_of
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_bytes_change, format_seconds

if TYPE_CHECKING:
    from cgoleak.model.difference import Difference, SiteChange
    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["DiffHtmlRenderer"]

_STYLES: Final = ("base.css", "sheet.css", "sites.css", "chart.css", "flame.css")
_SCRIPTS: Final = ("page.js", "units.js", "report.js", "button.js", "flame.js", "diff.js")
_MOST: Final = 500
"""Sites on the page; all of it is static."""
_WORSE: Final = frozenset({Change.GAINED, Change.GROWN})


@dataclass(frozen=True, slots=True)
class _Side:
    label: str
    cause: str
    summary: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    change: str
    label: str
    base: str
    new: str
    moved: str
    growth: str
    verdicts: str
    is_worse: bool
    view: SiteView


@dataclass(frozen=True, slots=True)
class DiffHtmlRenderer:
    """Writes one self-contained page; fields as of ``HtmlRenderer``."""

    full_stacks: bool = False
    lang: str = "en"

    def render(self, difference: Difference, out: BinaryIO) -> None:
        """Write the page."""
        words = words_in(self.lang)
        changed = [one for one in difference.sites if one.change is not Change.SAME]
        counts = Counter(one.change for one in changed)
        unchanged = len(difference.sites) - len(changed)
        page = Page("diff.html.j2", _STYLES, _SCRIPTS)
        summary = visible(words(difference.summary))
        out.write(
            page.render(
                words,
                title=f"{summary} · cgoleak",
                payload=safe_json(payload_of_difference(changed, words, page.script_words)),
                metric="growth" if difference.rates else "bytes",
                tone="worse" if _WORSE & counts.keys() else "better" if counts else "",
                summary=summary,
                sides=[
                    _side(words("base"), difference.base, words),
                    _side(words("new"), difference.new, words),
                ],
                sheet=sheet_of(
                    balance_changes(difference), words, start=words("base"), now=words("new")
                ),
                changes=[
                    (one.value, words(one.value), counts[one]) for one in Change if counts[one]
                ],
                sites=[self._row(one, words) for one in changed[:_MOST]],
                left_out=max(0, len(changed) - _MOST),
                unchanged=words.count(unchanged, "site") if unchanged else "",
            )
        )

    def _row(self, one: SiteChange, words: Words) -> _Row:
        was, now = _verdict(one.base, words), _verdict(one.new, words)
        return _Row(
            change=one.change.value,
            label=words(one.change.value),
            base=_size(one.base),
            new=_size(one.new),
            moved=format_bytes_change(one.change_bytes),
            growth=f"{_growth(one.base, words)} → {_growth(one.new, words)}",
            verdicts=f"{was} → {now}" if was and now and was != now else was or now,
            is_worse=one.change in _WORSE,
            view=view_of(one.shown, words, full_stacks=self.full_stacks),
        )


def _side(label: str, report: Report, words: Words) -> _Side:
    target, window = report.target, report.window
    return _Side(
        label=label,
        cause=cause_label(report, words),
        summary=visible(words(report.summary)),
        facts=(
            f"{visible(target.exe.rpartition('/')[2])}, pid {target.pid}",
            visible(target.go_version or words("Go of unknown version")),
            format_seconds(window.seconds),
        ),
    )


def _size(finding: Finding | None) -> str:
    return "-" if finding is None else format_bytes(finding.outstanding_bytes)


def _growth(finding: Finding | None, words: Words) -> str:
    return "-" if finding is None else growth_text(growth_shown(finding), words)


def _verdict(finding: Finding | None, words: Words) -> str:
    return "" if finding is None else words(VERDICTS[finding.verdict].label)
