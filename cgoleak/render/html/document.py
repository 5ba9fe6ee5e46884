"""The report's page: what its template is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.words import words_in
from cgoleak.render.answers.five import answers_to
from cgoleak.render.answers.labels import cause_label, is_leaking
from cgoleak.render.answers.recovery import go_gives_back
from cgoleak.render.estimates import is_estimated, sampling_facts
from cgoleak.render.html.about import cost_of, known_from, method_of, notices_in, run_of
from cgoleak.render.html.page import Page
from cgoleak.render.html.payload import payload_of, safe_json
from cgoleak.render.html.sheet import sheet_of
from cgoleak.render.html.sites import handle_view_of, view_of
from cgoleak.render.html.timechart import HEIGHT, WIDTH, chart_of
from cgoleak.render.text.gate import gate_notes
from cgoleak.render.visible import visible
from cgoleak.units import (
    format_bytes,
    format_bytes_change,
    format_count,
    format_seconds,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.model.report import Report
    from cgoleak.model.words import Words

__all__ = ["HtmlRenderer"]

_STYLES: Final = ("base.css", "sheet.css", "chart.css", "sites.css", "flame.css")
_SCRIPTS: Final = (
    "page.js",
    "units.js",
    "report.js",
    "stack.js",
    "button.js",
    "chart.js",
    "sites.js",
    "flame.js",
    "main.js",
)
_MOST_STATIC: Final = 100
_OPEN: Final = frozenset({Verdict.NATIVE_LEAK, Verdict.SUSPECT, Verdict.GO_HELD})


@dataclass(frozen=True, slots=True)
class HtmlRenderer:
    """Writes one self-contained page.

    Attributes:
        top: how many findings can be read without scripts; the page has all of them.
        full_stacks: show cgo and runtime frames in these.
        lang: language of the words, a key of ``cgoleak.model.words.LANGUAGES``.
        source: directory from which lines of source are shown; None, the default, for none.
    """

    top: int = 10
    full_stacks: bool = False
    lang: str = "en"
    source: Path | None = None

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the page."""
        words = words_in(self.lang)
        shown = report.findings[: min(self.top, _MOST_STATIC)]
        page = Page("report.html.j2", _STYLES, _SCRIPTS)
        content = page.render(
            words,
            title=_title(report, words),
            payload=safe_json(payload_of(report, words, page.script_words)),
            report=report,
            label=cause_label(report, words),
            estimated=is_estimated(report),
            known=known_from(report, words),
            leaks=is_leaking(report),
            gate=_gate(report, words),
            answers=answers_to(report, words),
            facts=_facts(report, words),
            sheet=sheet_of(report.balance, words),
            chart=chart_of(report, words),
            chart_box=(WIDTH, HEIGHT),
            sites=[
                view_of(one, words, full_stacks=self.full_stacks, source=self.source)
                for one in shown
            ],
            handles=[
                handle_view_of(one, words, full_stacks=self.full_stacks)
                for one in report.handles[:_MOST_STATIC]
            ],
            open_site=shown[0].site if shown and shown[0].verdict in _OPEN else None,
            verdicts=_verdict_counts(report, words),
            go_sites=_go_sites(report, words),
            go_return=go_gives_back(report, words),
            restarts=_restarts(report, words),
            notices=notices_in(report, words),
            run=run_of(report, words),
            cost=cost_of(report, words),
            method=method_of(report, words),
        )
        out.write(content)


@dataclass(frozen=True, slots=True)
class _GateView:
    """What ``cgoleak check`` decided; each line with the site it is about."""

    passed: bool
    summary: str
    lines: tuple[tuple[str, str], ...]


def _gate(report: Report, words: Words) -> _GateView | None:
    gate = report.gate
    if gate is None:
        return None
    lines = [(visible(one.site), visible(words(one.text))) for one in gate.violations]
    lines += [("", note) for note in gate_notes(gate, words)]
    return _GateView(gate.passed, visible(words(gate.summary)), tuple(lines))


def _name(report: Report) -> str:
    return visible(report.target.exe.rpartition("/")[2] or "process")


def _title(report: Report, words: Words) -> str:
    return f"{cause_label(report, words)} · {_name(report)} {report.target.pid} · cgoleak"


def _facts(report: Report, words: Words) -> tuple[str, ...]:
    """Give the line under the sentence."""
    target, window = report.target, report.window
    since = words("watched") if window.mode == "watch" else words("since attach")
    cycles = (
        words("GC cycles unknown")
        if window.gc_cycles is None
        else words("{count} GC cycles", count=format_count(window.gc_cycles))
    )
    return (
        f"{_name(report)}, pid {target.pid}",
        visible(target.go_version or words("Go of unknown version")),
        f"{format_seconds(window.seconds)} {since}",
        words("{count} snapshots", count=format_count(window.snapshots)),
        cycles,
        *sampling_facts(window, words),
    )


def _verdict_counts(report: Report, words: Words) -> list[tuple[str, str, int]]:
    counts = [(one, sum(found.verdict is one for found in report.findings)) for one in Verdict]
    return [(one.value, words(VERDICTS[one].label), count) for one, count in counts if count]


def _go_sites(report: Report, words: Words) -> list[tuple[str, str, str, str]]:
    if report.cause is not Cause.GO_HEAP:
        return []
    return [
        (
            format_bytes_change(one.change_bytes),
            visible(one.function),
            visible(f"{one.file}:{one.line}") if one.file else "",
            words("now {size}", size=format_bytes(one.in_use_bytes)),
        )
        for one in report.go_sites[:5]
    ]


def _restarts(report: Report, words: Words) -> list[str]:
    return [
        words(
            "at {time}: pid {old} → {new}, {reason}; RSS {before} → {after}",
            time=format_seconds(one.at),
            old=one.old_pid,
            new=one.new_pid,
            reason=visible(words(one.reason)),
            before=format_bytes(one.rss_before_bytes),
            after=format_bytes(one.rss_after_bytes),
        )
        for one in report.restarts
    ]
