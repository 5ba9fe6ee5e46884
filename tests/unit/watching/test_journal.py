"""The book of a watch, and where a watch begins."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cgoleak.capture import CaptureWriter, open_capture
from cgoleak.errors import NoSuchProcess, NotGo, UnsupportedTarget
from cgoleak.model.notice import Notice
from cgoleak.target.observer import Observation
from cgoleak.target.succession import Subject
from cgoleak.watching import WatchPlan, watch
from cgoleak.watching.journal import Journal
from support.builders import (
    SECOND,
    a_cost,
    a_snapshot,
    a_target,
    a_window,
    counts,
    process_memory,
)
from support.elfbytes import an_elf
from support.lineage import Lineage
from support.proctree import a_process

MIB = 1 << 20


def seen(rss):
    return Observation(process_memory(rss=rss * MIB), None, None)


def subject(pid):
    return Subject(pid, start_ticks=7 * pid, exe="/srv/worker", command=("worker",))


@pytest.fixture
def sink(tmp_path):
    with CaptureWriter(tmp_path / "a.cgoleak") as writer:
        writer.write_target(a_target(), mode="watch")
        yield writer


def test_the_first_reading_of_a_successor_tells_of_the_restart_once(sink):
    journal = Journal(sink)
    journal.begin(subject(100), 0)
    assert journal.add(0, seen(50))[1] is None
    assert journal.add(SECOND, seen(90))[1] is None
    journal.end(2 * SECOND, "killed by SIGKILL")
    journal.begin(subject(200), 3 * SECOND)

    _, restart = journal.add(3 * SECOND, seen(10))

    assert restart is not None
    assert (restart.at, restart.old_pid, restart.new_pid) == (2.0, 100, 200)
    assert (restart.rss_before_bytes, restart.rss_after_bytes) == (90 * MIB, 10 * MIB)
    assert restart.reason == "killed by SIGKILL"
    assert journal.add(4 * SECOND, seen(20))[1] is None
    assert journal.restarts == 1


def test_what_was_seen_of_a_watch_that_was_killed_is_in_its_file(sink, tmp_path):
    journal = Journal(sink)
    journal.begin(subject(100), 0)
    for second in range(25):
        journal.add(second * SECOND, seen(50))

    capture = open_capture(tmp_path / "a.cgoleak")  # as somebody else would

    assert len(capture.snapshots) == 21, "the last ten seconds at most are not on disk yet"
    assert capture.window.ended == "lost"
    assert [one.pid for one in capture.processes] == [100]


def test_snapshots_on_which_later_ones_build_are_not_dropped(sink):
    numbers = [
        sink.add_snapshot(a_snapshot(1)),
        sink.add_snapshot(a_snapshot(2, {1: counts(born=3)})),
        sink.add_snapshot(a_snapshot(3, {1: counts(born=3)})),
        sink.add_snapshot(a_snapshot(4)),
    ]
    sink.drop_snapshots(numbers[:3])
    sink.finish(a_window(), a_cost())

    kept = sink.capture().snapshots
    assert [one.at_ns // SECOND for one in kept] == [2, 4]
    assert [dict(one.stacks) for one in kept] == [{1: counts(born=3)}, {}]


def test_a_notice_is_stored_once(sink):
    journal = Journal(sink)
    for _ in range(3):
        journal.tell(Notice("watch.ended", "gone"))
    sink.finish(a_window(), a_cost())

    assert [one.code for one in sink.capture().notices] == ["watch.ended"]


def test_a_watch_for_a_program_that_never_runs_ends_with_an_error(tmp_path):
    tree = Lineage(tmp_path / "proc")
    plan = WatchPlan(exe=Path("/srv/worker"), duration_s=0.0)
    told = []

    with pytest.raises(NoSuchProcess, match="nothing ran /srv/worker"):
        watch(
            plan,
            capture=tmp_path / "b.cgoleak",
            progress=told.append,
            stop=threading.Event(),
            root=tree.root,
        )

    assert [state.phase for state in told] == ["waiting"]
    assert not (tmp_path / "b.cgoleak").exists()


def test_a_process_that_is_no_go_program_is_refused(tmp_path):
    program = tmp_path / "script"
    program.write_text("#!/bin/sh\n")
    a_process(tmp_path / "proc", 300, exe=program)

    with pytest.raises(NotGo):
        watch(WatchPlan(pid=300), stop=threading.Event(), root=tmp_path / "proc")


def test_a_32_bit_process_is_refused_for_its_machine_not_for_being_no_go(tmp_path):
    program = tmp_path / "worker"
    program.write_bytes(an_elf(machine=3, bits=32))
    a_process(tmp_path / "proc", 300, exe=program)

    with pytest.raises(UnsupportedTarget, match="cannot be measured on this machine"):
        watch(WatchPlan(pid=300), stop=threading.Event(), root=tmp_path / "proc")


@pytest.mark.parametrize(
    ("process", "error", "words"),
    [
        ({"kernel_thread": True}, UnsupportedTarget, "thread of the kernel"),
        ({"tgid": 299}, NoSuchProcess, "is a thread, not a process"),
        ({"state": "Z (zombie)"}, NoSuchProcess, "has ended"),
    ],
)
def test_what_attach_refuses_as_no_process_is_not_watched_either(tmp_path, process, error, words):
    a_process(tmp_path, 300, exe="/srv/worker", **process)

    with pytest.raises(error, match=words) as caught:
        watch(WatchPlan(pid=300), stop=threading.Event(), root=tmp_path)
    assert caught.value.fix
