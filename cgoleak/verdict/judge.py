"""Ledger and sites → findings, worst first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from cgoleak.ledger.estimate import interval
from cgoleak.model.report import Finding, Verdict
from cgoleak.verdict.advice import advice_for
from cgoleak.verdict.evidence import evidence_of
from cgoleak.verdict.facts import BLOCK, Surroundings, facts_of
from cgoleak.verdict.rules import rule_on
from cgoleak.verdict.suppress import suppression_for
from cgoleak.verdict.timeline import history_places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cgoleak.ledger import Ledger, Series
    from cgoleak.model.frames import Frame
    from cgoleak.model.holding import Holding
    from cgoleak.model.ids import StackId
    from cgoleak.stacks import Site
    from cgoleak.verdict.facts import Facts
    from cgoleak.verdict.policy import Policy
    from cgoleak.verdict.rules import Ruling
    from cgoleak.verdict.suppress import Suppression

__all__ = ["ORDER", "judge"]

ORDER: Final = (
    Verdict.NATIVE_LEAK,
    Verdict.SUSPECT,
    Verdict.GO_HELD,
    Verdict.BOUNDED,
    Verdict.SUPPRESSED,
)
"""Worst first."""
_RANKS: Final = {verdict: rank for rank, verdict in enumerate(ORDER)}


def judge(
    ledger: Ledger,
    sites: Iterable[Site],
    policy: Policy,
    *,
    holdings: Mapping[StackId, Holding] | None = None,
    noun: str = BLOCK,
) -> tuple[Finding, ...]:
    """Judge every site with outstanding blocks; worst verdict first, then most bytes.

    ``holdings`` is who still knew the blocks of a command at its exit, ``noun`` what they are.
    """
    around = Surroundings.of(ledger, holdings, noun=noun)
    findings = [
        _finding(site, series, around, policy)
        for site in sites
        if (series := ledger.series(site.variants)).blocks[-1] > 0
    ]
    return tuple(
        sorted(
            findings,
            key=lambda one: (_RANKS[one.verdict], -one.outstanding_bytes, one.site),
        )
    )


def _finding(site: Site, series: Series, around: Surroundings, policy: Policy) -> Finding:
    facts = facts_of(site, series, around)
    ruling = rule_on(facts, policy)
    muted = _muted(site, policy)
    verdict = ruling.verdict if muted is None else Verdict.SUPPRESSED
    frames = _heaviest(site, around.ledger)
    return Finding.later(
        partial(_words, facts, ruling, verdict, frames, muted, policy),
        site=site.key,
        verdict=verdict,
        outstanding_bytes=series.bytes[-1],
        outstanding_blocks=series.blocks[-1],
        growth_bytes_per_second=facts.growth.per_second,
        oldest_seconds=facts.oldest_ns / 1e9,
        stack=frames,
        samples=series.last.samples,
    )


def _words(
    facts: Facts,
    ruling: Ruling,
    verdict: Verdict,
    frames: tuple[Frame, ...],
    muted: Suppression | None,
    policy: Policy,
) -> dict[str, object]:
    """Give what is only said of a finding that is shown."""
    evidence = evidence_of(facts, ruling, policy)
    if muted is not None:
        evidence = (f"muted by {muted}; without it: {ruling.verdict.value}", *evidence)
    last, curve = facts.series.last, facts.series.bytes
    return {
        "evidence": evidence,
        "advice": advice_for(
            verdict,
            frames,
            infrastructure=facts.site.infrastructure,
            freed=last.freed_blocks / max(1, last.born_blocks),
        ),
        "suppression": suppression_for(frames),
        "interval_bytes": (
            interval(last.outstanding_bytes, last.bytes_error) if last.samples else None
        ),
        "history_bytes": tuple([curve[place] for place in history_places(len(curve))]),
    }


def _muted(site: Site, policy: Policy) -> Suppression | None:
    return next(
        (one for one in policy.suppressions if any(map(one.matches, site.variants.values()))), None
    )


def _heaviest(site: Site, ledger: Ledger) -> tuple[Frame, ...]:
    """Give the stack that holds most: two lines of one function are one site, one may be sound."""
    if len(site.variants) == 1:
        return site.frames
    stack = max(site.stack_ids, key=lambda one: (ledger.last(one).outstanding_blocks, -one))
    return site.variants[stack]
