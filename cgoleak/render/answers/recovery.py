"""What comes back by itself, what has come back, and what stays: the fourth answer.

Report → sentences, each from its own source: the window over time, findings that wait for the GC,
Go's hand-back, what the kernel may take, what both allocators keep, and what leaked.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Cause, Verdict
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cgoleak.model.report import Finding, GoReturn, Report
    from cgoleak.model.words import Words

__all__ = [
    "LAZILY_FREED",
    "change_bytes",
    "come_back_bytes",
    "comes_back",
    "gc_due",
    "go_gives_back",
    "hands_back",
    "has_notice",
    "held_bytes",
    "lazily_freed_bytes",
    "now_bytes",
    "of_verdict",
    "outstanding_bytes",
    "rss_known",
    "rss_over_time",
    "sentences",
    "uncollected_bytes",
]

LAZILY_FREED: Final = "memory.lazily-freed"
_RISES_AND_FALLS: Final = frozenset({Cause.GO_RETAINED, Cause.ALLOCATOR_RETAINED, Cause.OTHER})
_WORTH_SAYING: Final = 4 << 20
"""Less than that any busy process keeps, and gives back."""
_HELD_WORTH: Final = 1 << 20
_NO_COLLECTION_DUE: Final = "GOGC=off"
_TENS: Final = 120
"""Seconds up to which a time is rounded to tens; beyond, to minutes."""


def comes_back(report: Report, words: Words) -> tuple[str, str]:
    """Say what comes back, the surest first, then what is lost and held, then what is free."""
    said = [
        _already_back(report, words),
        _after_a_collection(report, words),
        _go_hands_back(report, words),
        _garbage(report, words),
        _kernel_takes(report, words),
    ]
    sure, *more = [text for text in said if text] or [""]
    more.insert(0, _when_a_collection(report, words))
    stays = [_lost(report, words), _held(report, words), _kept_free(report, words)]
    if report.cause is Cause.ALLOCATOR_RETAINED:
        stays.insert(1, stays.pop())
    if not sure and report.go_return is None:
        sure = words("Not known: Go's numbers were not read.")
    elif not sure and (unseen := now_bytes(report, "native in use")) >= _WORTH_SAYING:
        size = format_bytes(unseen)
        sure = words("Not known of {size} of C memory in use: only hooks see frees.", size=size)
    elif not sure and report.cause is Cause.GO_HEAP:
        sure = words("Nothing: what is alive in Go stays.")
    elif not sure and report.cause is Cause.OTHER and _grew_most_by_files(report):
        sure = words("Not known: the kernel may take pages of files, but not shared memory.")
    elif not sure:
        sure = words("Nothing by itself." if any(stays) else "Nothing of note.")
    return sure, sentences([*more, *stays])


def _grew_most_by_files(report: Report) -> bool:
    changes = {line.part: line.change_bytes or 0 for line in report.balance if line.part != "RSS"}
    return max(changes, key=lambda part: changes[part], default="") == "other files, shared"


def sentences(texts: Iterable[str]) -> str:
    """Put sentences together; Chinese ones have no blank between them."""
    return " ".join(filter(None, texts)).replace("。 ", "。")


def _already_back(report: Report, words: Words) -> str:
    back = come_back_bytes(report)
    return words("{size} has come back already.", size=format_bytes(back)) if back else ""


def _after_a_collection(report: Report, words: Words) -> str:
    held = outstanding_bytes(of_verdict(report, Verdict.GO_HELD))
    return words("{size} of C memory after a GC.", size=format_bytes(held)) if held else ""


def _when_a_collection(report: Report, words: Words) -> str:
    """Say how often collections came in this window, and when the next is due at the latest."""
    if not of_verdict(report, Verdict.GO_HELD):
        return ""
    cycles, seconds, due = report.window.gc_cycles, report.window.seconds, gc_due(report, words)
    if not cycles:
        return words("GCs come when enough is allocated ({due}).", due=due)
    time = format_seconds(float(f"{seconds / cycles:.2g}"))
    return words("Here one came every {time} ({due}).", time=time, due=due)


def gc_due(report: Report, words: Words) -> str:
    """Say when the next collection is due at the latest (``forcegcperiod``, proc.go)."""
    back = report.go_return
    if back is not None and _NO_COLLECTION_DUE in back.why:
        return words("GOGC=off: perhaps never")
    return words("two minutes at most")


def _lost(report: Report, words: Words) -> str:
    leaked = outstanding_bytes(of_verdict(report, Verdict.NATIVE_LEAK))
    return words("{size} of C memory leaks and stays.", size=format_bytes(leaked)) if leaked else ""


def held_bytes(report: Report) -> int:
    """Give the C memory that is held and does not grow, if it is worth a word; else 0."""
    size = outstanding_bytes(of_verdict(report, Verdict.BOUNDED))
    return size if size >= _HELD_WORTH else 0


def _held(report: Report, words: Words) -> str:
    held = held_bytes(report)
    if not held:
        return ""
    return words(
        "{size} more is held and does not grow."
        if of_verdict(report, Verdict.NATIVE_LEAK)
        else "{size} of C memory is held until the program frees it.",
        size=format_bytes(held),
    )


def _go_hands_back(report: Report, words: Words) -> str:
    back = report.go_return
    if back is None or not hands_back(back):
        return ""
    size, when = format_bytes(back.returning_bytes), _within(back, words)
    if not when:
        return words("{size} of Go's heap, no telling when.", size=size)
    return words("{size} of Go's heap, {when}.", size=size, when=when)


def hands_back(back: GoReturn) -> bool:
    """Whether Go will hand back more than any busy process breathes."""
    return back.returning_bytes >= _WORTH_SAYING


def go_gives_back(report: Report, words: Words) -> str:
    """Say what Go will hand back of its free memory, and why, if it is worth a paragraph.

    Of what any busy process keeps one sentence is enough. Empty where Go holds nothing.
    """
    back = report.go_return
    if back is None or not back.held_bytes:
        return ""
    held = format_bytes(back.held_bytes)
    if back.returning_bytes:
        when = _within(back, words)
        said = words(
            "{returning} of {held}{when}; {buffer} stay for reuse.",
            held=held,
            returning=format_bytes(back.returning_bytes),
            when=f" {when}" if when else "",
            buffer=format_bytes(back.buffer_bytes),
        )
    else:
        said = words("Nothing for now: {held} stay with Go for reuse.", held=held)
    if back.held_bytes < _WORTH_SAYING:
        return said
    gap = "" if said.endswith("。") else " "
    return f"{said}{gap}{visible(words(back.why))}"


def _garbage(report: Report, words: Words) -> str:
    size = uncollected_bytes(report)
    if not size:
        return ""
    due, shown = gc_due(report, words), format_bytes(size)
    return words(
        "And what of the {size} in use is garbage, after the next GC ({due}).", size=shown, due=due
    )


def uncollected_bytes(report: Report) -> int:
    """Give Go's heap in use where most of what Go retains has not been collected; else 0."""
    size = now_bytes(report, "Go heap in use")
    if report.cause is not Cause.GO_RETAINED or size <= now_bytes(report, "Go heap held back"):
        return 0
    if come_back_bytes(report) or now_bytes(report, "Go heap released") > size:
        return 0
    return size


