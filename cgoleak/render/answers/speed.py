"""How fast: the second answer.

Report → a rate of what leaks, or of what RSS did, each with its name, and what it comes to.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Cause, Verdict
from cgoleak.render.answers.recovery import (
    change_bytes,
    come_back_bytes,
    of_verdict,
    outstanding_bytes,
    rss_known,
    rss_over_time,
)
from cgoleak.render.estimates import is_estimated
from cgoleak.units import format_bytes, format_bytes_change, format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import Finding, Report
    from cgoleak.model.words import Words

__all__ = ["how_fast", "speed_between_restarts"]

_DAY: Final = 86400
_TELLS_OF_A_DAY_S: Final = 10
"""A rate of less is no rate of a service: a command that ran and ended."""
_GOES_ON: Final = {
    Cause.GO_HELD: "native outstanding",
    Cause.GO_HEAP: "Go heap in use",
    Cause.OTHER: "",
    Cause.UNKNOWN: "",
}
"""Causes that grow on as long as the work does, so that an average says something; and which line
of the balance sheet they are about."""
_STAYS: Final = frozenset({Cause.GO_RETAINED, Cause.ALLOCATOR_RETAINED})
"""Causes of which the reader wants to know whether RSS still rises."""
_MORE_OUTSTANDING: Final = 1 << 20


def how_fast(report: Report, words: Words) -> tuple[str, str]:
    """Give the rate of the leaks, else what RSS did; the detail is what that comes to."""
    if (speed := speed_between_restarts(report)) is not None:
        rate = words("RSS +{rate} before each restart", rate=format_rate(speed))
        return rate, _of_now(report, words)
    moved = _moved(report, words)
    leaks = of_verdict(report, Verdict.NATIVE_LEAK) or of_verdict(report, Verdict.SUSPECT)
    if leaks:
        return _of_sites(report, leaks, moved, words)
    if not moved:
        return words("Not known: RSS was not read."), ""
    if report.cause is Cause.RESTART:
        return _of_now(report, words), ""
    if report.cause is Cause.STABLE:
        return words("It does not keep growing."), moved
    if come_back_bytes(report):
        sizes = {"now": format_bytes(rss_known(report)[-1]), "size": _peak(report)}
        return words("RSS is back at {now}, from {size} at its peak.", **sizes), ""
    grown = change_bytes(report, "RSS")
    if report.cause in _GOES_ON and grown is not None and grown > 0 < report.window.seconds:
        average = format_rate(grown / report.window.seconds)
        part = _GOES_ON[report.cause]
        change = change_bytes(report, part)
        more = f"{words(part)} {format_bytes_change(change)} · " if change else ""
        return words("RSS +{rate} on average", rate=average), f"{more}{moved}"
    return moved, _lately(report, words) if report.cause in _STAYS else ""


def _of_sites(
    report: Report, leaks: Sequence[Finding], moved: str, words: Words
) -> tuple[str, str]:
    rate = sum(one.growth_bytes_per_second for one in leaks)
    lost = outstanding_bytes(leaks)
    size = format_bytes(lost)
    if not 0 < rate < math.inf:
        return words("{size} so far", size=size), moved
    details = [
        words("{size} so far, estimated", size=size)
        if is_estimated(report)
        else words("{size} so far", size=size),
    ]
    if report.window.seconds >= _TELLS_OF_A_DAY_S:
        details.insert(0, words("{size} a day", size=format_bytes(rate * _DAY)))
    outstanding = outstanding_bytes(report.findings)
    if report.cause is Cause.NATIVE_LEAK and outstanding - lost >= _MORE_OUTSTANDING:
        whole = format_bytes(outstanding)
        details[-1] += words(" of {size} outstanding", size=whole)
    of_leaks = words("{rate} of C memory", rate=format_rate(rate))
    return of_leaks, " · ".join([*details, moved] if moved else details)


def _moved(report: Report, words: Words) -> str:
    """Say what RSS did in the window."""
    change = change_bytes(report, "RSS")
    if change is None:
        return ""
    window = format_seconds(report.window.seconds)
    return words("RSS {change} in {window}", change=format_bytes_change(change), window=window)


def _of_now(report: Report, words: Words) -> str:
    """Give RSS of the process that runs now: a change would be between two processes."""
    known = rss_known(report)
    if not known:
        return ""
    times = words.count(len(report.restarts), "restart")
    return words("RSS {now} now, after {times}", now=format_bytes(known[-1]), times=times)


def _lately(report: Report, words: Words) -> str:
    """Say what RSS did in the last third of the window."""
    known = rss_over_time(report)
    if len(known) < 3:
        return ""
    at = bisect_left(known, known[-1][0] - (known[-1][0] - known[0][0]) / 3, key=lambda one: one[0])
    then, now = known[at][1], known[-1][1]
    time = format_seconds(round(known[-1][0] - known[at][0]))
    return words("{change} in the last {time}", change=format_bytes_change(now - then), time=time)


def _peak(report: Report) -> str:
    return format_bytes(max(rss_known(report)))


def speed_between_restarts(report: Report) -> float | None:
    """Give how fast RSS grew from the beginning of each process to its end; None if it did not."""
    if report.cause is not Cause.RESTART or report.timeline is None:
        return None
    known = rss_over_time(report)
    began, size = known[0] if known else (0.0, None)
    grown = lived = 0.0
    for restart in report.restarts:
        grown += restart.rss_before_bytes - (size or restart.rss_before_bytes)
        lived += restart.at - began
        began, size = restart.at, restart.rss_after_bytes
    return grown / lived if lived > 0 and grown > 0 else None
