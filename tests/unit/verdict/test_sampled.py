"""Verdicts on what was sampled: as sure as the blocks that were looked at, and no surer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cgoleak.model.capture import Sampling
from cgoleak.model.report import Cause, Verdict
from cgoleak.verdict import analyse
from support.builders import a_capture, a_snapshot, counts, frames

LEAK = frames("C row_dup row.c:41", "bridge main._Cfunc_row", "Go main.encode encode.go:88")
RATE = 512 << 10
ASKED = (Sampling(0, RATE),)


def sampled(samples, *, block_bytes=64, freed=0):
    """Counts of a site of which so many blocks that stay, and so many freed ones, were sampled."""
    weight = 1 / -math.expm1(-block_bytes / RATE)
    error = math.sqrt(samples * weight * (weight - 1))
    blocks = round(samples * weight)
    return replace(
        counts(blocks + round(freed * weight), round(freed * weight), block_bytes=block_bytes),
        samples=samples,
        blocks_error=round(error),
        bytes_error=round(error * block_bytes),
    )


def a_report(at, *, seconds=30, sampling=ASKED):
    """Judge thirty seconds; ``at`` gives the counts of each."""
    snapshots = [a_snapshot(second, {1: at(second)}) for second in range(1, seconds + 1)]
    return analyse(replace(a_capture(snapshots, {1: LEAK}), sampling=sampling))


def test_a_leak_that_many_samples_show_is_one():
    report = a_report(lambda second: sampled(3 * second))

    (finding,) = report.findings
    assert finding.verdict is Verdict.NATIVE_LEAK
    assert report.cause is Cause.NATIVE_LEAK
    assert report.summary.startswith("1 site in the code is losing C memory at ")
    assert finding.samples == 90
    low, high = finding.interval_bytes
    assert low < finding.outstanding_bytes < high
    assert high - low == pytest.approx(0.4 * finding.outstanding_bytes, rel=0.1)
    assert any(line.startswith("estimated from 90 sampled blocks: ") for line in finding.evidence)


def test_a_sample_among_many_followed_blocks_is_told_without_an_empty_range():
    report = a_report(
        lambda second: replace(
            counts(9 * second, 0, block_bytes=16 << 10), samples=1, blocks_error=1, bytes_error=16
        )
    )

    (finding,) = report.findings
    assert finding.verdict is Verdict.NATIVE_LEAK
    said = "1 sampled block among them, too few to change a digit shown here"
    assert said in finding.evidence


@pytest.mark.parametrize(("born", "found"), [(500, True), (60, False)])
def test_a_busy_place_of_which_no_sample_stayed_may_have_lost_more_than_was_followed(born, found):
    report = a_report(lambda second: counts(born * second, (born - 3) * second, old=3 * second))

    (finding,) = report.findings
    assert finding.verdict is Verdict.NATIVE_LEAK
    assert (finding.interval_bytes is not None) == found
    assert any(line.startswith("at least that: some of its") for line in finding.evidence) == found
    if found:
        low, high = finding.interval_bytes
        assert low == finding.outstanding_bytes
        assert high - low == pytest.approx(-math.log(0.025) * RATE, rel=0.01)


def test_where_each_block_was_followed_there_is_no_range():
    report = a_report(lambda second: counts(500 * second, 497 * second), sampling=())

    assert report.findings[0].interval_bytes is None


def test_a_few_samples_stand_for_many_blocks_but_are_few():
    report = a_report(lambda second: sampled(second // 5))

    (finding,) = report.findings
    assert finding.outstanding_blocks > 40_000
    assert finding.verdict is Verdict.SUSPECT
    assert "only 5 sampled blocks stayed" in " ".join(finding.evidence)


def test_one_sample_is_no_reason_to_suspect_anybody():
    report = a_report(lambda second: sampled(1 if second > 15 else 0))

    assert [one.verdict for one in report.findings] == [Verdict.BOUNDED]
    assert report.cause is not Cause.NATIVE_LEAK


def test_a_level_that_only_chance_moves_is_not_a_leak():
    # Forty samples that stay, and what chance makes of them: no trend.
    swings = (40, 44, 37, 42, 35, 41, 46, 38, 43, 40)
    report = a_report(lambda second: sampled(swings[second % 10], freed=100 * second))

    assert [one.verdict for one in report.findings] == [Verdict.BOUNDED]


def test_a_drift_within_twice_the_error_is_at_most_suspect():
    report = a_report(lambda second: sampled(400 + second))

    assert report.findings[0].verdict is not Verdict.NATIVE_LEAK


def test_large_blocks_are_seen_one_by_one():
    report = a_report(lambda second: sampled(second, block_bytes=16 * RATE))

    (finding,) = report.findings
    assert finding.outstanding_blocks == 30
    assert finding.verdict is Verdict.NATIVE_LEAK


def test_the_report_says_that_and_since_when_blocks_were_sampled():
    asked = a_report(sampled)
    paid = a_report(
        sampled,
        sampling=(Sampling(3_000_000_000, RATE, 0.21), Sampling(5_000_000_000, 8 * RATE, 0.07)),
    )

    assert (asked.window.sample_bytes, asked.window.sampled_since_seconds) == (RATE, 0.0)
    assert [notice.code for notice in asked.notices if "probe" in notice.code] == ["probe.sampled"]
    assert (paid.window.sample_bytes, paid.window.sampled_since_seconds) == (8 * RATE, 3.0)
    (notice,) = [one for one in paid.notices if one.code == "probe.overhead"]
    assert "hooks took 21 % of the target's CPU time" in notice.text
    assert "from 3 s on" in notice.text
    assert "--max-overhead" in notice.fix


def test_a_full_cache_that_sampling_moves_up_and_down_is_no_suspect():
    samples = (*range(1, 20), 18, 17, 16, 15, 16, 17, 18, 19, 20, 20, 20)

    report = a_report(lambda second: sampled(samples[second - 1], block_bytes=2048))

    assert report.findings[0].verdict is Verdict.BOUNDED