def lazily_freed_bytes(report: Report) -> int:
    """Give what Go gave up with MADV_FREE, which stays until the kernel needs memory."""
    size = now_bytes(report, "Go heap released")
    return size if size >= _WORTH_SAYING and has_notice(report, LAZILY_FREED) else 0


def _kernel_takes(report: Report, words: Words) -> str:
    size = lazily_freed_bytes(report)
    if not size:
        return ""
    return words(
        "{size} when the kernel is short of memory, or the container at its limit; until then it "
        "counts.",
        size=format_bytes(size),
    )


def _kept_free(report: Report, words: Words) -> str:
    """Say what both allocators keep for reuse: it is resident, and not lost.

    Beside a leak only where that is most of it.
    """
    if report.cause not in _RISES_AND_FALLS and of_verdict(report, Verdict.NATIVE_LEAK):
        return ""
    go, back = 0, report.go_return
    if back is not None:
        go = back.buffer_bytes if hands_back(back) else back.held_bytes
    malloc = now_bytes(report, "allocator slack")
    if go >= _WORTH_SAYING and malloc >= _WORTH_SAYING:
        sizes = {"size": format_bytes(go), "slack": format_bytes(malloc)}
        return words("Go keeps {size} and malloc {slack}, to use first.", **sizes)
    if malloc >= _WORTH_SAYING:
        return words("malloc keeps {size} free, and uses it first.", size=format_bytes(malloc))
    if go >= _WORTH_SAYING:
        return words("Go keeps {size} free, and uses it first.", size=format_bytes(go))
    return ""


