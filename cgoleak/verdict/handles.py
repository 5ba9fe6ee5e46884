"""Handles: the stacks of a capture that made no blocks → findings of their own.

They are judged by the same rules as blocks, each kind for itself: a handle that nobody gives up
piles up as a block does. Nothing of them goes into a total of bytes, since what a handle consists
of was allocated with malloc, and is counted there.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgoleak.ledger import Ledger
from cgoleak.model.golibrary import go_package, is_dependency, own_go_frame
from cgoleak.model.ids import SiteKey
from cgoleak.model.ownership import innermost_go
from cgoleak.model.report import HandleFinding, Verdict
from cgoleak.stacks import find_sites
from cgoleak.units import format_count, plural
from cgoleak.verdict.facts import HANDLE
from cgoleak.verdict.judge import ORDER, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.capture import Capture
    from cgoleak.model.frames import Frame
    from cgoleak.model.handles import HandleFamily
    from cgoleak.model.ids import StackId
    from cgoleak.model.report import Finding
    from cgoleak.model.snapshot import Snapshot
    from cgoleak.verdict.policy import Policy

__all__ = ["handle_findings", "handle_sentence", "without_handles"]

_MOST_NAMED: Final = 4


def without_handles(capture: Capture) -> Capture:
    """Give the same capture with stacks of blocks only."""
    made = {stack for stack, raw in capture.stacks.items() if raw.family}
    if not made:
        return capture
    return replace(
        capture,
        stacks={stack: raw for stack, raw in capture.stacks.items() if stack not in made},
        snapshots=_only(capture.snapshots, made, keep=False),
    )


def handle_findings(
    capture: Capture, snapshots: Sequence[Snapshot], policy: Policy
) -> tuple[HandleFinding, ...]:
    """Judge every kind; worst verdict first, then most handles.

    ``snapshots`` are those with stacks, since the hooks went in.

    Raises:
        DamagedCapture: they are out of order.
    """
    found: list[HandleFinding] = []
    for number, family in enumerate(capture.families, start=1):
        stacks = {at: raw for at, raw in capture.stacks.items() if raw.family == number}
        if not stacks:
            continue
        ours = _only(snapshots, set(stacks), keep=True)
        ledger = Ledger(ours)
        sites = find_sites(replace(capture, stacks=stacks, snapshots=ours))
        found += [_finding(one, family) for one in judge(ledger, sites, policy, noun=HANDLE)]
    return tuple(
        sorted(
            found,
            key=lambda one: (ORDER.index(one.verdict), -one.outstanding, one.family, one.site),
        )
    )


def handle_sentence(findings: Sequence[HandleFinding]) -> str:
    """Say which kinds are lost, for the summary; empty if none is."""
    lost: dict[str, int] = {}
    for one in findings:
        if one.verdict is Verdict.NATIVE_LEAK:
            lost[one.family] = lost.get(one.family, 0) + one.outstanding
    if not lost:
        return ""
    names = ", ".join(f"{format_count(count)} {family}" for family, count in lost.items())
    verb = "was" if sum(lost.values()) == 1 else "were"
    return f" Of handles, {names} {verb} made and not given up, and ever more are."


def _only(
    snapshots: Sequence[Snapshot], stacks: set[StackId], *, keep: bool
) -> tuple[Snapshot, ...]:
    return tuple(
        replace(
            one,
            stacks={
                stack: counts for stack, counts in one.stacks.items() if (stack in stacks) is keep
            },
            # Frees of blocks say nothing of handles.
            counters=replace(one.counters, unmatched_frees=0) if keep else one.counters,
        )
        for one in snapshots
    )


def _finding(one: Finding, family: HandleFamily) -> HandleFinding:
    return HandleFinding(
        site=_key(one.site, family.name),
        family=family.name,
        verdict=one.verdict,
        outstanding=one.outstanding_blocks,
        outstanding_bytes=one.outstanding_bytes,
        growth_per_second=one.growth_bytes_per_second,  # of handles: their number
        oldest_seconds=one.oldest_seconds,
        stack=one.stack,
        evidence=(*one.evidence, *_calls(family)),
        advice=_advice(one, family),
        suppression=one.suppression,
        creates=family.creates,
        destroys=family.destroys,
    )


def _key(site: SiteKey, family: str) -> SiteKey:
    """Tell it from the site of blocks with the same stack, and from another kind's."""
    digest = hashlib.sha256(f"{family}\n{site}".encode("utf-8", "surrogatepass")).hexdigest()
    return SiteKey(digest[: len(site)])


def _destroys(family: HandleFamily) -> str:
    """Name the functions that give one up; of many the first, which are written to be the usual."""
    most = 2 if len(family.destroys) > _MOST_NAMED else _MOST_NAMED
    return " or ".join(family.destroys[:most])


def _calls(family: HandleFamily) -> tuple[str, ...]:
    """Say what was seen of the destroy functions, for all handles of the kind."""
    seen = family.destroyed + family.unmatched
    names = _destroys(family)
    if not seen and not family.gone:
        return (f"{names} was not called in this window",)
    gone = (
        f"; {plural(family.gone, 'handle')} went with the memory that the library freed itself"
        if family.gone
        else ""
    )
    return (f"{names} gave up {plural(seen, 'handle')} of this kind, of all sites{gone}",)


def _advice(one: Finding, family: HandleFamily) -> str:
    names = _destroys(family)
    if one.verdict not in (Verdict.NATIVE_LEAK, Verdict.SUSPECT):
        return one.advice
    owner = own_go_frame(one.stack)
    where = _place(one.stack if owner is None else (owner,))
    fix = f"Call {names} on every {family.name} that is made{where}, on error paths as well."
    called = innermost_go(one.stack)
    if owner is not None and called is not None and is_dependency(called):
        fix = (
            f"Close what is opened{where} by way of {go_package(called)}, so that {names} is called"
            f" on its {family.name}; if that is done already, the leak is in that module."
        )
    if one.verdict is Verdict.SUSPECT:
        return f"Measure longer, under load (--duration 2m). If it goes on: {fix}"
    return fix


def _place(stack: Sequence[Frame]) -> str:
    frame = next((one for one in stack if one.lang.value in ("Go", "C", "C++")), None)
    if frame is None:
        return ""
    line = f":{frame.line}" if frame.line is not None else ""
    file = f" ({frame.file.rpartition('/')[2]}{line})" if frame.file else ""
    return f" in {frame.function}{file}"
