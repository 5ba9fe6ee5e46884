"""A command that was held at its exit: who still knew its blocks decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgoleak.capture.writer import CaptureWriter
from cgoleak.model.holding import Holding
from cgoleak.model.ids import StackId
from cgoleak.model.report import Verdict
from cgoleak.verdict.report import analyse
from support.builders import a_capture, a_snapshot, a_target, counts, frames

USERS = frames("C row_dup png.c:41", "runtime runtime.cgocall", "Go main.encode encode.go:88")
THREADS = frames("C x_cgo_thread_start gcc_util.c:10", "runtime runtime.newosproc")
ONE = StackId(1)


def ended(holding: Holding | None, *, blocks: int = 5, seconds: float = 0.2, names=USERS):
    """A command of some milliseconds, or of a minute, that ended with blocks outstanding."""
    steps = 20
    snapshots = tuple(
        a_snapshot(seconds * step / steps, {1: counts(blocks * step // steps)})
        for step in range(1, steps + 1)
    )
    capture = a_capture(snapshots, {1: names})
    return replace(capture, holdings=None if holding is None else {ONE: holding})


def verdict_of(capture) -> Verdict:
    (finding,) = analyse(capture).findings
    return finding.verdict


def test_a_single_block_that_nobody_knows_is_a_leak_however_short_the_run():
    capture = ended(Holding(lost_blocks=1, lost_bytes=64), blocks=1)

    assert verdict_of(capture) is Verdict.NATIVE_LEAK
    assert "nothing in it pointed to 1 block" in "\n".join(analyse(capture).findings[0].evidence)


def test_blocks_that_are_still_known_are_no_leak():
    assert verdict_of(ended(Holding(known_blocks=5))) is Verdict.BOUNDED


def test_blocks_of_go_objects_wait_for_the_gc():
    assert verdict_of(ended(Holding(owned_blocks=5))) is Verdict.GO_HELD


def test_one_lost_block_among_many_known_ones_is_a_leak():
    assert verdict_of(ended(Holding(lost_blocks=1, known_blocks=99))) is Verdict.NATIVE_LEAK


def test_a_list_that_grows_for_a_minute_is_a_leak_although_it_is_known():
    capture = ended(Holding(known_blocks=600), blocks=600, seconds=60)

    assert verdict_of(capture) is Verdict.NATIVE_LEAK


def test_threads_that_were_being_started_are_none():
    assert verdict_of(ended(Holding(lost_blocks=2), names=THREADS)) is not Verdict.NATIVE_LEAK


@pytest.mark.parametrize("holding", [None, Holding(1, 64, 2, 3)])
def test_the_capture_keeps_it(tmp_path, holding):
    path = tmp_path / "c.cgoleak"
    with CaptureWriter(path) as sink:
        sink.write_target(a_target())
        sink.put_holdings(None if holding is None else {ONE: holding})
        capture = sink.capture()

    assert capture.holdings == (None if holding is None else {ONE: holding})
