"""Handles: judged as blocks are, each kind for itself, and in no total of bytes."""

from __future__ import annotations

from dataclasses import replace

from cgoleak.capture.writer import CaptureWriter
from cgoleak.model.capture import Sampling
from cgoleak.model.handles import HandleFamily
from cgoleak.model.report import Verdict
from cgoleak.verdict import analyse
from cgoleak.verdict.gate import decide
from cgoleak.verdict.limits import Limits
from cgoleak.verdict.policy import Policy
from cgoleak.verdict.suppress import parse_suppressions
from support.builders import a_capture, a_snapshot, counts, frames, go_memory

PREPARE = frames("bridge main._Cfunc_prepare", "Go main.query db.go:12", "Go main.main main.go:3")
ALLOCATE = frames("C sqlite3MemMalloc sqlite3.c:9 @libsqlite3.so", *[
    "bridge main._Cfunc_prepare", "Go main.query db.go:12", "Go main.main main.go:3"
])  # fmt: skip
STATEMENTS = HandleFamily(
    "sqlite3_stmt", ("sqlite3_prepare_v2",), ("sqlite3_finalize",), created=300, unmatched=2
)
BLOBS = HandleFamily("sqlite3_blob", ("sqlite3_blob_open",), ("sqlite3_blob_close",), destroyed=5)


def measured(made, *, families=(STATEMENTS,), of=None):
    """Thirty seconds: stack 1 allocates steadily, the others make handles as ``made`` says."""
    of = of or {2: 1}
    snapshots = [
        a_snapshot(
            second,
            {1: counts(10 * second, block_bytes=100, old=10 * (second - 1), oldest_s=second)}
            | {stack: made(second) for stack in of},
            go=go_memory(gc_cycles=second),
        )
        for second in range(1, 31)
    ]
    capture = a_capture(snapshots, {1: ALLOCATE} | dict.fromkeys(of, PREPARE))
    stacks = {
        at: raw._replace(family=of[at]) if at in of else raw for at, raw in capture.stacks.items()
    }
    return replace(capture, stacks=stacks, families=families)


def growing(second):
    return counts(10 * second, block_bytes=0, old=10 * (second - 1), oldest_s=second)


def steady(second):
    return counts(100 + second, 96 + second, block_bytes=0, old=4, oldest_s=second, lifetime_s=1)


def test_handles_that_pile_up_are_a_finding_that_names_the_missing_function():
    report = analyse(measured(growing))

    (one,) = report.handles
    assert (one.family, one.verdict, one.outstanding) == (
        "sqlite3_stmt",
        Verdict.NATIVE_LEAK,
        300,
    )
    assert round(one.growth_per_second) == 10
    assert one.stack == PREPARE
    assert one.advice.startswith(
        "Call sqlite3_finalize on every sqlite3_stmt that is made in main.query (db.go:12)"
    )
    assert "sqlite3_finalize gave up 2 handles of this kind, of all sites" in one.evidence
    assert not any("block" in line or "B/s" in line for line in one.evidence)
    assert "300 sqlite3_stmt were made and not given up" in report.summary


def test_handles_are_in_no_total_of_bytes_or_blocks():
    with_handles = analyse(measured(growing))
    sized = analyse(measured(lambda at: counts(10 * at, block_bytes=1 << 20, old=10 * (at - 1))))
    without = analyse(measured(growing, families=(), of={3: 0}))

    for report in (with_handles, sized):
        assert [one.site for one in report.findings] == [
            one.site for one in without.findings if one.outstanding_bytes
        ]
        (native,) = (one for one in report.balance if one.part == "native outstanding")
        assert native.now_bytes == 300 * 100
    assert sized.handles[0].outstanding_bytes == 300 << 20


def test_handles_that_come_and_go_are_bounded_and_not_in_the_summary():
    report = analyse(measured(steady))

    (one,) = report.handles
    assert one.verdict is Verdict.BOUNDED
    assert "sqlite3_stmt" not in report.summary


