"""The five questions of somebody who sees a report for the first time, answered from it.

Is it a leak, how fast, which line, what comes back by itself, what to do. Report → five answers, in
that order, so that each is found at the same place in every report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.catalog import CAUSES
from cgoleak.model.frames import Frame, Language
from cgoleak.model.names import brief_name
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.words import ENGLISH
from cgoleak.render.estimates import is_estimated
from cgoleak.render.recovery import (
    LAZILY_FREED,
    come_back_bytes,
    comes_back,
    has_notice,
    of_verdict,
    rss_known,
    sentences,
)
from cgoleak.render.stacklines import place_of, site_names
from cgoleak.render.visible import visible
from cgoleak.units import (
    format_bytes,
    format_bytes_change,
    format_rate,
    format_seconds,
)

if TYPE_CHECKING:
    from cgoleak.model.report import BalanceLine, Finding, Report
    from cgoleak.model.words import Words

__all__ = ["Answer", "answers_to", "finding_to_blame"]

_DAY: Final = 86400


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
        Answer("return", words("What comes back by itself?"), *comes_back(report, words)),
        Answer("do", words("What to do?"), _what_to_do(report, blamed, words)),
    )


def finding_to_blame(report: Report) -> Finding | None:
    """Give the site to look at first; None if no site explains what happened.

    A leak comes before whatever else made RSS grow: it is the part that never stops.
    """
    order = [Verdict.NATIVE_LEAK, Verdict.SUSPECT]
    if report.cause is Cause.GO_HELD:
        order.insert(1, Verdict.GO_HELD)
    found = (next(iter(of_verdict(report, verdict)), None) for verdict in order)
    return next((one for one in found if one is not None), None)


_NO_LEAK: Final = {
    Cause.GO_HELD: "No. C memory waits for Go's finalizers or cleanups.",
    Cause.GO_HEAP: "Not of C memory: the live Go heap grows.",
    Cause.GO_RETAINED: "No. Go's memory is free or garbage, and still resident.",
    Cause.ALLOCATOR_RETAINED: "No. C has freed it; malloc keeps it.",
    Cause.RESTART: "Not shown. Nothing recovered: the process ended and another took its place.",
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
_GOES_ON: Final = frozenset({Cause.GO_HELD, Cause.GO_HEAP, Cause.OTHER, Cause.UNKNOWN})
"""Causes that grow on as long as the work does, so that an average says something."""
_GIVEN_UP: Final = "Nothing to fix. To see RSS fall at once: GODEBUG=madvdontneed=1."
_NO_PROFILE: Final = "go.no-heap-profile"
_UNPROFILED: Final = "In Go code; the program keeps no heap profile that would name it."
_PROFILE_IT: Final = "Import net/http/pprof or runtime/pprof in the program, and measure again."
_NAMED: Final = frozenset({Cause.GO_HELD, Cause.GO_HEAP, Cause.GO_RETAINED, Cause.RESTART})


def _is_leak(report: Report, words: Words) -> str:
    leaks, suspects = of_verdict(report, Verdict.NATIVE_LEAK), of_verdict(report, Verdict.SUSPECT)
    said = words(_NO_LEAK[report.cause])
    if report.cause is Cause.NATIVE_LEAK:
        return said
    if leaks:
        sites = words.count(len(leaks), "site")
        part = words("Yes, in part: C memory accumulates at {sites}.", sites=sites)
        return sentences([part, words(_MOSTLY[report.cause])])
    if suspects and report.cause not in _NAMED:
        sites = words.count(len(suspects), "site")
        return words("Not shown, but it may be: {sites} to look at.", sites=sites)
    if _speed_between_restarts(report) is not None:
        return words(
            "Perhaps: it grew until it ended. Nothing recovered, another process took its place."
        )
    if come_back_bytes(report):
        return words("No. Most of what RSS rose by has come back.")
    return said


def _how_fast(report: Report, words: Words) -> tuple[str, str]:
    """Give the rate of the leaks, else what RSS did; the detail is what that comes to."""
    moved = _moved(report, words)
    if (speed := _speed_between_restarts(report)) is not None:
        return words("{rate} before each restart", rate=format_rate(speed)), moved
    leaks = of_verdict(report, Verdict.NATIVE_LEAK) or of_verdict(report, Verdict.SUSPECT)
    rate = sum(one.growth_bytes_per_second for one in leaks)
    if leaks and rate > 0:
        size = format_bytes(sum(one.outstanding_bytes for one in leaks))
        so_far = "{size} so far, estimated" if is_estimated(report) else "{size} so far"
        details = [
            words("{size} a day", size=format_bytes(rate * _DAY)),
            words(so_far, size=size),
        ]
        return format_rate(rate), " · ".join([*details, moved] if moved else details)
    if leaks:
        size = format_bytes(sum(one.outstanding_bytes for one in leaks))
        return words("{size} so far", size=size), moved
    if not moved:
        return words("Not known: RSS was not read."), ""
    if report.cause is Cause.STABLE:
        return words("It does not keep growing."), moved
    grown = _rss_change(report)
    if report.cause in _GOES_ON and grown is not None and grown > 0 < report.window.seconds:
        average = format_rate(grown / report.window.seconds)
        return words("{rate} on average", rate=average), moved
    return moved, ""


def _moved(report: Report, words: Words) -> str:
    """Say what RSS did in the window, and how high it stood if most of that has come back."""
    change = _rss_change(report)
    if change is None:
        return ""
    window = format_seconds(report.window.seconds)
    moved = words("RSS {change} in {window}", change=format_bytes_change(change), window=window)
    if not come_back_bytes(report):
        return moved
    peak = words("{size} at its peak", size=format_bytes(max(rss_known(report))))
    return f"{moved} · {peak}"


def _rss_change(report: Report) -> int | None:
    return next((line.change_bytes for line in report.balance if line.part == "RSS"), None)


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
        return Answer("line", question, visible(brief_name(frame)), place_of(frame, parts=2))
    if report.cause is Cause.GO_HEAP and blamed is None:
        told = (
            _UNPROFILED
            if has_notice(report, _NO_PROFILE)
            else "In Go code: its heap profile names it."
        )
        return Answer("line", question, words(told))
    if blamed is None:
        return Answer("line", question, *_no_line(report, words))
    accused = [one for one in report.findings if one.verdict is blamed.verdict]
    leaf, *callers = site_names(blamed.stack)
    details = [words("called from {function}", function=" ← ".join(callers))] if callers else []
    if len(accused) > 1:
        details.append(words("and {sites} more", sites=words.count(len(accused) - 1, "site")))
    return Answer("line", question, leaf, " · ".join(details), blamed.site)


def _no_line(report: Report, words: Words) -> tuple[str, str]:
    """Say why no line is named, and which part of RSS grew instead, if that is what it is about."""
    if report.window.mode == "watch" and not report.findings:
        return words("Not looked for: watched from outside, without hooks."), ""
    most = _grown_most(report)
    if report.cause is not Cause.OTHER or most is None:
        return words("None to blame: no site kept growing."), ""
    part, change = words(visible(most.part)), format_bytes_change(most.change_bytes or 0)
    return (
        words("None: it is in neither heap."),
        words("Grown most: {part} {change}", part=part, change=change),
    )


def _grown_most(report: Report) -> BalanceLine | None:
    parts = [line for line in report.balance if line.part != "RSS" and (line.change_bytes or 0) > 0]
    return max(parts, key=lambda line: line.change_bytes or 0, default=None)


def _what_to_do(report: Report, blamed: Finding | None, words: Words) -> str:
    if report.cause is not Cause.GO_HEAP and blamed is not None and blamed.advice:
        return visible(words(blamed.advice))
    action = CAUSES[report.cause].action
    if report.cause is Cause.GO_RETAINED and has_notice(report, LAZILY_FREED):
        action = _GIVEN_UP
    if report.cause is Cause.GO_HEAP and has_notice(report, _NO_PROFILE):
        action = _PROFILE_IT
    return words(action) if action else words("Nothing.")
