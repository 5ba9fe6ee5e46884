"""The five questions of somebody who sees a report for the first time, answered from it.

Is it a leak, how fast, which line, what comes back by itself, what to do. Report → five answers, in
that order, so that each is found at the same place in every report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.catalog import CAUSES
from cgoleak.model.frames import Frame, Language
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.words import ENGLISH
from cgoleak.render.stacklines import place_of, site_words
from cgoleak.render.visible import visible
from cgoleak.units import (
    format_bytes,
    format_bytes_change,
    format_rate,
    format_seconds,
)

if TYPE_CHECKING:
    from cgoleak.model.report import Finding, GoReturn, Report
    from cgoleak.model.words import Words

__all__ = ["Answer", "answers_to", "finding_to_blame", "within"]

_DAY: Final = 86400
_WORTH_SAYING: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One question and its answer; ``site`` is the key of the finding that is meant, if one is.

    ``name`` tells the question in scripts and style sheets: ``leak``, ``speed``, ``line``,
    ``return`` or ``do``.
    """

    name: str
    question: str
    text: str
    detail: str = ""
    site: str | None = None


def answers_to(report: Report, words: Words = ENGLISH) -> tuple[Answer, ...]:
    """Answer all five."""
    blamed = finding_to_blame(report)
    return (
        Answer("leak", words("Is it a leak?"), _is_leak(report, words)),
        Answer("speed", words("How fast?"), *_how_fast(report, words)),
        _which_line(report, blamed, words),
        Answer("return", words("What comes back by itself?"), *_comes_back(report, words)),
        Answer("do", words("What to do?"), _what_to_do(report, blamed, words)),
    )


def within(back: GoReturn, words: Words) -> str:
    """Say when Go hands back what it will: ``within 2 to 5 min``; empty where nobody can tell."""
    if back.within_seconds is None:
        return ""
    low, high = back.within_seconds
    if low < 1:
        return words("within {time}", time=format_seconds(high))
    return words("within {low} to {high}", low=format_seconds(low), high=format_seconds(high))


def finding_to_blame(report: Report) -> Finding | None:
    """Give the site to look at first; None if no site explains what happened.

    A leak comes before whatever else made RSS grow: it is the part that never stops.
    """
    order = [Verdict.NATIVE_LEAK, Verdict.SUSPECT]
    if report.cause is Cause.GO_HELD:
        order.insert(1, Verdict.GO_HELD)
    found = (next(iter(_having(report, verdict)), None) for verdict in order)
    return next((one for one in found if one is not None), None)


def _having(report: Report, verdict: Verdict) -> list[Finding]:
    return [one for one in report.findings if one.verdict is verdict]


_NO_LEAK: Final = {
    Cause.GO_HELD: "No. C memory waits for Go's finalizers or cleanups.",
    Cause.GO_HEAP: "Not of C memory: the live Go heap grows.",
    Cause.GO_RETAINED: "No. Go's memory is free or garbage, and still resident.",
    Cause.ALLOCATOR_RETAINED: "No. C has freed it; malloc keeps it.",
    Cause.RESTART: "It did not recover: the process ended and another took its place.",
    Cause.OTHER: "Not of C's heap or Go's: stacks, mappings or files grow.",
    Cause.STABLE: "No. Nothing kept growing in this window.",
    Cause.UNKNOWN: "Not known: what was measured does not tell.",
    Cause.NATIVE_LEAK: "Yes. C memory accumulates and is not freed.",
}


_MOSTLY: Final = {
    Cause.GO_HELD: "Most of the growth waits for Go's finalizers or cleanups.",
    Cause.GO_HEAP: "Most of the growth is the live Go heap.",
    Cause.GO_RETAINED: "Most of the growth is free or garbage in Go's heap.",
    Cause.ALLOCATOR_RETAINED: "Most of the growth C has freed and malloc keeps.",
    Cause.RESTART: "The process ended and another took its place.",
    Cause.OTHER: "Most of the growth is stacks, mappings or files.",
    Cause.STABLE: "It is little.",
    Cause.UNKNOWN: "What the rest is was not told.",
}
_NAMED: Final = frozenset({Cause.GO_HELD, Cause.GO_HEAP, Cause.GO_RETAINED, Cause.RESTART})


def _is_leak(report: Report, words: Words) -> str:
    leaks, suspects = _having(report, Verdict.NATIVE_LEAK), _having(report, Verdict.SUSPECT)
    said = words(_NO_LEAK[report.cause])
    if report.cause is Cause.NATIVE_LEAK:
        return said
    if leaks:
        sites = words.count(len(leaks), "site")
        part = words("Yes, in part: C memory accumulates at {sites}.", sites=sites)
        return f"{part} {words(_MOSTLY[report.cause])}"
    if suspects and report.cause not in _NAMED:
        sites = words.count(len(suspects), "site")
        return words("Not shown, but it may be: {sites} to look at.", sites=sites)
    return said


