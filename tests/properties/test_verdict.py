"""Laws of the verdicts; the reasoning is in docs/verdicts.md."""

from __future__ import annotations

from hypothesis import assume, example, given
from hypothesis import strategies as st

from cgoleak.ledger import Ledger
from cgoleak.model.report import Report, Verdict
from cgoleak.model.snapshot import ProbeCounters, StackCounts
from cgoleak.stacks import find_sites
from cgoleak.verdict import Policy, analyse, parse_suppressions
from cgoleak.verdict.facts import Surroundings, facts_of
from cgoleak.verdict.rules import rests, rule_on
from support.builders import a_capture, a_snapshot, counts, frames, go_memory
from support.strategies import histories

sites = st.lists(histories(), min_size=1, max_size=4)
History = list[tuple[int, int, int]]
NAMES = ("alpha", "beta", "gamma", "delta")


def judged(rows: list[History], policy: Policy | None = None, *, gc: bool = False) -> Report:
    snapshots = []
    for at in range(max(map(len, rows))):
        now = [history[min(at, len(history) - 1)] for history in rows]
        stacks = {
            site: counts(born, freed, cleaned=cleaned)
            for site, (born, freed, cleaned) in enumerate(now, start=1)
        }
        go = go_memory(gc_cycles=at) if gc else None
        snapshots.append(a_snapshot(at + 1, stacks, go=go))
    names = {site: frames(f"C {NAMES[site - 1]} a.c:1") for site in range(1, len(rows) + 1)}
    capture = a_capture(snapshots, names)
    return analyse(capture, policy or Policy(min_seconds=1, min_blocks=3))


def leaks(report: Report) -> set[str]:
    return {one.site for one in report.findings if one.verdict is Verdict.NATIVE_LEAK}


growing = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), min_size=5, max_size=24).map(
    lambda steps: [
        (
            100 * (sum(born for born, _ in steps[: at + 1])),
            100 * (sum(min(born, freed) for born, freed in steps[: at + 1])),
            0,
        )
        for at in range(len(steps))
    ]
)
"""Sites that gain, mostly; in hundreds, so that whole shares of them can be freed."""


@given(sites, st.sets(st.sampled_from(NAMES)), st.booleans())
def test_muting_adds_no_finding_and_changes_no_number(rows, muted, gc) -> None:
    text = "".join(f"leak:{name}\n" for name in sorted(muted))
    policy = Policy(min_seconds=1, min_blocks=3, suppressions=parse_suppressions(text))

    before, after = judged(rows, gc=gc), judged(rows, policy, gc=gc)

    assert {one.site for one in after.findings} == {one.site for one in before.findings}
    assert leaks(after) <= leaks(before)
    numbers = {one.site: one.outstanding_bytes for one in before.findings}
    for one in after.findings:
        assert one.outstanding_bytes == numbers[one.site]
        assert (one.verdict is Verdict.SUPPRESSED) == (one.stack[0].function in muted)


