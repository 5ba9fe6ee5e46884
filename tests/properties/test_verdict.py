"""Laws of the verdicts; the reasoning is in docs/verdicts.md."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from cgoleak.model.report import Report, Verdict
from cgoleak.verdict import Policy, analyse, parse_suppressions
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


@given(sites)
def test_every_finding_says_why_and_what_to_do(rows) -> None:
    for one in judged(rows).findings:
        assert one.evidence
        assert all(line == line.strip() and not line.endswith(".") for line in one.evidence)
        assert one.advice.endswith(".")
        assert one.suppression.startswith("leak:")
