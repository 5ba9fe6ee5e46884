"""Sampling on a live worker: estimates beside what the worker itself has counted; the limit."""

from __future__ import annotations

import json

import pytest

from cgoleak.capture.reader import open_capture
from cgoleak.ledger import Ledger
from cgoleak.ledger.estimate import interval
from cgoleak.pipeline import analyse
from support.findings import is_called
from support.go_programs import missing_tools
from support.live import Worker, attach

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ROUNDS = 5


def outstanding(capture, part):
    """Sum the last counts of the stacks that go through the hammer's functions."""
    stacks = []
    for stack in capture.snapshots[-1].stacks:
        names = (
            frame.function
            for address in capture.stacks[stack].addresses
            for frame in capture.frames.get(address, ())
        )
        if any(is_called(name, part) or part in name for name in names):
            stacks.append(stack)
    return Ledger(capture.snapshots).series(stacks).last if stacks else None


def test_what_is_outstanding_lies_within_its_interval(sample, tmp_path):
    """Blocks that the hammer keeps, on two threads, beside millions that come and go."""
    with (
        Worker(sample) as worker,
        attach(tmp_path, worker.pid, follow=("--sample", "64KiB")) as watching,
    ):
        watching.until_hooked(worker.pid)
        for _ in range(ROUNDS):
            worker.post("/hammer?threads=2&pairs=200000&depth=3&keep=10")
        counters = worker.settled_counters()
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr
    capture = open_capture(watching.capture_file)
    hammers = [one for name, one in counters.items() if name.startswith("hammer_")]
    blocks, size = (sum(one[what] for one in hammers) for what in ("blocks", "bytes"))
    assert blocks > 10_000

    counts = outstanding(capture, "hammer_")

    assert counts.samples > 20
    # Four standard errors: this must not fail by chance.
    assert abs(counts.outstanding_bytes - size) < 4 * counts.bytes_error
    assert abs(counts.outstanding_blocks - blocks) < 4 * counts.blocks_error
    low, high = interval(counts.outstanding_bytes, counts.bytes_error)
    assert low < counts.outstanding_bytes < high
    allocs = sum(one["allocs"] for one in hammers)
    assert counts.born_blocks == pytest.approx(allocs, rel=0.2)
    assert capture.snapshots[-1].counters.events >= 2 * allocs - blocks


def test_the_report_says_that_it_is_an_estimate(sample, tmp_path):
    with (
        Worker(sample) as worker,
        attach(tmp_path, worker.pid, follow=("--sample", "4KiB")) as watching,
    ):
        watching.until_hooked(worker.pid)
        worker.post("/hammer?threads=2&pairs=100000&depth=3&keep=10")
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr

    report = analyse(open_capture(watching.capture_file))

    assert (report.window.mode, report.window.sample_bytes) == ("sampled", 4096)
    assert "probe.sampled" in [notice.code for notice in report.notices]
    hammers = [one for one in report.findings if "hammer" in str(one.stack)]
    assert hammers
    for finding in hammers:
        assert finding.samples > 0
        low, high = finding.interval_bytes
        assert 0 <= low <= finding.outstanding_bytes <= high
        assert "with 95% confidence" in " ".join(finding.evidence)


def test_above_the_limit_it_samples_by_itself_and_knows_blocks_from_before(sample, tmp_path):
    """Blocks of the exact part that are freed in the sampled one are not outstanding any more."""
    with (
        Worker(sample) as worker,
        attach(tmp_path, worker.pid, follow=("--max-overhead", "0.5")) as watching,
    ):
        watching.until_hooked(worker.pid)
        worker.post("/hammer?threads=1&pairs=2000&depth=0&keep=100")
        before = worker.settled_counters()
        for _ in range(12):
            worker.post("/hammer?threads=2&pairs=2000000&depth=3&keep=0")
        worker.post("/hammer/release")
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr
    capture = open_capture(watching.capture_file)
    kept = sum(one["blocks"] for name, one in before.items() if name.startswith("hammer_"))
    assert kept > 0

    report = analyse(capture)

    assert capture.sampling
    assert report.window.mode == "sampled"
    (notice,) = [one for one in report.notices if one.code == "probe.overhead"]
    assert "more than allowed" in notice.text
    assert report.cost.cpu_share > 0.005
    assert report.cost.ns_per_event > 0
    counts = outstanding(capture, "hammer_")
    assert counts.outstanding_blocks - counts.samples <= 4 * counts.blocks_error
    assert json.dumps(report.cost.cpu_share)
