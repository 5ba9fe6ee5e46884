"""Is it a leak: the first answer.

Report → one or two sentences. A site that leaks is a leak whatever made RSS grow; where Go's heap
or another part of RSS is not known to be one or not, it is said what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.model.holding import OWNED_BLOCKS
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.sheetwords import PLAIN_WORDS
from cgoleak.render.answers.recovery import (
    change_bytes,
    come_back_bytes,
    hands_back,
    held_bytes,
    lazily_freed_bytes,
    now_bytes,
    of_verdict,
    outstanding_bytes,
    sentences,
    uncollected_bytes,
)
from cgoleak.render.answers.speed import speed_between_restarts
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_bytes_change, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import BalanceLine, Finding, Report
    from cgoleak.model.words import Words

__all__ = ["grown_most", "is_leak"]

_NO_LEAK: Final = {
    Cause.GO_HELD: "No. C memory waits for Go's finalizers or cleanups.",
    Cause.GO_HEAP: "Perhaps, in Go and not in C: the live Go heap grows.",
    Cause.GO_RETAINED: "No. Go has freed it, and hands it back later.",
    Cause.ALLOCATOR_RETAINED: "No. C has freed it; malloc keeps it for reuse.",
    Cause.RESTART: "Not shown. RSS fell because a new process began; no memory was freed.",
    Cause.OTHER: "Cannot tell: it is in neither heap, and is not followed.",
    Cause.STABLE: "No. Nothing kept growing in this window.",
    Cause.UNKNOWN: "Not known: what was measured does not tell.",
    Cause.NATIVE_LEAK: "Yes. C memory accumulates and is not freed.",
}
_MOSTLY: Final = {
    Cause.GO_HELD: "The larger part waits for Go's finalizers or cleanups.",
    Cause.GO_HEAP: "The larger part is the live Go heap.",
    Cause.GO_RETAINED: "The larger part is free or garbage in Go's heap.",
    Cause.ALLOCATOR_RETAINED: "The larger part C has freed, and malloc keeps it.",
    Cause.RESTART: "The process ended and another took its place.",
    Cause.OTHER: "The larger part is stacks, mappings or files.",
    Cause.STABLE: "It is little.",
    Cause.UNKNOWN: "What the rest is was not told.",
}
_NAMED: Final = frozenset({Cause.GO_HELD, Cause.GO_HEAP, Cause.GO_RETAINED, Cause.RESTART})
_LITTLE: Final = 10
"""A leak that makes less than one in so many of what RSS grew by is not why it grew."""
_PART: Final = 3
"""Of one that makes less than one in so many it is said how much that is."""
_GROWTH_WORTH: Final = 4 << 20
_HELD_WORTH: Final = 1 << 20
_YOUNG_S: Final = 5
"""Blocks that are all younger are being worked on, and no cache or pool."""


def is_leak(report: Report, words: Words) -> str:
    """Answer in one or two sentences."""
    leaks, suspects = of_verdict(report, Verdict.NATIVE_LEAK), of_verdict(report, Verdict.SUSPECT)
    if report.cause is Cause.NATIVE_LEAK:
        said = words(_NO_LEAK[report.cause])
        beside = _beside_rss(report, leaks, words) or _without_rss(report, leaks, words)
        return sentences([said, beside, _uncollected(report, words)])
    if leaks:
        part = words(
            "Yes, in part: {size} leaks.",
            size=format_bytes(outstanding_bytes(leaks)),
        )
        return sentences([part, words(_MOSTLY[report.cause])])
    if suspects and report.cause not in _NAMED:
        sites = words.count(len(suspects), "site")
        said = words("Not shown, but it may be: {sites} to look at.", sites=sites)
        waiting = _uncollected(report, words) if _may_wait(report, suspects) else ""
        return sentences([said, _without_rss(report, suspects, words), waiting])
    if speed_between_restarts(report) is not None:
        return words(
            "Perhaps: it grew until it ended. RSS fell because a new process began; no memory was "
            "freed."
        )
    if come_back_bytes(report):
        return words("No. Most of what RSS rose by has come back.")
    return _by_part(report, words) or words(_NO_LEAK[report.cause])


def _beside_rss(report: Report, leaks: Sequence[Finding], words: Words) -> str:
    """Say of a leak that makes less than a third of what RSS rose by how much it makes."""
    lost = outstanding_bytes(leaks)
    grown = change_bytes(report, "RSS") or 0
    if grown < _GROWTH_WORTH or _PART * lost >= grown:
        return ""
    sizes = {"size": format_bytes(lost), "change": format_bytes_change(grown)}
    if _LITTLE * lost < grown:
        return words("It is not why RSS rose: {size} of {change}.", **sizes)
    return words("It is a part of what RSS rose by: {size} of {change}.", **sizes)


def _may_wait(report: Report, suspects: Sequence[Finding]) -> bool:
    """Tell whether Go has so many more objects with finalizers that they may own these blocks."""
    owners = report.window.go_owners_change
    most = max(one.outstanding_blocks for one in suspects)
    return owners is not None and OWNED_BLOCKS * owners >= most


def _uncollected(report: Report, words: Words) -> str:
    """Say where finalizers and cleanups had no chance: only a GC queues them.

    Not where Go has hardly more of them than before.
    """
    owners = report.window.go_owners_change
    blocks = sum(one.outstanding_blocks for one in of_verdict(report, Verdict.NATIVE_LEAK))
    if report.window.gc_cycles != 0 or (owners is not None and OWNED_BLOCKS * owners <= blocks):
        return ""
    return words("No GC ran meanwhile: what finalizers would free is not known.")


def _without_rss(report: Report, suspects: Sequence[Finding], words: Words) -> str:
    """Say where RSS did not rise with what is suspected: old blocks are freed for it."""
    held = outstanding_bytes(suspects)
    grown = change_bytes(report, "RSS")
    if held < _HELD_WORTH or grown is None or _LITTLE * grown >= held:
        return ""
    return words("RSS did not rise with it.")


def _by_part(report: Report, words: Words) -> str:
    """Say it with the numbers of the part that the cause is about; empty without any."""
    match report.cause:
        case Cause.GO_HEAP:
            grown = change_bytes(report, "Go heap in use")
            if grown is not None and grown > 0:
                size = format_bytes(grown)
                return words(
                    "Perhaps, in Go and not in C: the live Go heap grew by {size}.", size=size
                )
        case Cause.GO_RETAINED:
            return _in_go(report, words)
        case Cause.OTHER:
            most = grown_most(report)
            if most is not None:
                return words(
                    "Cannot tell: {part} grew by {size}, and who holds that is not followed.",
                    part=words(PLAIN_WORDS.get(most.part, visible(most.part))),
                    size=format_bytes(most.change_bytes or 0),
                )
        case Cause.STABLE:
            return _held(report, words)
        case _:
            pass
    return ""


def _in_go(report: Report, words: Words) -> str:
    if (in_use := uncollected_bytes(report)) and come_back_bytes(report) == 0:
        free = now_bytes(report, "Go heap held back")
        return words(
            "No for C, and for {free} that Go has freed. How much of the {size} in use is garbage "
            "the next GC tells.",
            free=format_bytes(free),
            size=format_bytes(in_use),
        )
    if lazily_freed_bytes(report):
        return words("No. Go has handed it back, lazily: the kernel takes it when it needs it.")
    if report.go_return is not None and not hands_back(report.go_return):
        return words("No. Go has freed it, and keeps it to use it again.")
    return ""


def _held(report: Report, words: Words) -> str:
    """Say of C memory that is held since when it has not grown: it looks lost in the table."""
    size = held_bytes(report)
    if not size:
        return ""
    largest = of_verdict(report, Verdict.BOUNDED)[0]
    level = level_seconds(report, largest)
    said = words(_NO_LEAK[Cause.STABLE])
    if 0 < largest.oldest_seconds < _YOUNG_S < report.window.seconds:
        young = words(
            "{size} of C memory is in use; at its largest site no block is older than {time}.",
            size=format_bytes(size),
            time=format_seconds(largest.oldest_seconds),
        )
        return sentences([said, young, words("Work in flight looks like this.")])
    if level < 1:
        more = words("{size} of C memory is held.", size=format_bytes(size))
    else:
        more = words(
            "{size} of C memory is held; its largest site added nothing for {time}.",
            size=format_bytes(size),
            time=format_seconds(level),
        )
    return sentences([said, more, words("A cache or a pool looks like this.")])


def level_seconds(report: Report, site: Finding) -> float:
    """Give for how long a site has not been larger than before; 0 where that is not known."""
    seconds, sizes = report.history_seconds, site.history_bytes
    if len(sizes) < 2 or len(sizes) != len(seconds):
        return 0.0
    most, since = -1, 0
    for place, size in enumerate(sizes):
        if size > most:
            most, since = size, place
    return round(seconds[-1] - seconds[since])


def grown_most(report: Report) -> BalanceLine | None:
    """Give the part of RSS that grew most, if any did."""
    parts = [line for line in report.balance if line.part != "RSS" and (line.change_bytes or 0) > 0]
    return max(parts, key=lambda line: line.change_bytes or 0, default=None)
