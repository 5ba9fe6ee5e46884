"""Laws of the thinning of a long watch."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.capture import CaptureWriter, open_capture
from cgoleak.capture.thinning import Taken, surplus
from cgoleak.model.capture import Span, WatchedProcess
from support.builders import SECOND, a_cost, a_target, a_window
from support.lived import a_watched_day

gaps = st.integers(1, 900).map(lambda tenths: tenths * SECOND // 10)


@st.composite
def watches(draw: st.DrawFn) -> list[Taken]:
    """Hours of snapshots, at any distance, of processes one after the other."""
    taken, at, process = [], 0, 1
    for number in range(1, draw(st.integers(1, 150)) + 1):
        at += draw(gaps)
        process += draw(st.integers(0, 30)) == 0
        taken.append(Taken(number, at, process, draw(st.integers(0, 50)), draw(st.booleans())))
    return taken


def thinned(taken: list[Taken], now: int) -> list[Taken]:
    dropped = surplus(taken, now)
    return [one for one in taken if one.number not in dropped]


@given(watches(), st.integers(1, 40))
@settings(max_examples=40)
def test_it_does_not_matter_how_often_it_was_done_before(taken, every) -> None:
    kept: list[Taken] = []
    for place, one in enumerate(taken):
        kept.append(one)
        if place % every == 0:
            kept = thinned(kept, one.at_ns)

    assert thinned(kept, taken[-1].at_ns) == thinned(taken, taken[-1].at_ns)


@given(watches())
@settings(max_examples=40)
def test_first_last_and_highest_of_each_process_stay(taken) -> None:
    kept = thinned(taken, taken[-1].at_ns)

    for process in {one.process for one in taken}:
        before = [one for one in taken if one.process == process]
        after = [one for one in kept if one.process == process]
        assert (after[0], after[-1]) == (before[0], before[-1])
        assert max(one.rss for one in after) == max(one.rss for one in before)
        assert [o for o in after if o.is_full][:1] == [o for o in before if o.is_full][:1]
        assert [o for o in after if o.is_full][-1:] == [o for o in before if o.is_full][-1:]


@given(watches())
@settings(max_examples=40)
def test_the_last_ten_minutes_stay_and_no_hole_is_torn(taken) -> None:
    now = taken[-1].at_ns
    kept = thinned(taken, now)

    assert [o for o in kept if o.at_ns >= now - 600 * SECOND] == [
        o for o in taken if o.at_ns >= now - 600 * SECOND
    ]
    largest = max((b.at_ns - a.at_ns for a, b in pairwise(taken)), default=0)
    for a, b in pairwise(kept):
        age = now - a.at_ns
        step = 10 if age <= 3600 * SECOND else 60 if age <= 86400 * SECOND else 600
        assert b.at_ns - a.at_ns <= 2 * step * SECOND + largest


def test_a_day_at_one_reading_a_second_takes_less_than_5_mb() -> None:
    """Hour-old readings are a minute apart, whenever the others were dropped: see the first law."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.cgoleak"
        with CaptureWriter(path) as sink:
            peak = a_watched_day(sink, hours=24)

        assert path.stat().st_size < 5_000_000
        snapshots = open_capture(path).snapshots

    assert 600 < len(snapshots) < 4000
    assert snapshots[-1].at_ns == (24 * 3600 - 1) * SECOND
    assert max(one.process.rss for one in snapshots if one.process) == peak


texts = st.text(max_size=20)
times = st.integers(0, 1 << 60)
watched = st.builds(
    WatchedProcess,
    pid=st.integers(1, 1 << 22),
    start_ticks=times,
    exe=texts,
    since_ns=times,
    ended_ns=st.none() | times,
    reason=st.none() | texts,
)


@given(st.lists(watched, max_size=4), st.none() | st.builds(Span, times, times))
@settings(max_examples=40)
def test_processes_and_the_hooked_part_are_read_as_they_were_written(processes, hooked) -> None:
    with CaptureWriter() as sink:
        sink.write_target(a_target(), mode="watch")
        for number, process in enumerate(processes, 1):
            sink.put_process(number, process)
        if hooked is not None:
            sink.put_hooked(hooked)
        sink.finish(a_window(mode="watch"), a_cost())
        capture = sink.capture()

    assert capture.processes == tuple(processes)
    assert capture.hooked == hooked
