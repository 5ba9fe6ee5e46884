"""Two reports → what became of each site.

Sites are found again by their key, which is made of names: line shifts and rebuilds do not matter.
What is outstanding counts from the attach, so that windows of different length are compared by
rate; a cache that has filled has a rate near zero in both.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from cgoleak.model.difference import Change, Difference, SiteChange
from cgoleak.model.report import Verdict
from cgoleak.units import format_bytes_change, format_rate, format_seconds, plural

if TYPE_CHECKING:
    from cgoleak.model.report import Finding, Report

__all__ = ["compare"]

_SAME_LENGTH: Final = 0.1
"""Windows that differ by less than this share are taken to be of one length."""
_SAME_SHARE: Final = 0.1
_SAME_BYTES: Final = 4096
_SAME_RATE: Final = 64.0
"""Bytes a second; below it, and below a tenth, a site is as it was."""
_BAD: Final = frozenset({Verdict.NATIVE_LEAK, Verdict.SUSPECT})
_ORDER: Final = {change: place for place, change in enumerate(Change)}


def compare(base: Report, new: Report) -> Difference:
    """Compare; sites that leak come first within each kind of change."""
    longest = max(base.window.seconds, new.window.seconds)
    rates = abs(base.window.seconds - new.window.seconds) > _SAME_LENGTH * longest
    before = {one.site: one for one in base.findings}
    after = {one.site: one for one in new.findings}
    sites = tuple(
        sorted(
            (
                SiteChange(
                    key,
                    _change(before.get(key), after.get(key), rates=rates),
                    before.get(key),
                    after.get(key),
                )
                for key in before.keys() | after.keys()
            ),
            key=_worst_first,
        )
    )
    return Difference(base, new, _sentence(base, new, sites, rates=rates), rates, sites)


def _change(base: Finding | None, new: Finding | None, *, rates: bool) -> Change:
    if base is None:
        return Change.GAINED
    if new is None:
        return Change.GONE
    if rates:
        before, after = base.growth_bytes_per_second, new.growth_bytes_per_second
        least = _SAME_RATE
    else:
        before, after = float(base.outstanding_bytes), float(new.outstanding_bytes)
        least = _SAME_BYTES
    moved = after - before
    if not abs(moved) > max(least, _SAME_SHARE * max(abs(before), abs(after))):
        return Change.SAME
    return Change.GROWN if moved > 0 else Change.SHRUNK


def _worst_first(one: SiteChange) -> tuple[int, bool, int, str]:
    is_bad = one.shown.verdict in _BAD
    return (_ORDER[one.change], not is_bad, -abs(one.change_bytes), one.site)


def _sentence(base: Report, new: Report, sites: tuple[SiteChange, ...], *, rates: bool) -> str:
    counts = Counter(one.change for one in sites)
    told: list[str] = []
    for change in (Change.GAINED, Change.GROWN, Change.SHRUNK, Change.GONE):
        if counts[change]:
            moved = sum(one.change_bytes for one in sites if one.change is change)
            amount = "" if rates else f" ({format_bytes_change(moved)})"
            noun = plural(counts[change], "site") if not told else str(counts[change])
            told.append(f"{noun} {change.value}{amount}")
    moved_sites = ", ".join(told)
    leaks = _leaks_words(_losing(base), _losing(new))
    said = f"{'; '.join(filter(None, (leaks, moved_sites or 'no site changed')))}."
    if rates:
        windows = f"{format_seconds(base.window.seconds)} and {format_seconds(new.window.seconds)}"
        said += f" Compared by rate, since the windows differ ({windows})."
    return f"{said[0].upper()}{said[1:]}"


def _leaks_words(before: float, after: float) -> str:
    """Say what a difference is opened for: whether it leaks now, and did before."""
    if before > 0 and after > 0:
        return f"It leaks {format_rate(after)} now, {format_rate(before)} before"
    if after > 0:
        return f"It leaks {format_rate(after)} now, nothing before"
    return f"No leak now, {format_rate(before)} before" if before > 0 else ""


def _losing(report: Report) -> float:
    return sum(
        one.growth_bytes_per_second for one in report.findings if one.verdict is Verdict.NATIVE_LEAK
    )