# The pace of this one is exactly that of the limit; it must be so at any scale.
@example(
    history=[(100, 0, 0), (1500, 0, 0), (7500, 0, 0), (7600, 0, 0), (9500, 0, 0), (9600, 0, 0)],
    percent=1,
    gc=False,
)
@given(growing, st.integers(1, 99), st.booleans())
def test_freeing_a_further_share_never_makes_a_leak(history, percent, gc) -> None:
    thinned = [
        (born, freed + (born - freed) * percent // 100, cleaned) for born, freed, cleaned in history
    ]

    assert leaks(judged([thinned], gc=gc)) <= leaks(judged([history], gc=gc))


@given(growing, st.integers(0, 10_000), st.booleans())
def test_freeing_more_at_the_end_never_makes_a_leak(history, more, gc) -> None:
    born, freed, cleaned = history[-1]
    ended = [*history[:-1], (born, min(born, freed + more), cleaned)]

    assert leaks(judged([ended], gc=gc)) <= leaks(judged([history], gc=gc))


@given(growing, st.integers(1, 10_000))
def test_freeing_by_cleanups_never_makes_a_leak(history, more) -> None:
    born, freed, _ = history[-1]
    extra = min(born - freed, more)
    ended = [*history[:-1], (born, freed + extra, extra)]

    assert leaks(judged([ended], gc=True)) <= leaks(judged([history], gc=True))


@given(growing)
def test_what_is_all_freed_is_not_reported(history) -> None:
    born = history[-1][0]

    assert judged([[*history, (born, born, 0)]]).findings == ()


@given(sites, st.booleans())
def test_findings_and_balance_add_up(rows, gc) -> None:
    report = judged(rows, gc=gc)
    native = next(line for line in report.balance if line.part == "native outstanding")

    assert sum(one.outstanding_bytes for one in report.findings) == native.now_bytes
    assert native.now_bytes == 64 * sum(born - freed for born, freed, _ in (h[-1] for h in rows))


def judged_as_lines(rows: list[History], policy: Policy | None = None) -> Report:
    """Judge sites of one function that differ in their lines."""
    snapshots = []
    for at in range(max(map(len, rows))):
        now = [history[min(at, len(history) - 1)] for history in rows]
        stacks = {line: counts(born, freed) for line, (born, freed, _) in enumerate(now, start=1)}
        snapshots.append(a_snapshot(at + 1, stacks))
    names = {line: frames(f"C alpha a.c:{line}") for line in range(1, len(rows) + 1)}
    capture = a_capture(snapshots, names)
    return analyse(capture, policy or Policy(min_seconds=1, min_blocks=3))


lines = st.lists(st.one_of(growing, histories()), min_size=2, max_size=4)


@given(lines)
def test_lines_of_a_function_that_are_parted_add_up(rows) -> None:
    report = judged_as_lines(rows)

    sizes = [one.outstanding_bytes for one in report.findings]
    assert sum(sizes) == 64 * sum(born - freed for born, freed, _ in (h[-1] for h in rows))
    assert len({one.site for one in report.findings}) == len(sizes) <= 2


@given(lines)
def test_muting_a_function_changes_nothing_about_how_its_lines_are_parted(rows) -> None:
    muted = Policy(min_seconds=1, min_blocks=3, suppressions=parse_suppressions("leak:alpha\n"))

    before, after = judged_as_lines(rows), judged_as_lines(rows, muted)

    assert {one.site: one.outstanding_bytes for one in after.findings} == {
        one.site: one.outstanding_bytes for one in before.findings
    }
    assert all(one.verdict is Verdict.SUPPRESSED for one in after.findings)


@given(st.lists(growing, min_size=2, max_size=3), st.integers(1, 99))
def test_freeing_a_further_share_at_every_line_never_makes_a_leak(rows, percent) -> None:
    thinned = [
        [(born, freed + (born - freed) * percent // 100, cleaned) for born, freed, cleaned in row]
        for row in rows
    ]

    assert leaks(judged_as_lines(thinned)) <= leaks(judged_as_lines(rows))


@given(sites)
def test_every_finding_says_why_and_what_to_do(rows) -> None:
    for one in judged(rows).findings:
        assert one.evidence
        assert all(line == line.strip() and not line.endswith(".") for line in one.evidence)
        assert one.advice.endswith(".")
        assert one.suppression.startswith("leak:")


@given(
    st.lists(st.integers(0, 60), min_size=30, max_size=30),
    st.integers(0, 3),
    st.integers(1, 29),
)
def test_work_whose_blocks_are_all_freed_at_the_same_age_is_no_leak(
    requests, rising, lives
) -> None:
    """Whatever the load does, if the window has seen one of them freed."""
    made = [few + rising * at for at, few in enumerate(requests)]
    assume(sum(made[: len(made) - lives]))
    taken = []
    for at in range(1, len(made) + 1):
        gone, alive = made[: max(0, at - lives)], made[max(0, at - lives) : at]
        ages = [
            seconds
            for seconds, blocks in zip(range(len(alive), 0, -1), alive, strict=True)
            if blocks
        ]
        row = StackCounts(
            sum(made[:at]),
            64 * sum(made[:at]),
            sum(gone),
            64 * sum(gone),
            lifetime_ns_sum=sum(gone) * lives * 1_000_000_000,
            oldest_ns=max(ages, default=0) * 1_000_000_000,
            old_blocks=sum(alive[:-1]),
        )
        taken.append(a_snapshot(at, {1: row}))

    assert not leaks(analyse(a_capture(taken, {1: frames("C alpha a.c:1")}), Policy()))


Moves = list[tuple[int, int, int]]
moves = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 60), st.sampled_from((0, 0, 1, 30))), max_size=6
)
"""When blocks of a stack were allocated, how many, and how many were freed."""


@example(
    stacks=[[(1, 9, 0), (8, 9, 0), (12, 9, 0)]],
    snapshots=20,
    works=20,
    size=1,
    infrastructure=False,
)
@given(
    st.lists(moves, min_size=1, max_size=4),
    st.integers(1, 20),
    st.integers(0, 20),
    st.integers(1, 1 << 20),
    st.booleans(),
)
def test_a_site_that_is_told_to_rest_is_bounded_by_the_rules_as_well(
    stacks, snapshots, works, size, infrastructure
) -> None:
    policy = Policy(min_seconds=1, min_blocks=1, min_suspect_blocks=1, big_bytes=1)
    taken = [
        a_snapshot(
            at + 1,
            {stack: total(made, at, size) for stack, made in enumerate(stacks, start=1)},
            counters=ProbeCounters(events=min(at, works) * 1000),
        )
        for at in range(snapshots)
    ]
    kinds = ("pthread_create", "pthread_create") if infrastructure else ("alpha", "beta")
    names = {at: frames(f"C {kinds[at % 2]} a.c:{at}") for at in range(1, len(stacks) + 1)}
    around = Surroundings.of(Ledger(taken))

    for site in find_sites(a_capture(taken, names)):
        if rests(site, around.ledger.total(site.stack_ids), around):
            assert rule_on(facts_of(site, around), policy).verdict is Verdict.BOUNDED


def total(made: Moves, at: int, size: int) -> StackCounts:
    past = [(born, freed) for moment, born, freed in made if moment <= at]
    born = sum(one for one, _ in past)
    freed = min(born, sum(one for _, one in past))
    return StackCounts(born, born * size, freed, freed * size, old_blocks=born - freed)
