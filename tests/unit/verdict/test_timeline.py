"""The columns of the chart."""

from __future__ import annotations

from dataclasses import replace

from cgoleak.ledger import Ledger
from cgoleak.verdict.report import analyse
from cgoleak.verdict.timeline import history_places, timeline_of
from support.builders import (
    SECOND,
    a_capture,
    a_snapshot,
    counts,
    frames,
    go_memory,
    process_memory,
)


def folded(snapshots):
    return Ledger(snapshots)


def leaking(count, step_s=1):
    return [
        a_snapshot(
            at_s=place * step_s,
            stacks={1: counts(place * 10, 0, block_bytes=100)},
            process=process_memory(rss=(10 + place) << 20),
            go=go_memory(gc_cycles=place, heap_in_use=5 << 20, heap_free=1 << 20),
        )
        for place in range(count)
    ]


def test_columns_have_what_the_snapshots_have():
    timeline = timeline_of(folded(leaking(3)), None, 0)

    assert timeline.seconds == (0.0, 1.0, 2.0)
    assert timeline.rss_bytes == (10 << 20, 11 << 20, 12 << 20)
    assert timeline.outstanding_bytes == (0, 1000, 2000)
    assert timeline.go_held_bytes == (1 << 20,) * 3
    assert timeline.slack_bytes == (None,) * 3
    assert timeline.gc_cycles == (0, 1, 2)


def test_without_snapshots_there_is_no_timeline():
    assert timeline_of(Ledger(), None, 0) is None


def test_a_long_watch_is_thinned_and_keeps_its_peak_and_its_ends():
    snapshots = leaking(5000)
    peak = replace(snapshots[2345], process=process_memory(rss=1 << 40))
    snapshots[2345] = peak

    timeline = timeline_of(folded(snapshots), None, 0)

    assert len(timeline.seconds) <= 600
    assert timeline.seconds[0] == 0
    assert timeline.seconds[-1] == 4999
    assert 1 << 40 in timeline.rss_bytes
    assert list(timeline.seconds) == sorted(timeline.seconds)


def test_what_was_measured_with_hooks_stands_where_it_happened_in_the_watch():
    outside = [replace(one, stacks={}) for one in leaking(6)]
    inside = [replace(one, at_ns=one.at_ns - 2 * SECOND) for one in leaking(6)[2:5]]

    timeline = timeline_of(folded(outside), folded(inside), 2 * SECOND)

    assert timeline.outstanding_bytes == (None, None, 2000, 3000, 4000, None)


def test_the_history_of_a_site_ends_at_what_is_outstanding():
    report = analyse(a_capture(leaking(40), {1: frames("C f a.c:1", "Go main.g g.go:2")}))

    [finding] = report.findings
    assert len(finding.history_bytes) == len(report.history_seconds) == 24
    assert finding.history_bytes[0] == 0
    assert finding.history_bytes[-1] == finding.outstanding_bytes
    assert report.history_seconds[-1] == report.timeline.seconds[-1]


def test_few_instants_are_all_kept():
    assert history_places(5) == (0, 1, 2, 3, 4)
    assert len(history_places(1000)) == 24
    assert history_places(1000)[-1] == 999
