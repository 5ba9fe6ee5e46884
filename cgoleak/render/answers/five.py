"""The five questions of somebody who sees a report for the first time, answered from it.

Is it a leak, how fast, which line, what comes back by itself, what to do. Report → five answers, in
that order, so that each is found at the same place in every report.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.catalog import CAUSES
from cgoleak.model.ownership import innermost_go
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.words import ENGLISH
from cgoleak.render.answers.blame import NO_PROFILE, Detail, finding_to_blame, which_line
from cgoleak.render.answers.isleak import grown_most, is_leak
from cgoleak.render.answers.recovery import (
    comes_back,
    has_notice,
    lazily_freed_bytes,
    of_verdict,
    sentences,
    uncollected_bytes,
)
from cgoleak.render.answers.speed import how_fast, speed_between_restarts
from cgoleak.render.stacklines import named_frame
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["Answer", "answers_to", "finding_to_blame"]

_GIVEN_UP: Final = (
    "Nothing to fix. To see RSS fall at once, start it without GODEBUG=madvdontneed=0."
)
_UNCOLLECTED: Final = (
    "Nothing yet. See what is left of it after the next GC: cgoleak watch PID --duration 5m"
)
_PROFILE_IT: Final = "Import net/http/pprof or runtime/pprof in the program, and measure again."
_LOOK_AT: Final = {
    "other files, shared": "See which files or shared memory it maps, and whether each is unmapped "
    "(munmap, Close): pmap -x PID",
    "thread stacks": "Count its threads and see who makes them: ls /proc/PID/task",
    "Go stacks and metadata": "Count its goroutines: /debug/pprof/goroutine?debug=1",
    "files and code": "See which libraries or plugins it loads: pmap -x PID",
}
"""Line of the balance sheet → how to find out more of it."""
_LONGEST_PATH: Final = 60
_RATES: Final = ((1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One question and its answer; ``site`` is the key of the finding that is meant, if one is.

    ``name`` tells the question in scripts and style sheets: ``leak``, ``speed``, ``line``,
    ``return`` or ``do``.
    """

    name: str
    question: str
    text: str
    details: tuple[Detail, ...] = ()
    site: str | None = None

    @property
    def detail(self) -> str:
        """Give the details as one line."""
        return " · ".join(one.text for one in self.details)


def answers_to(report: Report, words: Words = ENGLISH) -> tuple[Answer, ...]:
    """Answer all five."""
    blamed = finding_to_blame(report)
    line, whose = which_line(report, blamed, words)
    speed, since = how_fast(report, words)
    returning, what = comes_back(report, words)
    in_go = report.cause is Cause.GO_HEAP and bool(report.go_sites)
    if blamed is None or (in_go and blamed.verdict is not Verdict.NATIVE_LEAK):
        site = None
    else:
        site = blamed.site
    return (
        Answer("leak", words("Is it a leak?"), is_leak(report, words)),
        Answer("speed", words("How fast?"), speed, _lines(since)),
        Answer("line", words("Which line?"), line, whose, site),
        Answer("return", words("What comes back by itself?"), returning, _lines(what)),
        Answer("do", words("What to do?"), _what_to_do(report, blamed, words)),
    )


def _lines(detail: str) -> tuple[Detail, ...]:
    return (Detail(detail),) if detail else ()


def _what_to_do(report: Report, blamed: Finding | None, words: Words) -> str:
    """Give the advice for what is to blame, and for what else made RSS grow."""
    advice = "" if blamed is None else visible(words(blamed.advice))
    leaking = blamed is not None and blamed.verdict is Verdict.NATIVE_LEAK
    if report.cause is Cause.GO_HEAP and not leaking:
        advice = ""
    if blamed is not None and advice and leaking:
        if report.cause is Cause.NATIVE_LEAK:
            return sentences([advice, _for_others(report, blamed, words)])
        other = _for_the_cause(report, words)
        return words("1. {first} 2. {second}", first=advice, second=other) if other else advice
    return advice or _for_the_cause(report, words) or words("Nothing.")


def _for_others(report: Report, blamed: Finding, words: Words) -> str:
    """Say where the advice for the other leaks is, if theirs is another."""
    leaks = of_verdict(report, Verdict.NATIVE_LEAK)
    others = sum(one.advice != blamed.advice for one in leaks)
    if not others:
        return ""
    return words("For {sites} more, see below.", sites=words.count(others, "site"))


def _for_the_cause(report: Report, words: Words) -> str:
    """Say what to do about the cause."""
    action = CAUSES[report.cause].action
    match report.cause:
        case Cause.GO_HELD:
            waiting = of_verdict(report, Verdict.GO_HELD)
            maker = innermost_go(waiting[0].stack) if waiting else None
            if maker is not None:
                return words(
                    "Free explicitly (Close, Free) what {go} makes.",
                    go=named_frame(maker),
                )
        case Cause.GO_RETAINED if uncollected_bytes(report):
            return words(_UNCOLLECTED).replace("PID", str(report.target.pid))
        case Cause.GO_RETAINED if lazily_freed_bytes(report):
            action = _GIVEN_UP
        case Cause.GO_HEAP if has_notice(report, NO_PROFILE):
            action = _PROFILE_IT
        case Cause.OTHER:
            most = grown_most(report)
            look = _LOOK_AT.get(most.part) if most is not None else None
            return words(look or action or "").replace("PID", str(report.target.pid))
        case Cause.STABLE:
            return words(action or "").replace("PID", str(report.target.pid))
        case Cause.RESTART:
            return _from_the_beginning(report, words)
        case _:
            pass
    return visible(words(action)) if action else ""


def _from_the_beginning(report: Report, words: Words) -> str:
    """Give the command that waits for the next process: the one that runs may not live long."""
    exe = visible(report.target.exe)
    path = shlex.quote(exe) if exe == report.target.exe and len(exe) <= _LONGEST_PATH else "PATH"
    command = f"cgoleak watch --exe {path} --attach-on-growth {_threshold(report)}"
    told = any("OOM" in one.reason and "not by" not in one.reason for one in report.restarts)
    return words(
        "Raise its memory limit if it must live on, and see what grows: {call}"
        if told
        else "Find out who ends it (a supervisor, a liveness probe), and what grows: {call}",
        call=command,
    )


def _threshold(report: Report) -> str:
    """Give a rate as an option takes it, well below the growth that was seen."""
    speed = (speed_between_restarts(report) or 0) / 4
    for unit, name in _RATES:
        if speed >= unit:
            return f"{int(speed / unit)}{name}/s"
    return "100KiB/s"
