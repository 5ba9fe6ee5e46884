"""What comes back by itself, what has come back, and what stays: the fourth answer.

Report → sentences, each from its own source: the window over time, findings that wait for the GC,
Go's hand-back, what the kernel may take, what both allocators keep, and what leaked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Cause, Verdict
from cgoleak.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgoleak.model.report import Finding, GoReturn, Report
    from cgoleak.model.words import Words

__all__ = [
    "LAZILY_FREED",
    "come_back_bytes",
    "comes_back",
    "has_notice",
    "of_verdict",
    "rss_known",
    "sentences",
    "within",
]

LAZILY_FREED: Final = "memory.lazily-freed"
_RISES_AND_FALLS: Final = frozenset({Cause.GO_RETAINED, Cause.ALLOCATOR_RETAINED, Cause.OTHER})
_WORTH_SAYING: Final = 64 << 10


def comes_back(report: Report, words: Words) -> tuple[str, str]:
    """Say what comes back, the surest first, then what stays free for reuse, and what is lost."""
    nothing = words("Nothing of note.")
    said = [
        _already_back(report, words),
        _after_a_collection(report, words),
        _go_hands_back(report, words),
        _garbage(report, words),
        _kernel_takes(report, words),
    ]
    sure, *more = [text for text in said if text] or [nothing]
    if report.go_return is None and sure == nothing:
        sure = words("Not known: Go's numbers were not read.")
    leaked = sum(one.outstanding_bytes for one in of_verdict(report, Verdict.NATIVE_LEAK))
    lost = words("{size} of C memory stays.", size=format_bytes(leaked)) if leaked else ""
    return sure, sentences([*more, _kept_free(report, words), lost])


def sentences(texts: Iterable[str]) -> str:
    """Put sentences together; Chinese ones have no blank between them."""
    return " ".join(filter(None, texts)).replace("。 ", "。")


def _already_back(report: Report, words: Words) -> str:
    back = come_back_bytes(report)
    return words("{size} has come back already.", size=format_bytes(back)) if back else ""


def _after_a_collection(report: Report, words: Words) -> str:
    held = sum(one.outstanding_bytes for one in of_verdict(report, Verdict.GO_HELD))
    return words("{size} of C memory after a GC.", size=format_bytes(held)) if held else ""


def _go_hands_back(report: Report, words: Words) -> str:
    back = report.go_return
    if back is None or back.returning_bytes < _WORTH_SAYING:
        return ""
    size, when = format_bytes(back.returning_bytes), within(back, words)
    if not when:
        return words("{size} of Go's heap, no telling when.", size=size)
    return words("{size} of Go's heap, {when}.", size=size, when=when)


def _garbage(report: Report, words: Words) -> str:
    """Say that there is more to come where most of what Go retains has not been collected."""
    size = _now(report, "Go heap in use")
    if report.cause is not Cause.GO_RETAINED or size <= _now(report, "Go heap held back"):
        return ""
    if come_back_bytes(report) or _now(report, "Go heap released") > size:
        return ""
    return words("And what of the {size} in use is garbage, after a GC.", size=format_bytes(size))


def _kernel_takes(report: Report, words: Words) -> str:
    """Say what Go gave up with MADV_FREE, which stays resident until the kernel needs memory."""
    size = _now(report, "Go heap released")
    if size < _WORTH_SAYING or not has_notice(report, LAZILY_FREED):
        return ""
    return words("{size} when the kernel runs short of memory.", size=format_bytes(size))


def _kept_free(report: Report, words: Words) -> str:
    """Say what both allocators keep for reuse: it is resident, and not lost."""
    go, back = 0, report.go_return
    if back is not None:
        goes = back.returning_bytes >= _WORTH_SAYING
        go = back.buffer_bytes if goes else back.held_bytes
    malloc = _now(report, "allocator slack")
    if go >= _WORTH_SAYING and malloc >= _WORTH_SAYING:
        sizes = {"size": format_bytes(go), "slack": format_bytes(malloc)}
        return words("Go keeps {size} and malloc {slack} free for reuse.", **sizes)
    if malloc >= _WORTH_SAYING:
        return words("malloc keeps {size} free for reuse.", size=format_bytes(malloc))
    if go >= _WORTH_SAYING:
        return words("Go keeps {size} free for reuse.", size=format_bytes(go))
    return ""


def _now(report: Report, part: str) -> int:
    return next((line.now_bytes for line in report.balance if line.part == part), 0)


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
    line = report.timeline
    return [] if line is None else [size for size in line.rss_bytes if size is not None]


def of_verdict(report: Report, verdict: Verdict) -> list[Finding]:
    """Give the findings of one verdict."""
    return [one for one in report.findings if one.verdict is verdict]


def within(back: GoReturn, words: Words) -> str:
    """Say when Go hands back what it will: ``within 2 to 5 min``; empty where nobody can tell."""
    if back.within_seconds is None:
        return ""
    low, high = back.within_seconds
    if low < 1:
        return words("within {time}", time=format_seconds(high))
    return words("within {low} to {high}", low=format_seconds(low), high=format_seconds(high))
