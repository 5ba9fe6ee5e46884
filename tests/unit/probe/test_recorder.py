"""Session and sink → snapshots: when they are taken, how it ends, and that hooks go out first."""

from __future__ import annotations

import itertools

import pytest

from cgoleak.capture.writer import CaptureWriter
from cgoleak.errors import CaptureError, ProbeError, TargetExited
from cgoleak.model.ids import StackId
from cgoleak.probe.recorder import _due, record
from cgoleak.target.kernel.cgroup import Room
from support.builders import a_target
from support.elf_slots import an_image, loaded
from support.recorded_session import FullDisk, RecordedSession

STARTED = 1_700_000_000_000_000_000


@pytest.fixture
def session():
    session = RecordedSession()
    yield session
    session.close()


class Recording:
    """One run of ``record``, and what it left."""

    def __init__(self, session, sink=None):
        self.session = session
        self.sink = sink
        self.counted = []
        self.stop = lambda: False

    def run(self, seconds=None, interval=None, **options):
        with CaptureWriter() as writer:
            writer.write_target(a_target())
            self.result = record(
                self.session,
                self.sink or writer,
                seconds=seconds,
                interval_s=interval,
                should_stop=self.stop,
                started_unix_ns=STARTED,
                on_count=self.counted.append,
                on_detach=options.pop("on_detach", lambda: self.session.did.append("told")),
                clock=self.session.clock,
                **options,
            )
            writer.finish(self.result.window, self.result.cost)
            self.capture = writer.capture()
        return self.capture

    @property
    def times(self):
        return [snapshot.at_ns / 1e9 for snapshot in self.capture.snapshots]


# --- when -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "interval", "step", "count"),
    [(60, None, 2.0, 31), (6, None, 0.5, 13), (600, None, 5.0, 121), (10, 2.5, 2.5, 5)],
)
def test_snapshots_are_spread_evenly_from_the_first_moment_to_the_last(
    session, seconds, interval, step, count
):
    recording = Recording(session)

    recording.run(seconds, interval)

    assert len(recording.times) == count
    assert recording.times == pytest.approx([i * step for i in range(count)], abs=0.01)