def test_two_kinds_from_one_stack_are_two_findings():
    report = analyse(measured(growing, families=(STATEMENTS, BLOBS), of={2: 1, 3: 2}))

    assert {(one.family, one.outstanding) for one in report.handles} == {
        ("sqlite3_stmt", 300),
        ("sqlite3_blob", 300),
    }


def test_a_suppression_mutes_handles_as_it_does_sites():
    policy = Policy(suppressions=parse_suppressions("leak:main.query"))

    (one,) = analyse(measured(growing), policy).handles

    assert one.verdict is Verdict.SUPPRESSED


def test_where_blocks_are_sampled_what_cannot_be_known_of_handles_is_said():
    capture = replace(measured(growing), sampling=(Sampling(0, 4096),))

    assert "pairs.sampled" in {one.code for one in analyse(capture).notices}
    assert "pairs.sampled" not in {one.code for one in analyse(measured(growing)).notices}


def test_handles_without_room_are_said():
    capture = measured(growing, families=(replace(STATEMENTS, dropped=7),))

    (notice,) = (one for one in analyse(capture).notices if one.code == "pairs.dropped")
    assert notice.text.startswith("7 handles found no room")


def test_a_capture_gives_back_kinds_stacks_and_counts():
    capture = measured(growing, families=(STATEMENTS, BLOBS), of={2: 1, 3: 2})
    with CaptureWriter() as writer:
        writer.write_target(capture.target)
        for stack in capture.stacks.values():
            writer.add_stack(stack)
        writer.put_families((replace(STATEMENTS, created=1), BLOBS))
        writer.put_families(capture.families)
        for snapshot in capture.snapshots:
            writer.add_snapshot(snapshot)
        read = writer.capture()

    assert read.families == capture.families
    assert read.stacks == capture.stacks
    assert read.snapshots[-1].stacks == capture.snapshots[-1].stacks


def test_a_gate_fails_by_handles_and_says_what_they_are():
    report = analyse(measured(growing))

    gate = decide(report, Limits(), program="prog")

    assert not gate.passed
    texts = [one.text for one in gate.violations]
    assert "native-leak: 300 sqlite3_stmt not given up" in texts
    assert len({one.site for one in gate.violations}) == len(report.findings) + 1


def test_a_gate_takes_the_limit_of_blocks_for_handles():
    report = analyse(measured(growing))

    gate = decide(report, Limits(max_blocks=300), program="prog")

    assert gate.passed
    assert report.handles[0].site in gate.tolerated


def two_stacks(made, stacks):
    """Thirty seconds of one kind of handle, made at two stacks."""
    snapshots = [
        a_snapshot(second, {at: made[at](second) for at in stacks}, go=go_memory(gc_cycles=second))
        for second in range(1, 31)
    ]
    capture = a_capture(snapshots, stacks)
    raw = {at: one._replace(family=1) for at, one in capture.stacks.items()}
    return replace(capture, stacks=raw, families=(STATEMENTS,))


def test_a_line_that_loses_handles_is_told_from_one_that_gives_them_up():
    query = "Go main.query db.go:12"
    lines = {2: frames("C prepare db.c:3", query), 3: frames("C prepare db.c:9", query)}
    capture = two_stacks({2: growing, 3: steady}, lines)

    lost, kept = analyse(capture).handles

    assert (lost.verdict, lost.outstanding) == (Verdict.NATIVE_LEAK, 300)
    assert round(lost.growth_per_second) == 10
    assert (kept.verdict, kept.outstanding) == (Verdict.BOUNDED, 4)


def test_handles_of_one_c_function_for_two_callers_are_judged_together():
    def few(second):
        made = second // 4
        return counts(made, 0, block_bytes=0, old=max(0, made - 1), oldest_s=second)

    callers = {
        at: frames("C prepare db.c:3", f"Go main.{name} db.go:1")
        for at, name in ((2, "query"), (3, "insert"))
    }

    (lost,) = analyse(two_stacks({2: few, 3: few}, callers)).handles

    assert (lost.verdict, lost.outstanding) == (Verdict.NATIVE_LEAK, 14)
    assert 0.4 < lost.growth_per_second < 0.6
