"""Findings and balance → the cause of the process's growth and one sentence.

The seam for the Go side: with ``Snapshot.go`` absent, growth that no site explains is ``unknown``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cgoleak.model.report import Cause, Verdict
from cgoleak.units import format_bytes, format_rate, format_seconds, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.ledger import Ledger
    from cgoleak.model.report import BalanceLine, Finding

__all__ = ["Conclusion", "conclude", "grows"]

_GROWTH_BYTES = 4 << 20
_GROWTH_SHARE = 0.05
"""RSS growth below both is what any busy process shows."""


class Conclusion(NamedTuple):
    """What made RSS what it is, and a sentence on it."""

    cause: Cause
    summary: str


def conclude(
    ledger: Ledger, findings: Sequence[Finding], balance: Sequence[BalanceLine]
) -> Conclusion:
    """Name the cause.

    A leak comes first even if it is small today: it is the part that never stops. Only a Go heap
    that outgrows it tenfold, and makes most of the growth, is named before it.
    """
    changes = {line.part: line.change_bytes or 0 for line in balance}
    leaks = [one for one in findings if one.verdict is Verdict.NATIVE_LEAK]
    suspects = [one for one in findings if one.verdict is Verdict.SUSPECT]
    held = [one for one in findings if one.verdict is Verdict.GO_HELD]
    lost = sum(one.outstanding_bytes for one in leaks)
    heap = changes.get("Go heap in use", 0)
    heap_leads = heap > 10 * lost and 2 * heap > changes.get("RSS", 0) and heap > _GROWTH_BYTES
    if leaks and not heap_leads:
        return Conclusion(Cause.NATIVE_LEAK, _leak_sentence(leaks, suspects))
    if not ledger.times_ns:
        return Conclusion(Cause.UNKNOWN, "Nothing was measured: there is no snapshot.")
    if held and _matters(held, changes, balance):
        return Conclusion(Cause.GO_HELD, _held_sentence(held))
    return _without_sites(ledger, suspects, changes, balance)


def grows(balance: Sequence[BalanceLine]) -> bool:
    """Whether RSS grew by more than a busy process does."""
    rss = next((line for line in balance if line.part == "RSS"), None)
    if rss is None or rss.change_bytes is None:
        return False
    return rss.change_bytes > max(_GROWTH_BYTES, _GROWTH_SHARE * (rss.start_bytes or 0))


def _without_sites(
    ledger: Ledger,
    suspects: Sequence[Finding],
    changes: dict[str, int],
    balance: Sequence[BalanceLine],
) -> Conclusion:
    window = format_seconds(ledger.seconds)
    grown = changes.get("RSS", 0)
    if not grows(balance):
        if suspects:
            return Conclusion(
                Cause.UNKNOWN,
                f"No site is shown to lose C memory in {window}, but "
                f"{plural(len(suspects), 'site')} {_are(suspects)} suspect.",
            )
        return Conclusion(Cause.STABLE, f"No site kept growing in {window}.")
    parts = (
        (Cause.GO_HEAP, "Go heap in use", "the live Go heap grew by {}: look at it with pprof"),
        (Cause.GO_RETAINED, "Go heap held back", "Go freed {} and has not handed it back yet"),
    )
    for cause, part, sentence in parts:
        if 2 * changes.get(part, 0) > grown:
            said = sentence.format(format_bytes(changes[part]))
            return Conclusion(cause, f"RSS grew by {format_bytes(grown)} in {window}; {said}.")
    if any(ledger.go) and not suspects and 2 * changes.get("other", 0) > grown:
        freed = sum(ledger.last(stack).freed_bytes for stack in ledger.stacks)
        if freed > changes["other"]:
            return Conclusion(
                Cause.ALLOCATOR_RETAINED,
                f"RSS grew by {format_bytes(grown)} in {window}, while C freed "
                f"{format_bytes(freed)}: the allocator keeps what was freed.",
            )
        return Conclusion(
            Cause.OTHER,
            f"RSS grew by {format_bytes(grown)} in {window}, in neither heap: "
            "stacks, mappings or files.",
        )
    seen = f", {plural(len(suspects), 'site')} {_are(suspects)} suspect" if suspects else ""
    return Conclusion(
        Cause.UNKNOWN,
        f"RSS grew by {format_bytes(grown)} in {window}; no site is shown to lose C memory{seen}.",
    )


def _leak_sentence(leaks: Sequence[Finding], suspects: Sequence[Finding]) -> str:
    rate = format_rate(sum(one.growth_bytes_per_second for one in leaks))
    verb = "is" if len(leaks) == 1 else "are"
    more = f"; {len(suspects)} more {_are(suspects)} suspect" if suspects else ""
    return f"{plural(len(leaks), 'site')} {verb} losing C memory at {rate}{more}."


def _held_sentence(held: Sequence[Finding]) -> str:
    size = format_bytes(sum(one.outstanding_bytes for one in held))
    verb = "waits" if len(held) == 1 else "wait"
    return (
        f"{size} of C memory at {plural(len(held), 'site')} {verb} for Go's finalizers "
        "or cleanups; no site is shown to lose C memory."
    )


def _matters(
    held: Sequence[Finding], changes: dict[str, int], balance: Sequence[BalanceLine]
) -> bool:
    """Whether what Go holds is worth naming: it makes half of the growth, or there is no RSS."""
    size = sum(one.outstanding_bytes for one in held)
    rss = next((line.now_bytes for line in balance if line.part == "RSS"), 0)
    if grows(balance):
        return 2 * size > changes["RSS"]
    return size > _GROWTH_SHARE * rss


def _are(found: Sequence[Finding]) -> str:
    return "is" if len(found) == 1 else "are"