def test_without_an_end_snapshots_become_rarer(session):
    recording = Recording(session)
    recording.stop = lambda: session.elapsed > 120

    recording.run()

    steps = [b - a for a, b in itertools.pairwise(recording.times[:-1])]
    assert steps[0] == pytest.approx(0.5, abs=0.02)
    assert steps[-1] == pytest.approx(120 / 40, rel=0.05)
    assert all(b - a > -0.001 for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("seconds", [None, 0.1, 1, 15, 60, 3600, 1e6])
@pytest.mark.parametrize("interval", [None, 0.001, 0.5, 60])
def test_due_times_ascend_and_never_come_closer_than_asked(seconds, interval):
    times = [0.0, *itertools.islice(_due(seconds, interval), 200)]

    steps = [b - a for a, b in itertools.pairwise(times)]
    if interval is not None:
        assert steps == pytest.approx([interval] * 200)
    else:
        assert all(0.5 - 1e-9 <= step <= 5.0 + 1e-9 for step in steps)


def test_a_machine_that_slept_gets_one_snapshot_and_not_all_that_were_missed(session):
    def sleep():
        session.now += 20

    session.at.append((3.0, sleep))
    recording = Recording(session)

    recording.run(60)

    late = [at for at in recording.times if 3.0 < at <= 24.1]
    assert late == pytest.approx([23.0, 24.0], abs=0.2)


def test_a_measurement_within_a_watch_has_the_times_of_the_watch(session):
    recording = Recording(session)

    recording.run(1, origin_ns=7_000_000_000)

    assert recording.times == pytest.approx([7.0, 7.5, 8.0], abs=0.01)
    assert recording.result.window.seconds == pytest.approx(1.0, abs=0.01)


# --- what -------------------------------------------------------------------------------------


def test_the_last_snapshot_is_taken_when_the_hooks_are_out(session):
    session.made.stack(1, [0x401000])
    session.made.row(1, born_blocks=1, born_bytes=64)
    before = session.detach

    def detach():
        session.made.row(1, born_blocks=2, born_bytes=128)
        return before()

    session.detach = detach

    capture = Recording(session).run(1)

    assert [s.stacks[StackId(1)].born_blocks for s in capture.snapshots] == [1, 1, 2]
    assert session.did == ["told", "detach"]


def test_every_stack_and_module_is_written_once(session):
    first = loaded(0x10_0000, "/srv/liba.so", an_image())
    later = loaded(0x20_0000, "/srv/libb.so", an_image())
    session.modules = (first,)
    session.made.stack(1, [0x401000])

    def load():
        session.modules = (first, later)
        session.made.stack(2, [0x201000])

    session.at.append((0.7, load))

    capture = Recording(session).run(3)

    assert capture.modules == (first.described, later.described)
    assert {stack: raw.addresses for stack, raw in capture.stacks.items()} == {
        0: (),
        1: (0x401000,),
        2: (0x201000,),
    }


def test_a_snapshot_tells_what_the_process_is_made_of_at_its_moment(session):
    capture = Recording(session).run(2, interval=1)

    assert [s.process.rss - (64 << 20) for s in capture.snapshots] == [0, 1, 2]
    assert (session.thorough[0], session.thorough[-1]) == (True, True)


def test_the_window_and_the_cost_are_told(session):
    recording = Recording(session)
    recording.run(2)

    window, cost = recording.result.window, recording.result.cost
    assert (window.started_unix_ns, window.mode, window.ended) == (STARTED, "exact", "detached")
    assert window.seconds == pytest.approx(2.0, abs=0.01)
    assert (cost.pause_seconds, cost.target_bytes) == (0.012, session.made.memory)


def test_a_display_gets_numbers_five_times_a_second_and_not_more(session):
    session.made.stack(1, [0x401000])
    session.made.row(1, born_blocks=5, born_bytes=500, freed_blocks=2, freed_bytes=200)
    recording = Recording(session)

    recording.run(10)

    assert 40 <= len(recording.counted) <= 50
    steps = itertools.pairwise(count.elapsed_s for count in recording.counted)
    assert all(b - a >= 0.2 for a, b in steps)
    last = recording.counted[-1]
    assert (last.events, last.outstanding_bytes, last.outstanding_blocks) == (7, 300, 3)


# --- slots ------------------------------------------------------------------------------------


def test_slots_are_looked_at_again_soon_after_the_attach(session):
    Recording(session).run(10)

    assert session.verified_at == pytest.approx([0.3, 1.0, 3.0], abs=0.11)


def test_while_a_library_comes_in_its_slots_are_looked_for_all_the_time(session):
    session.libraries_at = [4.02]

    Recording(session).run(10, interval=10)

    busy = [at for at in session.rescanned_at if 4.0 < at < 6.2]
    assert len(busy) > 100
    assert max(b - a for a, b in itertools.pairwise(busy)) < 0.02
    assert [at for at in session.rescanned_at if at > 6.2] == []


# --- how it ends ------------------------------------------------------------------------------


def test_a_target_that_ends_is_measured_to_its_end(session):
    session.dies_at = 2.25
    session.made.stack(1, [0x401000])
    session.at.append((2.2, lambda: session.made.row(1, born_blocks=9, born_bytes=90)))
    recording = Recording(session)

    capture = recording.run(60)

    assert capture.window.ended == "target-exited"
    assert capture.window.seconds == pytest.approx(2.25, abs=0.11)
    assert capture.snapshots[-1].stacks[StackId(1)].born_blocks == 9
    assert session.did == ["told", "detach"]


def test_a_target_close_to_its_memory_limit_is_left_and_what_was_counted_is_kept(session):
    recording = Recording(session)

    def look():
        return Room(64 << 20, (40 << 20) + int(session.elapsed * (4 << 20)), "/box")

    recording.run(60, look_at_room=look)

    assert recording.times[-1] == pytest.approx(4.0, abs=0.3)
    assert session.did.index("told") < session.did.index("detach")
    (notice,) = recording.result.notices
    assert notice.code == "probe.memory-limit"
    assert notice.text.endswith("left of 64.0 MiB")
    assert recording.result.window.ended == "detached"


def test_a_stop_ends_it_at_once(session):
    recording = Recording(session)
    recording.stop = lambda: session.elapsed > 1.3

    capture = recording.run(60)

    assert capture.window.ended == "interrupted"
    assert capture.window.seconds == pytest.approx(1.3, abs=0.11)
    assert recording.times[-1] == pytest.approx(capture.window.seconds)


def test_a_stop_before_the_beginning_leaves_two_snapshots(session):
    recording = Recording(session)
    recording.stop = lambda: True

    assert len(recording.run(60).snapshots) == 2
    assert session.did == ["told", "detach"]


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_full_disk_takes_the_hooks_out_before_it_is_told(session, room):
    session.made.stack(1, [0x401000])

    with pytest.raises(CaptureError, match="cannot write capture"):
        Recording(session, FullDisk(room, session.did)).run(10)

    assert session.did == ["refused", "told", "detach"]


def test_a_full_disk_at_the_very_end_is_told_as_well(session):
    with pytest.raises(CaptureError):
        Recording(session, FullDisk(1, session.did)).run(0.5)

    assert session.did == ["told", "detach", "refused"]


def test_a_display_that_fails_keeps_no_hook_in(session):
    def fails():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Recording(session).run(1, on_detach=fails)

    assert session.did == ["detach"]


def test_a_probe_that_fails_in_a_living_target_is_an_error(session):
    session.broken = ProbeError("the probe did not carry out 'M'")

    with pytest.raises(ProbeError):
        Recording(session).run(10)

    assert session.did == ["told", "detach"]


def test_a_probe_that_fails_because_its_target_dies_is_none(session):
    def rescan():
        session.dies_at = session.elapsed
        raise TargetExited("pid 1 ended while it was being measured")

    session.rescan = rescan

    assert Recording(session).run(10).window.ended == "target-exited"


def test_tables_can_be_closed_after_a_failure_in_the_middle_of_reading_them(session):
    session.made.stack(1, [0x401000])
    session.made.stack(2, [0x401000])

    with pytest.raises(CaptureError) as error:
        Recording(session, FullDisk(0, session.did)).run(10)

    assert error.value.__traceback__ is not None  # which still holds every frame
    session.tables.close()