def _how_fast(report: Report, words: Words) -> tuple[str, str]:
    """Give the rate of the leaks, else what RSS did; the detail is what that comes to."""
    rss = next((line for line in report.balance if line.part == "RSS"), None)
    window = format_seconds(report.window.seconds)
    moved = ""
    if rss is not None and rss.change_bytes is not None:
        change = format_bytes_change(rss.change_bytes)
        moved = words("RSS {change} in {window}", change=change, window=window)
    if (speed := _speed_between_restarts(report)) is not None:
        return words("{rate} before each restart", rate=format_rate(speed)), moved
    leaks = _having(report, Verdict.NATIVE_LEAK) or _having(report, Verdict.SUSPECT)
    rate = sum(one.growth_bytes_per_second for one in leaks)
    if leaks and rate > 0:
        a_day = words("{size} a day", size=format_bytes(rate * _DAY))
        return format_rate(rate), f"{a_day} · {moved}" if moved else a_day
    return (moved or words("Not known: RSS was not read."), "")


def _speed_between_restarts(report: Report) -> float | None:
    """Give how fast RSS grew from the beginning of each process to its end; None if it did not."""
    line = report.timeline
    if report.cause is not Cause.RESTART or line is None:
        return None
    known = [one for one in zip(line.seconds, line.rss_bytes, strict=True) if one[1] is not None]
    began, size = known[0] if known else (0.0, None)
    grown = lived = 0.0
    for restart in report.restarts:
        grown += restart.rss_before_bytes - (size or restart.rss_before_bytes)
        lived += restart.at - began
        began, size = restart.at, restart.rss_after_bytes
    return grown / lived if lived > 0 and grown > 0 else None


def _which_line(report: Report, blamed: Finding | None, words: Words) -> Answer:
    question = words("Which line?")
    if report.cause is Cause.GO_HEAP and report.go_sites:
        site = report.go_sites[0]
        frame = Frame(Language.GO, site.function, site.file, site.line)
        place = place_of(frame, parts=2)
        return Answer("line", question, visible(site.function), place)
    if report.cause is Cause.GO_HEAP and blamed is None:
        return Answer("line", question, words("In Go code: its heap profile names it."))
    if blamed is None:
        watched = report.window.mode == "watch" and not report.findings
        text = (
            words("Not looked for: watched from outside, without hooks.")
            if watched
            else words("None to blame: no site kept growing.")
        )
        return Answer("line", question, text)
    accused = [one for one in report.findings if one.verdict is blamed.verdict]
    more = words("and {count} more", count=len(accused) - 1) if len(accused) > 1 else ""
    return Answer("line", question, site_words(blamed.stack), more, blamed.site)


def _comes_back(report: Report, words: Words) -> tuple[str, str]:
    """Say what Go hands back, what finalizers will free, and that leaked memory does not return."""
    back = report.go_return
    detail = ""
    if back is None:
        text = words("Not known: Go's numbers were not read.")
    elif back.returning_bytes < _WORTH_SAYING:
        text = words("Nothing of note.")
        if back.held_bytes >= _WORTH_SAYING:
            detail = words("Go keeps {size} free for reuse.", size=format_bytes(back.held_bytes))
    else:
        size = format_bytes(back.returning_bytes)
        when = within(back, words)
        text = (
            words("{size} of Go's heap, {when}.", size=size, when=when)
            if when
            else words("{size} of Go's heap, no telling when.", size=size)
        )
        if back.buffer_bytes:
            detail = words("Go keeps {size} free for reuse.", size=format_bytes(back.buffer_bytes))
    held = sum(one.outstanding_bytes for one in _having(report, Verdict.GO_HELD))
    if held:
        held_text = words("{size} of C memory after a GC.", size=format_bytes(held))
        text, detail = held_text, text if text != words("Nothing of note.") else detail
    leaked = sum(one.outstanding_bytes for one in _having(report, Verdict.NATIVE_LEAK))
    if leaked:
        lost = words("{size} of C memory stays.", size=format_bytes(leaked))
        detail = f"{detail} {lost}".strip()
    return text, detail


def _what_to_do(report: Report, blamed: Finding | None, words: Words) -> str:
    if report.cause is not Cause.GO_HEAP and blamed is not None and blamed.advice:
        return visible(words(blamed.advice))
    action = CAUSES[report.cause].action
    return words(action) if action else words("Nothing.")
