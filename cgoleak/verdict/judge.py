"""Ledger and sites → findings, worst first."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.report import Finding, Verdict
from cgoleak.stacks.site import native_part, only, the_rest, together
from cgoleak.verdict.advice import advice_for
from cgoleak.verdict.evidence import evidence_of
from cgoleak.verdict.facts import BLOCK, Surroundings, facts_of
from cgoleak.verdict.rules import (
    falls_behind,
    has_a_thread_each,
    has_an_owner_each,
    has_larger_blocks,
    has_owners,
    is_renewed,
    rests,
    rule_on,
)
from cgoleak.verdict.suppress import suppression_for
from cgoleak.verdict.timeline import history_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgoleak.capture.history import CountRow
    from cgoleak.ledger import Ledger
    from cgoleak.model.frames import Frame
    from cgoleak.model.holding import Holding
    from cgoleak.model.ids import SiteKey, StackId
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
_SCREEN: Final = 50
"""Sites that are looked at one by one."""
_MOST_APART: Final = 64
"""Stacks of one site that are looked at one by one."""
_GROWING: Final = frozenset({Verdict.NATIVE_LEAK, Verdict.SUSPECT})
_GROWS: Final = _GROWING | {Verdict.BOUNDED}
"""Verdicts that speak of growth, and that there is none."""
_RANKS: Final = {verdict: rank for rank, verdict in enumerate(ORDER)}


class _Judged(NamedTuple):
    """A site, its newest counts, its verdict, and what finds the rest of the finding."""

    site: Site
    last: CountRow
    verdict: Verdict
    find: Callable[[str], dict[str, object]]


def judge(
    ledger: Ledger,
    sites: Iterable[Site],
    policy: Policy,
    *,
    holdings: Mapping[StackId, Holding] | None = None,
    mappings: frozenset[StackId] = frozenset(),
    noun: str = BLOCK,
    sample_bytes: int = 0,
) -> tuple[Finding, ...]:
    """Judge every site with outstanding blocks; worst verdict first, then most bytes.

    ``holdings`` is who still knew the blocks of a command at its exit, ``mappings`` the stacks of
    those that are mappings, ``noun`` what they are called; ``sample_bytes`` at which rate blocks
    were sampled, 0 if each was followed.
    """
    around = Surroundings.of(ledger, holdings, mappings, noun=noun, sample_bytes=sample_bytes)
    resting = _Resting(around)
    # In the order in which their counts lie in memory, which takes half the time.
    ordered = sorted(sites, key=attrgetter("stack_ids"))
    lasts = [ledger.total(site.stack_ids) for site in ordered]
    judged = [
        _judged(site, last, resting, around, policy)
        for site, last in zip(ordered, lasts, strict=True)
        if last.outstanding_blocks > 0
    ]
    judged = _with_shared_code(judged, resting, around, policy)
    judged = [part for one in judged for part in _by_lines(one, resting, around, policy)]
    if not judged:
        return ()
    found, counts, verdicts, finds = zip(*judged, strict=True)
    findings = Finding.many_later(
        finds,
        site=map(attrgetter("key"), found),
        verdict=verdicts,
        outstanding_bytes=map(attrgetter("outstanding_bytes"), counts),
        outstanding_blocks=map(attrgetter("outstanding_blocks"), counts),
        samples=map(attrgetter("samples"), counts),
    )
    # Each sort leaves the order of what is equal.
    findings.sort(key=attrgetter("site"))
    findings.sort(key=attrgetter("outstanding_bytes"), reverse=True)
    findings.sort(key=lambda one: _RANKS[one.verdict])
    return tuple(findings)


def _judged(
    site: Site, last: CountRow, resting: _Resting, around: Surroundings, policy: Policy
) -> _Judged:
    find: Callable[[str], dict[str, object]]
    if rests(site, last, around):
        verdict = Verdict.BOUNDED
        resting.add(site)
        find = partial(_of_resting, resting, site, policy)
    else:
        facts = facts_of(site, around)
        ruling = rule_on(facts, policy)
        verdict = ruling.verdict
        find = partial(_of_moving, facts, ruling, policy)
    if policy.suppressions and _muted(site, policy) is not None:
        verdict = Verdict.SUPPRESSED
    return _Judged(site, last, verdict, find)


def _with_shared_code(
    judged: list[_Judged], resting: _Resting, around: Surroundings, policy: Policy
) -> list[_Judged]:
    """Judge sites of the same C code together, if that is a leak and none of them shows it alone.

    A function that loses a block for each of sixty handlers in Go has sixty sites with too few
    blocks to tell. Doubts that are not about their number hold for all of them together, too.
    """
    groups: dict[tuple[str, ...], list[_Judged]] = {}
    for one in judged:
        if one.verdict is Verdict.SUSPECT and (part := native_part(one.site.leafward)):
            groups.setdefault(part, []).append(one)
    groups = {part: members for part, members in groups.items() if len(members) > 1}
    if not groups:
        return judged
    for one in judged:
        if one.verdict is Verdict.BOUNDED and not rests(one.site, one.last, around):
            groups.get(native_part(one.site.leafward), []).append(one)
    replaced: set[SiteKey] = set()
    leaks = []
    for members in groups.values():
        site = together([one.site for one in members])
        last = around.ledger.total(site.stack_ids)
        whole = _judged(site, last, resting, around, policy)
        if whole.verdict is Verdict.NATIVE_LEAK:
            leaks.append(whole)
            replaced.update(one.site.key for one in members)
    return [*(one for one in judged if one.site.key not in replaced), *leaks]


def _by_lines(
    whole: _Judged, resting: _Resting, around: Surroundings, policy: Policy
) -> tuple[_Judged, ...]:
    """Part a site of which some stacks leak by themselves from what the others make.

    A function that makes a node of a cache makes its key as well as its value. Together they have
    the bytes of all that is alive, and its ups and downs, which hide what is lost. It stays whole
    where the rest is no better, or gives way to what grows: then one line may have taken the place
    of another.
    """
    site = whole.site
    few = 1 < len(site.stack_ids) <= _MOST_APART
    if not few or rests(site, whole.last, around):
        return (whole,)
    verdict = _unmuted(site, around, policy)
    if verdict not in _GROWS:
        return (whole,)
    lines = [one for one in site.stack_ids if _leaks(only(site, {one}), around, policy)]
    if not 0 < len(lines) < len(site.stack_ids):
        return (whole,)
    lost, rest = only(site, lines), the_rest(site, lines)
    same = verdict is Verdict.NATIVE_LEAK and _unmuted(rest, around, policy) in _GROWING
    if same or not _leaks(lost, around, policy) or _gives_way(rest, lost, around):
        return (whole,)
    lasts = [(part, around.ledger.total(part.stack_ids)) for part in (lost, rest)]
    return tuple(
        _judged(part, last, resting, around, policy)
        for part, last in lasts
        if last.outstanding_blocks > 0
    )


def _unmuted(site: Site, around: Surroundings, policy: Policy) -> Verdict:
    """Give the verdict, whatever suppressions say: muting must not change what there is."""
    if rests(site, around.ledger.total(site.stack_ids), around):
        return Verdict.BOUNDED
    return rule_on(facts_of(site, around), policy).verdict


def _leaks(site: Site, around: Surroundings, policy: Policy) -> bool:
    return _unmuted(site, around, policy) is Verdict.NATIVE_LEAK


def _gives_way(rest: Site, lost: Site, around: Surroundings) -> bool:
    """Tell whether one part lost half as many blocks as the other gained, or more.

    In the later two thirds: at the attach nothing is outstanding, so that all rise in the first.
    """
    shapes = facts_of(rest, around).shape, facts_of(lost, around).shape
    fell, rose = (0 if shape is None else sum(shape.rises[1:]) for shape in shapes)
    return -2 * fell >= rose


class _Resting:
    """Sites at rest, whose verdict is known before they are measured.

    A screen shows a few of them. A page shows all, worst first: then all are measured together, in
    the order of their counts in memory.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._sites: list[Site] = []
        self._asked = 0
        self._measured: dict[SiteKey, Facts] = {}

    def add(self, site: Site) -> None:
        """Take the next in order of the stacks."""
        self._sites.append(site)

    def facts(self, site: Site) -> Facts:
        """Measure a site; of its facts no others are kept than those that wait to be asked for."""
        self._asked += 1
        if self._asked == _SCREEN:
            self._measured = {one.key: facts_of(one, self._around) for one in self._sites}
        return self._measured.pop(site.key, None) or facts_of(site, self._around)


