"""The numbers of a site as short sentences, for every verdict that speaks of growth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.model.holding import OWNED_BLOCKS
from cgoleak.model.report import Verdict
from cgoleak.units import (
    format_bytes,
    format_count,
    format_percent,
    format_rate,
    format_seconds,
    plural,
)
from cgoleak.verdict.facts import BLOCK, GcOff
from cgoleak.verdict.rules import (
    has_a_thread_each,
    has_an_owner_each,
    has_owners,
    is_stalled,
    stall_of,
)

if TYPE_CHECKING:
    from cgoleak.verdict.facts import Facts
    from cgoleak.verdict.policy import Policy
    from cgoleak.verdict.rules import Ruling

__all__ = ["evidence_of"]

_ACCUSED: Final = (Verdict.NATIVE_LEAK, Verdict.SUSPECT)
_WAITING: Final = (*_ACCUSED, Verdict.GO_HELD)
_SAID_OF_GC_OFF: Final = {
    GcOff.UNTIL_ASKED: (
        "GOGC is off and there is no memory limit: Go collects only when the program asks for it, "
        "and finalizers and cleanups wait for that"
    ),
    GcOff.UNTIL_LIMIT: (
        "GOGC is off: Go collects only near its memory limit, towards which C memory does not "
        "count, and finalizers and cleanups wait for that"
    ),
}


def evidence_of(facts: Facts, ruling: Ruling, policy: Policy) -> tuple[str, ...]:
    """Give the evidence, strongest first; what cannot be known comes last."""
    lines = [_survival(facts)]
    lost = facts.holding is not None and facts.holding.lost_blocks > 0
    if ruling.verdict in _ACCUSED and not lost:
        lines += [_growth(facts)]
    lines += ruling.reasons
    off = facts.around.gc_off
    if off and ruling.verdict in _WAITING and (facts.around.cleans or has_owners(facts)):
        lines.append(_SAID_OF_GC_OFF[off])
    if ruling.verdict in _ACCUSED and has_a_thread_each(facts, policy):
        threads = format_count(facts.around.more_threads)
        lines.append(
            f"{threads} more threads than at the attach, about as many as {facts.noun}s here: they "
            "may belong to threads that do not end"
        )
    if facts.range_bytes is not None:
        lines.append(_estimate(facts, *facts.range_bytes))
    if facts.site.callers > 1:
        lines.append(
            f"{plural(facts.site.callers, 'call path')} from Go, judged together: each for itself "
            f"has too few {facts.noun}s to tell"
        )
    idle = facts.series.seconds - facts.looked.seconds
    if idle:
        lines.append(f"the process was idle for the last {format_seconds(idle)}: judged up to then")
    if ruling.verdict is Verdict.NATIVE_LEAK and not lost:
        lines += _limits(facts, policy)
    return tuple(lines)


def _survival(facts: Facts) -> str:
    last, seconds = facts.series.last, format_seconds(facts.series.seconds)
    if not last.freed_blocks:
        return f"none of {plural(last.born_blocks, facts.noun)} freed in {seconds}"
    staying = format_percent(last.outstanding_blocks / max(1, last.born_blocks))
    line = (
        f"{format_count(last.freed_blocks)} of {plural(last.born_blocks, facts.noun)} freed in "
        f"{seconds}, {staying} outstanding"
    )
    lifetime = facts.series.mean_lifetime_seconds
    if lifetime and facts.oldest_ns:
        line += (
            f"; freed ones lived {format_seconds(lifetime)} on average, "
            f"the oldest that stayed is {format_seconds(facts.oldest_ns / 1e9)} old"
        )
    return line


def _estimate(facts: Facts, least: int, most: int) -> str:
    last = facts.series.last
    samples = plural(last.samples, f"sampled {facts.noun}")
    low, high = format_bytes(least), format_bytes(most)
    if not last.samples:
        return (
            f"at least that: some of its {facts.noun}s were sampled, and none that stayed is among "
            f"them; between {low} and {high} outstanding, with 95% confidence"
        )
    if low == high:
        # Nearly all of a place that allocates seldom are followed for sure.
        return f"{samples} among them, too few to change a digit shown here"
    return f"estimated from {samples}: between {low} and {high} outstanding, with 95% confidence"


def _growth(facts: Facts) -> str:
    grew, intervals = facts.looked.growing_intervals
    if facts.noun == BLOCK:
        # Of a block that is made ever larger the number stays; the rate is of bytes.
        grew = max(grew, facts.looked.larger_intervals[0])
        rate, r2 = format_rate(facts.growth.per_second), facts.growth.r2
    else:
        line = facts.series.rise()
        rate, r2 = f"{line.per_second:.3g} {facts.noun}s a second", line.r2
    return f"grew in {grew} of {plural(intervals, 'interval')}, {rate} (r² {r2:.2f})"


def _is_unowned(facts: Facts) -> bool:
    """Tell if finalizers and cleanups that were set since are too few for its blocks."""
    owners = facts.around.owners
    if owners is None:
        return False
    return owners <= 0 or OWNED_BLOCKS * owners < facts.series.last.outstanding_blocks


def _no_wait(facts: Facts, cycles: int) -> str:
    gc = plural(cycles, "GC cycle") if cycles else "no GC cycle"
    owners = facts.around.owners or 0
    if owners <= 0:
        return (
            f"{gc} in this window, but it waits for none: Go has no more objects with a finalizer "
            "or cleanup than at the attach"
        )
    return (
        f"{gc} in this window, but it hardly waits for one: Go has {format_count(owners)} more "
        "objects with a finalizer or cleanup than at the attach, fewer than one for ten of these "
        f"{facts.noun}s"
    )


def _limits(facts: Facts, policy: Policy) -> list[str]:
    lines: list[str] = []
    cycles = facts.around.gc_cycles
    if cycles is None:
        lines.append("GC cycles are not known: memory that waits for a finalizer looks the same")
    elif cycles < policy.gc_cycles and _is_unowned(facts):
        lines.append(_no_wait(facts, cycles))
    elif cycles < policy.gc_cycles:
        lines.append(
            f"{plural(cycles, 'GC cycle') if cycles else 'no GC cycle'} in this window: "
            "memory that waits for a finalizer looks the same"
        )
    elif has_an_owner_each(facts):
        lines.append(
            f"{plural(cycles, 'GC cycle')} in this window left alive as many more Go objects with "
            "a finalizer or cleanup as are outstanding here: something in Go may still hold them"
        )
    else:
        freed = facts.series.last.cleaned_blocks
        lines.append(
            f"{plural(cycles, 'GC cycle')} in this window, "
            f"in which cleanups freed {plural(freed, facts.noun) if freed else 'none of them'}"
        )
        if is_stalled(facts, policy):
            lines.append(stall_of(facts))
    if not facts.series.last.freed_blocks:
        lines.append(
            "a cache that is still filling looks the same until it is full, and a batch until it "
            "is freed"
        )
    return lines
