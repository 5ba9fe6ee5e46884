"""A report of what was recorded so far: the same as the final one of the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgoleak import pipeline
from cgoleak.capture.heard import HeardWriter
from cgoleak.capture.reader import open_capture
from cgoleak.capture.writer import CaptureWriter
from cgoleak.errors import DamagedCapture, SymbolError
from cgoleak.interim import Interim
from cgoleak.model.capture import Span, WatchedProcess
from cgoleak.model.ids import StackId
from support.builders import (
    SECOND,
    a_capture,
    a_cost,
    a_module,
    a_snapshot,
    a_stack,
    a_target,
    a_window,
    counts,
    go_memory,
    process_memory,
)

STARTED = a_window().started_unix_ns


def leaking(at_s, *, stacks=(1, 2)):
    born = int(at_s * 10)
    return a_snapshot(
        at_s,
        {stack: counts(born, born // 3, old=born // 2, oldest_s=at_s) for stack in stacks},
        process=process_memory(rss=(64 << 20) + born * 640),
        go=go_memory(gc_cycles=int(at_s)),
    )


def record(sink, snapshots):
    sink.write_target(a_target(), mode="exact", started_unix_ns=STARTED)
    sink.add_module(a_module())
    for stack in (1, 2):
        sink.add_stack(a_stack(stack, (0x401000 + stack, 0x402000)))
    sink.put_mappings({StackId(1)})
    for snapshot in snapshots:
        sink.add_snapshot(snapshot)


def test_the_report_is_that_of_the_same_capture():
    """The cost and why it ended are not known before the end; nothing else differs."""
    interim = Interim(pipeline.analyse)
    with HeardWriter(None, interim) as sink:
        record(sink, map(leaking, range(12)))
        sink.finish(a_window(seconds=11.0), a_cost())
        final = pipeline.analyse(sink.capture())

    report = interim.report()

    assert report.findings
    assert report == replace(final, cost=report.cost, window=report.window)
    assert report.window.seconds == final.window.seconds


def test_whoever_listens_changes_nothing_in_the_file(tmp_path):
    with CaptureWriter(tmp_path / "alone") as sink:
        record(sink, map(leaking, range(5)))
    with HeardWriter(tmp_path / "heard", Interim(pipeline.analyse)) as sink:
        record(sink, map(leaking, range(5)))

    assert open_capture(tmp_path / "heard") == open_capture(tmp_path / "alone")


def test_before_the_first_snapshot_there_is_no_report():
    interim = Interim(pipeline.analyse)
    assert interim.report() is None

    with HeardWriter(None, interim) as sink:
        record(sink, [])

    assert interim.report() is None
    assert interim.heard == 0


def test_each_snapshot_is_heard_of():
    interim = Interim(pipeline.analyse)
    with HeardWriter(None, interim) as sink:
        record(sink, map(leaking, range(3)))

    assert interim.heard == 3


def test_a_judge_that_gives_up_leaves_no_report():
    def judge(capture):
        raise DamagedCapture("no")

    interim = Interim(judge)
    with HeardWriter(None, interim) as sink:
        record(sink, [leaking(1)])

    assert interim.report() is None


# --- names ------------------------------------------------------------------------------------


def frames_in(report):
    return {frame.function for one in report.findings for frame in one.stack}


def test_without_names_addresses_are_shown_as_they_are():
    interim = Interim(pipeline.analyse)
    with HeardWriter(None, interim) as sink:
        record(sink, map(leaking, range(1, 4)))

    interim.name()

    assert frames_in(interim.report()) == {
        "thumbnailer+0x401001",
        "thumbnailer+0x401002",
        "thumbnailer+0x402000",
    }


def test_a_module_is_opened_once_and_one_that_comes_later_is_named_too():
    """What cannot be opened costs names, never the report."""
    opened = []

    def open_module(module):
        opened.append(module.path)
        raise SymbolError("cannot open it")

    interim = Interim(pipeline.analyse)
    interim.open_with(open_module)
    with HeardWriter(None, interim) as sink:
        record(sink, map(leaking, range(1, 4)))
        interim.name()
        interim.name()
        sink.add_module(a_module(path="/srv/libz.so.1", start=0x900000))
        sink.add_stack(a_stack(3, (0x900010,)))
        sink.add_snapshot(leaking(5, stacks=(1, 2, 3)))
        interim.name()

    assert opened == ["/srv/thumbnailer", "/srv/libz.so.1"]
    assert "libz.so.1+0x900010" in frames_in(interim.report())


def test_naming_stops_when_it_is_over():
    opened = []
    interim = Interim(pipeline.analyse)
    interim.open_with(opened.append)
    with HeardWriter(None, interim) as sink:
        record(sink, [leaking(1)])
    interim.finish()

    interim.name()

    assert opened == []


# --- how much is kept -------------------------------------------------------------------------


def test_a_long_measurement_keeps_its_ends_and_its_length():
    captures = []
    interim = Interim(lambda capture: captures.append(capture) or pipeline.analyse(capture))
    for at_s in range(2000):
        interim.hear_snapshot(leaking(at_s))
    interim.hear_target(a_target(), "exact", STARTED)

    report = interim.report()

    (capture,) = captures
    times = [one.at_ns // SECOND for one in capture.snapshots]
    assert (times[0], times[-1], report.window.seconds) == (0, 1999, 1999.0)
    assert len(times) <= 240
    assert times[-30:] == list(range(1970, 2000))


def test_many_stacks_leave_room_for_fewer_snapshots():
    captures = []
    interim = Interim(lambda capture: captures.append(capture) or pipeline.analyse(a_capture()))
    one = counts(3, 1)
    for at_s in range(100):
        interim.hear_snapshot(a_snapshot(at_s, dict.fromkeys(range(5000), one)))
    interim.hear_target(a_target(), "exact", STARTED)

    interim.report()

    assert sum(len(one.stacks) for one in captures[0].snapshots) <= 200_000
    assert len(captures[0].snapshots) >= 10


# --- a watch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [False, True])
def test_sites_of_a_watch_come_from_the_part_with_hooks(over):
    """While they are in, that part ends with the newest snapshot."""
    captures = []
    interim = Interim(lambda capture: captures.append(capture) or pipeline.analyse(capture))
    with HeardWriter(None, interim) as sink:
        sink.write_target(a_target(), mode="watch", started_unix_ns=STARTED)
        sink.put_process(1, WatchedProcess(4242, 1, "/srv/thumbnailer", 0))
        sink.add_snapshot(leaking(1, stacks=()))
        sink.add_stack(a_stack(1))
        sink.add_stack(a_stack(2))
        for at_s in (2, 3, 4):
            sink.add_snapshot(leaking(at_s))
        if over:
            sink.put_hooked(Span(2 * SECOND, 5 * SECOND))

    report = interim.report()

    assert captures[0].hooked == Span(2 * SECOND, (5 if over else 4) * SECOND)
    assert len(report.findings) == 1
    assert report.window.mode == "watch"
