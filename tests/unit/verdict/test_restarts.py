"""What a watch says of restarts, and what Go will hand back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgoleak.model.capture import Span, WatchedProcess
from cgoleak.model.report import Cause, Verdict
from cgoleak.verdict.handback import gc_interval
from cgoleak.verdict.report import analyse
from support.builders import (
    SECOND,
    a_capture,
    a_snapshot,
    a_target,
    a_window,
    counts,
    frames,
    go_memory,
    process_memory,
)

MIB = 1 << 20
KILLED = "killed by SIGKILL"
LEAKING = frames("C row_dup row.c:41", "bridge _cgo_1_Cfunc_row_dup", "Go main.encode e.go:88")


def a_watch(*lives, reason=KILLED, stacks=None, hooked=None, begin=None):
    """Processes one after the other; each life is its RSS in MiB, a reading each second."""
    snapshots, processes, at = [], [], 0
    for number, sizes in enumerate(lives):
        since = at
        for size in sizes:
            snapshots.append(
                a_snapshot(
                    at,
                    (begin or {}).get(at),
                    process=process_memory(rss=int(size * MIB)),
                    go=go_memory(gc_cycles=at - since),
                )
            )
            at += 1
        is_last = number == len(lives) - 1
        processes.append(
            WatchedProcess(
                pid=100 + number,
                start_ticks=since,
                exe="/srv/worker",
                since_ns=since * SECOND,
                ended_ns=None if is_last else at * SECOND,
                reason=None if is_last else reason,
            )
        )
    capture = a_capture(snapshots, stacks, window=a_window(seconds=at, mode="watch"))
    return replace(capture, processes=tuple(processes), hooked=hooked)


GROWING = range(20, 120, 5)


def test_growth_that_ends_with_the_process_is_a_restart_and_no_recovery():
    report = analyse(a_watch(GROWING, range(15, 60, 5)))

    assert report.cause is Cause.RESTART
    assert (
        "ended once in 29 s, growing; the last time at 115 MiB: killed by SIGKILL."
        in report.summary
    )
    assert "not because memory was freed" in report.summary
    (restart,) = report.restarts
    assert (restart.at, restart.old_pid, restart.new_pid) == (20.0, 100, 101)
    assert (restart.reason, restart.rss_before_bytes, restart.rss_after_bytes) == (
        KILLED,
        115 * MIB,
        15 * MIB,
    )


def test_it_is_a_restart_even_if_the_next_one_has_grown_as_large_meanwhile():
    report = analyse(a_watch(GROWING, GROWING))

    assert report.cause is Cause.RESTART


def test_a_deployment_that_comes_back_to_its_level_is_stable():
    level = [60] * 20
    report = analyse(a_watch(level, [12, 40, *level], reason="exited with status 0"))

    assert report.cause is Cause.STABLE
    assert len(report.restarts) == 1


def test_what_the_oom_killer_took_is_a_restart_whatever_the_curve_says():
    report = analyse(a_watch([60] * 20, [60] * 20, reason="killed by the OOM killer"))

    assert report.cause is Cause.RESTART


def test_several_restarts_are_all_listed_and_the_largest_is_told_of():
    report = analyse(a_watch(range(20, 60, 5), GROWING, range(15, 80, 5), [15, 20]))

    assert [one.new_pid for one in report.restarts] == [101, 102, 103]
    assert "ended 3 times in 43 s" in report.summary
    assert "the last time at 75.0 MiB, at most at 115 MiB: killed by SIGKILL." in report.summary


def test_without_a_restart_a_watch_is_judged_by_its_sheet():
    report = analyse(a_watch([60] * 30))

    assert (report.cause, report.restarts) == (Cause.STABLE, ())
    assert report.window.mode == "watch"


def test_gc_cycles_are_counted_process_by_process():
    assert analyse(a_watch(range(20, 30), range(20, 35))).window.gc_cycles == 9 + 14


def test_a_process_that_ended_before_it_was_seen_counts_as_a_restart():
    report = analyse(a_watch(GROWING, [], [20]))

    assert [one.rss_after_bytes for one in report.restarts] == [0, 20 * MIB]


def a_leak_in_hooks(*, since, seconds):
    """Counts of a site that leaks 16 KiB twenty times a second from ``since`` on."""
    return {
        since + n: {1: counts(born=20 * n, block_bytes=16384, oldest_s=n, old=max(0, 20 * n - 20))}
        for n in range(seconds)
    }


def test_the_part_with_hooks_is_judged_for_itself():
    """An hour without counts before it must not look like an hour without growth."""
    capture = a_watch(
        [20 + n / 100 for n in range(3700)],
        stacks={1: LEAKING},
        hooked=Span(3600 * SECOND, 3629 * SECOND),
        begin=a_leak_in_hooks(since=3600, seconds=30),
    )
    report = analyse(capture)

    (finding,) = report.findings
    assert finding.verdict is Verdict.NATIVE_LEAK
    assert finding.growth_bytes_per_second == pytest.approx(20 * 16384, rel=0.1)
    assert finding.oldest_seconds == pytest.approx(29)
    assert report.cause is Cause.NATIVE_LEAK


def test_a_restart_is_named_before_the_leak_that_led_to_it():
    capture = a_watch(
        GROWING,
        [20 + n for n in range(40)],
        stacks={1: LEAKING},
        hooked=Span(25 * SECOND, 54 * SECOND),
        begin=a_leak_in_hooks(since=25, seconds=30),
    )
    report = analyse(capture)

    assert report.cause is Cause.RESTART
    assert "1 site in the code lost C memory while hooks were in" in report.summary
    assert [one.verdict for one in report.findings] == [Verdict.NATIVE_LEAK]


def held(cycles_at, *, last_gc_s, heap_free=50 * MIB):
    """Snapshots of a minute; ``cycles_at`` gives the cycles at each second."""
    started = 1_700_000_000 * SECOND
    return [
        a_snapshot(
            at,
            process=process_memory(),
            go=replace(
                go_memory(gc_cycles=cycles_at(at), heap_free=heap_free),
                last_gc_unix_ns=started + last_gc_s * SECOND,
            ),
        )
        for at in range(61)
    ]


def test_the_report_says_what_go_hands_back():
    capture = a_capture(held(lambda _: 9, last_gc_s=0), target=a_target())
    back = analyse(capture).go_return

    assert back is not None
    assert back.held_bytes == 50 * MIB
    assert back.returning_bytes > 40 * MIB
    assert back.within_seconds is not None


def test_there_is_no_forecast_without_gos_numbers_or_for_an_unknown_version():
    blind = a_capture([a_snapshot(1, process=process_memory())])
    nameless = replace(a_target(), go_version=None)
    unknown = a_capture(held(lambda _: 9, last_gc_s=0), target=nameless)

    assert analyse(blind).go_return is None
    assert analyse(unknown).go_return is None


@pytest.mark.parametrize(
    ("cycles_at", "last_gc_s", "interval"),
    [
        (lambda at: at // 2, 60, 2.0),
        (lambda _: 7, 0, None),
        (lambda at: at // 50, 50, None),
        (lambda at: min(at, 20), 20, None),
    ],
    ids=["busy", "idle", "one collection is no rhythm", "the work is over"],
)
def test_the_rhythm_of_collections_is_that_of_the_last_minute(cycles_at, last_gc_s, interval):
    snapshots = held(cycles_at, last_gc_s=last_gc_s)
    now = (1_700_000_000 + 60) * SECOND

    assert gc_interval(snapshots, now) == interval


def test_the_setting_that_keeps_released_memory_resident_is_told():
    lazily = replace(a_target(), godebug="madvdontneed=0")
    back = analyse(a_capture(held(lambda _: 9, last_gc_s=0), target=lazily)).go_return

    assert back is not None
    assert back.within_seconds is None
    assert "madvdontneed=0" in back.why
