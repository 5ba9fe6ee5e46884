"""Which line: the third answer.

Report → the place in the code to look at first, who called it, and what share of it that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Frame, Language
from cgoleak.model.names import brief_name
from cgoleak.model.ownership import c_callers, innermost_go
from cgoleak.model.report import Cause, Verdict
from cgoleak.render.answers.isleak import grown_most
from cgoleak.render.answers.recovery import change_bytes, has_notice, held_bytes, of_verdict
from cgoleak.render.stacklines import named_frame, place_of, site_names
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_bytes_change, format_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["NO_PROFILE", "Detail", "finding_to_blame", "which_line"]

NO_PROFILE: Final = "go.no-heap-profile"
_UNPROFILED: Final = "In Go code; the program keeps no heap profile that would name it."
_NEXT: Final = 2
"""Other leaks that are named beside the first: further down is a table of all."""
_THREAD_STARTS: Final = frozenset({"start_thread", "clone", "clone3", "__clone", "start"})
"""Outermost functions of a thread: glibc's, and musl's ``start``."""


def finding_to_blame(report: Report) -> Finding | None:
    """Give the site to look at first; None if no site explains what happened.

    A leak comes before whatever else made RSS grow: it is the part that never stops.
    """
    order = [Verdict.NATIVE_LEAK, Verdict.SUSPECT]
    if report.cause is Cause.GO_HELD:
        order.insert(1, Verdict.GO_HELD)
    found = (next(iter(of_verdict(report, verdict)), None) for verdict in order)
    return next((one for one in found if one is not None), None)


@dataclass(frozen=True, slots=True)
class Detail:
    """A line under an answer; ``site`` is the key of the finding that it names, if it names one."""

    text: str
    site: str | None = None


def which_line(
    report: Report, blamed: Finding | None, words: Words
) -> tuple[str, tuple[Detail, ...]]:
    """Name the line, or say why none is named; and what is to be known of it."""
    leaking = blamed is not None and blamed.verdict is Verdict.NATIVE_LEAK
    if report.cause is Cause.GO_HEAP and report.go_sites and not leaking:
        return _in_go(report, words)
    if report.cause is Cause.GO_HEAP and blamed is None:
        told = (
            _UNPROFILED
            if has_notice(report, NO_PROFILE)
            else "In Go code: its heap profile names it."
        )
        return words(told), ()
    if blamed is None:
        return _no_line(report, words)
    leaf, callers = _named(blamed, words)
    accused = of_verdict(report, blamed.verdict)
    share, others = _beside(blamed, accused, words)
    details = [*map(Detail, [*share, *callers]), *others]
    if report.cause is Cause.GO_HELD and blamed.verdict is not Verdict.GO_HELD:
        waiting = of_verdict(report, Verdict.GO_HELD)
        if waiting:
            names = site_names(waiting[0].stack)
            told = words("waiting for the GC: {function}", function=names[0])
            details.append(Detail(told, waiting[0].site))
    if report.cause is Cause.GO_HEAP and report.go_sites:
        details.append(Detail(words("in Go: {function}", function=_in_go(report, words)[0])))
    return leaf, tuple(details)


def _named(blamed: Finding, words: Words) -> tuple[str, list[str]]:
    """Name a site, and who called it: the C code that it works for, and the Go code."""
    leaf, *callers = site_names(blamed.stack)
    between = [named_frame(frame) for frame in c_callers(blamed.stack)]
    callers = list(dict.fromkeys([*between, *callers]))
    details = [words("called from {function}", function=" ← ".join(callers))] if callers else []
    if innermost_go(blamed.stack) is None and _is_thread(blamed.stack):
        details.append(words("no Go caller: a thread that C made"))
    return leaf, details


def _is_thread(stack: Sequence[Frame]) -> bool:
    return any(frame.function in _THREAD_STARTS for frame in stack[-2:])


def _beside(
    blamed: Finding, accused: Sequence[Finding], words: Words
) -> tuple[list[str], list[Detail]]:
    """Say how much of the rate the named line answers for, and name those that come next.

    Both are empty where there is no other.
    """
    share: list[str] = []
    others: list[Detail] = []
    whole = sum(one.growth_bytes_per_second for one in accused)
    if len(accused) < 2:
        return share, others
    if whole <= 0:
        more = words.count(len(accused) - 1, "site")
        return share, [Detail(words("and {sites} more", sites=more))]
    # One call of a library leaves as many sites as the library allocates in: all of the same name.
    named: dict[tuple[str, ...], list[Finding]] = {}
    for one in accused:
        named.setdefault(site_names(one.stack), []).append(one)
    first = named.pop(site_names(blamed.stack))
    rates = {"rate": format_rate(_rate(first)), "all": format_rate(whole)}
    share.append(words("{rate} of {all}", **rates))
    nearest = sorted(named.items(), key=lambda other: -_rate(other[1]))[:_NEXT]
    leaves = {site_names(blamed.stack)[0]}
    for (leaf, *callers), same in nearest:
        # A helper that all of them call tells nothing; who calls it does.
        site = " ← ".join([leaf, *callers[:1]]) if leaf in leaves else leaf
        leaves.add(leaf)
        told = words("then {site} {rate}", site=site, rate=format_rate(_rate(same)))
        others.append(Detail(told, same[0].site))
    left = len(accused) - len(first) - sum(len(same) for _, same in nearest)
    if left:
        others.append(Detail(words("and {sites} more", sites=words.count(left, "site"))))
    return share, others


def _rate(findings: Sequence[Finding]) -> float:
    return sum(one.growth_bytes_per_second for one in findings)


def _in_go(report: Report, words: Words) -> tuple[str, tuple[Detail, ...]]:
    site = report.go_sites[0]
    frame = Frame(Language.GO, site.function, site.file, site.line)
    place = place_of(frame, parts=2)
    size = format_bytes(site.change_bytes)
    grown = change_bytes(report, "Go heap in use") or 0
    share = words("{size} by Go's heap profile, a sample", size=size)
    if site.change_bytes < grown:
        whole = format_bytes(grown)
        share = words("{size} of {all} by Go's heap profile, a sample", size=size, all=whole)
    details = tuple(Detail(line) for line in (place, share) if line)
    return visible(brief_name(frame)), details


def _no_line(report: Report, words: Words) -> tuple[str, tuple[Detail, ...]]:
    """Say why no line is named, and which part of RSS grew instead, if that is what it is about."""
    if report.window.mode == "watch" and not report.findings:
        return words("Not looked for: a watch stays outside, and only hooks see lines."), ()
    if report.cause is Cause.STABLE and held_bytes(report):
        return _held_by(report, "None to blame: no site kept growing.", words)
    if report.cause is Cause.UNKNOWN and _holds_most(report):
        return _held_by(report, "None shown: no site kept growing to the end.", words)
    most = grown_most(report)
    if report.cause is not Cause.OTHER or most is None:
        return words("None to blame in C: no site kept growing."), ()
    part, change = words(visible(most.part)), format_bytes_change(most.change_bytes or 0)
    whole = format_bytes_change(change_bytes(report, "RSS") or 0)
    return (
        words("None: it is in neither heap."),
        (
            Detail(
                words("Grown most: {part} {change} of {all}", part=part, change=change, all=whole)
            ),
        ),
    )


def _holds_most(report: Report) -> bool:
    """Tell if C memory that is held makes half of what RSS grew by, so that it may be what grew."""
    grown = change_bytes(report, "RSS") or 0
    return 0 < grown <= 2 * held_bytes(report)


def _held_by(report: Report, answer: str, words: Words) -> tuple[str, tuple[Detail, ...]]:
    """Name the site that holds most of what is held."""
    largest = of_verdict(report, Verdict.BOUNDED)[0]
    leaf, callers = _named(largest, words)
    size = format_bytes(largest.outstanding_bytes)
    said = words("Held by {function}: {size}", function=leaf, size=size)
    return words(answer), (Detail(said, largest.site), *map(Detail, callers))