def now_bytes(report: Report, part: str) -> int:
    """Give a line of the balance sheet as it is now; 0 if there is none."""
    return next((line.now_bytes for line in report.balance if line.part == part), 0)


def change_bytes(report: Report, part: str) -> int | None:
    """Give by what a line of the balance sheet has changed; None where that is not known."""
    return next((line.change_bytes for line in report.balance if line.part == part), None)


def has_notice(report: Report, code: str) -> bool:
    """Whether a notice with this code is among those of the report."""
    return any(one.code == code for one in report.notices)


def come_back_bytes(report: Report) -> int:
    """Give what RSS has lost since its peak, if that is most of what it had risen by; else 0.

    Only where the cause says that RSS rose for a time: any process breathes.
    """
    known = rss_known(report)
    if report.cause not in _RISES_AND_FALLS or not known:
        return 0
    back = max(known) - known[-1]
    return back if 2 * back > max(known) - known[0] else 0


def rss_known(report: Report) -> list[int]:
    """Give RSS over the window, as far as it was read."""
    return [size for _, size in rss_over_time(report)]


def rss_over_time(report: Report) -> list[tuple[float, int]]:
    """Give seconds and RSS over the window, as far as it was read."""
    line = report.timeline
    if line is None:
        return []
    known = zip(line.seconds, line.rss_bytes, strict=True)
    return [(at, size) for at, size in known if size is not None]


def of_verdict(report: Report, verdict: Verdict) -> Sequence[Finding]:
    """Give the findings of one verdict."""
    return _by_verdict(_Same(report.findings)).get(verdict, ())


def outstanding_bytes(findings: Iterable[Finding]) -> int:
    """Add up what is outstanding at these."""
    return sum(one.outstanding_bytes for one in findings)


class _Same:
    """A tuple as itself: ten thousand findings are parted once, and not for each question."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.findings is other.findings

    def __hash__(self) -> int:
        return id(self.findings)


@lru_cache(maxsize=1)
def _by_verdict(same: _Same) -> dict[Verdict, list[Finding]]:
    found: dict[Verdict, list[Finding]] = {}
    for one in same.findings:
        found.setdefault(one.verdict, []).append(one)
    return found


def _within(back: GoReturn, words: Words) -> str:
    """Say when Go hands back what it will: ``within 2 min``; empty where nobody can tell."""
    if back.within_seconds is None:
        return ""
    low, high = back.within_seconds
    end, begin = _roughly(high, up=True), _roughly(low, up=False)
    if begin < 1:
        return words("within {time}", time=format_seconds(end))
    return words("within {low} to {high}", low=format_seconds(begin), high=format_seconds(end))


def _roughly(seconds: float, *, up: bool) -> float:
    """Round a forecast to ten seconds, beyond two minutes to minutes; its end up."""
    step = 10 if seconds < _TENS else 60
    return step * (math.ceil if up else math.floor)(seconds / step)