def _of_moving(facts: Facts, ruling: Ruling, policy: Policy, field: str) -> dict[str, object]:
    """Give a field of a finding, and others that are as dear together as it is for itself."""
    if field == "stack":
        return {field: _heaviest(facts.site, facts.around.ledger)}
    numbers = _numbers(facts)
    return numbers if field in numbers else _words(facts, ruling, policy)


def _of_resting(
    resting: _Resting,
    site: Site,
    policy: Policy,
    field: str,  # noqa: ARG001 - see below
) -> dict[str, object]:
    """Give the same of a site at rest: whatever is asked for, it has to be measured."""
    facts = resting.facts(site)
    return _numbers(facts) | _words(facts, rule_on(facts, policy), policy)


def _numbers(facts: Facts) -> dict[str, object]:
    # Of handles it is their number that grows; sites may have been put together or parted here.
    growth = facts.growth if facts.noun == BLOCK else facts.series.rise()
    return {
        "growth_bytes_per_second": growth.per_second,
        "oldest_seconds": facts.oldest_ns / 1e9,
    }


def _words(facts: Facts, ruling: Ruling, policy: Policy) -> dict[str, object]:
    """Give what is only said of a finding that is shown."""
    evidence, verdict = evidence_of(facts, ruling, policy), ruling.verdict
    muted = _muted(facts.site, policy)
    if muted is not None:
        evidence = (f"muted by {muted}; without it: {verdict.value}", *evidence)
        verdict = Verdict.SUPPRESSED
    last, curve = facts.series.last, facts.series.bytes
    frames = _heaviest(facts.site, facts.around.ledger)
    return {
        "stack": frames,
        "evidence": evidence,
        "advice": advice_for(
            verdict,
            frames,
            infrastructure=facts.site.infrastructure,
            freed=last.freed_blocks / max(1, last.born_blocks),
            maps=facts.around.mappings.issuperset(facts.site.stack_ids),
            larger=verdict is Verdict.SUSPECT and has_larger_blocks(facts),
            passing=is_renewed(facts) or falls_behind(facts, policy),
            threads=has_a_thread_each(facts, policy),
            cleaned=2 * last.cleaned_blocks > last.freed_blocks,
            unheld=facts.around.owners is not None and not has_owners(facts),
            owned=not last.freed_blocks and _has_owners(facts, verdict),
        ),
        "suppression": suppression_for(frames),
        "interval_bytes": facts.range_bytes,
        "history_bytes": tuple([curve[place] for place in history_places(len(curve))]),
    }


def _has_owners(facts: Facts, verdict: Verdict) -> bool:
    """Tell if Go objects seem to own its blocks; of a leak more is asked for."""
    leaks = verdict is Verdict.NATIVE_LEAK
    return has_an_owner_each(facts) if leaks else has_owners(facts)


def _muted(site: Site, policy: Policy) -> Suppression | None:
    return next((one for one in policy.suppressions if any(map(one.matches, site.variants))), None)


def _heaviest(site: Site, ledger: Ledger) -> tuple[Frame, ...]:
    """Give the stack that gained most bytes in the later half of the window, or holds most.

    Two lines of one function are one site, and one of them may be sound.
    """
    if len(site.stack_ids) == 1:
        return site.frames

    def gained(stack: StackId) -> tuple[int, int, int]:
        sizes = ledger.series((stack,)).bytes
        return max(0, sizes[-1] - sizes[len(sizes) // 2]), sizes[-1], -stack

    stack = max(site.stack_ids, key=gained)
    return site.stacks[stack]
