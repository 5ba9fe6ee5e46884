"""The line as a whole: what is started when, and that every way out leaves nothing behind."""

from __future__ import annotations

import threading

import pytest

from cgoleak import pipeline
from cgoleak.capture.reader import open_capture
from cgoleak.capture.writer import CaptureWriter
from cgoleak.errors import (
    AttachFailed,
    NotPermitted,
    OutputError,
    ProbeError,
    SymbolError,
    UnsupportedTarget,
)
from cgoleak.interim import Interim
from cgoleak.model.ids import StackId
from cgoleak.model.notice import Notice
from cgoleak.pipeline import RecordPlan, attach, attach_within, run
from cgoleak.symbols import resolver
from support.builders import SECOND, a_target
from support.elf_slots import CODE, an_image, loaded
from support.fake_attach import FakeEdge

SHORT = RecordPlan(duration_s=0.001, interval_s=None)
UNTIL_STOPPED = RecordPlan(duration_s=None, interval_s=None)


@pytest.fixture
def edge(monkeypatch):
    return FakeEdge(monkeypatch)


@pytest.fixture
def stop():
    return threading.Event()


# --- attach -----------------------------------------------------------------------------------


def test_a_process_is_measured_from_facts_to_names(edge, stop):
    result = attach(4242, SHORT, stop=stop)

    assert edge.did == [
        "facts",
        "injector started",
        "session opened",
        "probe goes in",
        "detach",
        "close",
        "injector gone",
    ]
    assert result.exit_status is None
    assert result.capture.target == a_target(pid=4242)
    assert (result.capture.window.mode, result.capture.window.ended) == ("exact", "detached")
    assert len(result.capture.snapshots) >= 2
    assert result.capture.notices == ()


def test_what_is_measured_is_in_the_file_as_it_is_in_the_result(edge, stop, tmp_path):
    edge.session.made.stack(1, [0x401000])
    edge.session.made.row(1, born_blocks=3, born_bytes=300)
    path = tmp_path / "worker.cgoleak"

    result = attach(4242, SHORT, capture=path, stop=stop)

    assert open_capture(path) == result.capture
    assert result.capture.snapshots[-1].stacks[StackId(1)].born_bytes == 300


def test_addresses_get_names_while_their_files_are_there(edge, stop):
    module = loaded(0x7F00_0000_0000, "/srv/libwork.so", an_image(defines={"row_dup": CODE}))
    edge.session.modules = (module,)
    address = module.start + CODE + 5
    edge.session.made.stack(1, [address])

    capture = attach(4242, SHORT, stop=stop).capture

    assert [frame.function for frame in capture.frames[address]] == ["row_dup"]


def test_a_stop_ends_a_measurement_without_an_end(edge, stop):
    stop.set()

    result = attach(4242, UNTIL_STOPPED, stop=stop)

    assert result.capture.window.ended == "interrupted"


def test_the_phases_are_told_in_their_order(edge, stop):
    told = []

    attach(4242, RecordPlan(0.02, None), progress=told.append, stop=stop)

    phases = list(dict.fromkeys(state.phase for state in told))
    assert phases == ["preparing", "attaching", "measuring", "detaching", "reading symbols"]
    assert {state.duration_s for state in told} == {0.02}
    # What was counted last stays on the display.
    assert told[-1].elapsed_s > 0


def test_notices_of_the_probe_its_end_and_the_symbols_are_written(edge, stop, monkeypatch):
    first, second, third = (Notice(code, "text") for code in ("probe.a", "probe.b", "symbols.c"))
    edge.session.notices = [first]
    edge.session.farewell_notices = (second,)
    monkeypatch.setattr(resolver, "seal", lambda *_, **__: ({}, (third,)))

    assert attach(4242, SHORT, stop=stop).capture.notices == (first, second, third)


def test_symbols_that_cannot_be_had_cost_names_and_not_the_measurement(edge, stop, monkeypatch):
    def fails(*_, **__):
        raise SymbolError("the symbols are gone", fix="bring them back")

    monkeypatch.setattr(resolver, "seal", fails)

    capture = attach(4242, SHORT, stop=stop).capture

    (notice,) = capture.notices
    assert notice.code == "symbols.not-sealed"
    assert "the symbols are gone" in notice.text
    assert notice.fix == "bring them back"
    assert capture.window.ended == "detached"


def test_a_module_that_was_unloaded_costs_its_names(edge, stop):
    gone = loaded(0x7F00_0000_0000, "/srv/plugin.so", an_image(defines={"work": CODE}))
    address = gone.start + CODE + 5
    edge.session.modules = (gone,)
    edge.session.made.stack(1, [address])
    detach = edge.session.detach

    def unload():
        edge.session.modules = ()
        return detach()

    edge.session.detach = unload

    capture = attach(4242, SHORT, stop=stop).capture

    assert [notice.code.split(".")[0] for notice in capture.notices] == ["symbols"]
    assert [frame.function for frame in capture.frames.get(address, ())] != ["work"]


# --- what goes wrong --------------------------------------------------------------------------


def test_a_process_that_cannot_be_measured_costs_nothing(edge, stop, tmp_path):
    edge.refuse["facts"] = NotPermitted("no")

    with pytest.raises(NotPermitted):
        attach(4242, SHORT, capture=tmp_path / "new", stop=stop)

    assert edge.did == ["facts"]
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_refused_at_a_closer_look_sends_the_injector_away(edge, stop):
    edge.refuse["session opened"] = UnsupportedTarget("no")

    with pytest.raises(UnsupportedTarget):
        attach(4242, SHORT, stop=stop)

    assert edge.did[-1] == "injector gone"


def test_a_failed_attach_leaves_an_older_capture_alone(edge, stop, tmp_path):
    path = tmp_path / "worker.cgoleak"
    path.write_text("older")
    edge.refuse["probe goes in"] = AttachFailed("no")

    with pytest.raises(AttachFailed):
        attach(4242, SHORT, capture=path, stop=stop)

    assert path.read_text() == "older"
    assert edge.did[-3:] == ["probe goes in", "close", "injector gone"]


def test_the_capture_is_opened_when_the_probe_is_in(edge, stop, tmp_path):
    path = tmp_path / "worker.cgoleak"
    there = []
    edge.before_attach = lambda: there.append(path.exists())

    attach(4242, SHORT, capture=path, stop=stop)

    assert there == [False]
    assert path.exists()


def test_a_capture_that_cannot_be_opened_takes_the_probe_out_again(edge, stop, tmp_path):
    with pytest.raises(OutputError):
        attach(4242, SHORT, capture=tmp_path / "nowhere" / "capture", stop=stop)

    assert edge.did[-4:] == ["probe goes in", "detach", "close", "injector gone"]


def test_a_probe_that_fails_while_it_measures_is_taken_out_and_closed(edge, stop, tmp_path):
    edge.session.broken = ProbeError("it hangs")
    path = tmp_path / "worker.cgoleak"

    with pytest.raises(ProbeError, match="it hangs"):
        attach(4242, RecordPlan(60, 0.5), capture=path, stop=stop)

    assert edge.did[-3:] == ["detach", "close", "injector gone"]
    # What was measured until then can be read.
    assert len(open_capture(path).snapshots) == 1


def test_who_looks_meanwhile_is_told_what_is_recorded_and_asks_nothing(edge, stop):
    """The same is done, in the same order, as without."""
    interim = Interim(pipeline.analyse)

    result = attach(4242, SHORT, stop=stop, interim=interim)

    assert edge.did == [
        "facts",
        "injector started",
        "session opened",
        "probe goes in",
        "detach",
        "close",
        "injector gone",
    ]
    assert interim.heard == len(result.capture.snapshots)
    interim.name()
    report = interim.report()
    assert (report.target, report.window.snapshots) == (result.capture.target, interim.heard)


# --- run --------------------------------------------------------------------------------------


def test_a_command_is_held_measured_and_waited_for(edge, stop):
    edge.session.dies_at = 1.0
    edge.command.status = 7

    result = run(["./worker"], UNTIL_STOPPED, stop=stop)

    assert edge.did == [
        "injector started",
        "command held",
        "facts of a held process",
        "session opened",
        "probe goes into a held process",
        "detach",
        "command waited for",
        "close",
        "injector gone",
    ]
    assert result.exit_status == 7
    assert result.capture.window.ended == "target-exited"
    assert result.capture.target.pid == edge.command.pid


@pytest.mark.parametrize(
    "step", ["facts of a held process", "session opened", "probe goes into a held process"]
)
def test_a_command_that_cannot_be_measured_is_ended(edge, stop, tmp_path, step):
    edge.refuse[step] = ProbeError("no")

    with pytest.raises(ProbeError):
        run(["./worker"], SHORT, capture=tmp_path / "new", stop=stop)

    assert "command killed" in edge.did
    assert edge.did[-1] == "injector gone"
    assert ("close" in edge.did) == (step == "probe goes into a held process")
    assert list(tmp_path.iterdir()) == []


def test_a_capture_that_cannot_be_opened_ends_the_command(edge, stop, tmp_path):
    with pytest.raises(OutputError):
        run(["./worker"], SHORT, capture=tmp_path / "nowhere" / "capture", stop=stop)

    assert edge.did[-4:] == ["detach", "command killed", "close", "injector gone"]


def test_a_command_that_does_not_end_when_asked_is_left_running_and_named(edge, stop, monkeypatch):
    monkeypatch.setattr(pipeline, "_ASK_AFTER_S", 0.0)
    monkeypatch.setattr(pipeline, "_WAIT_S", 0.01)
    edge.command.status = None
    stop.set()

    result = run(["./worker"], UNTIL_STOPPED, stop=stop)

    assert edge.did.count("command asked to end") == 1
    assert "command killed" not in edge.did
    assert result.exit_status is None
    (notice,) = result.capture.notices
    assert notice.code == "run.still-running"
    assert notice.fix == "end it with: kill -KILL 4243"


def test_a_command_that_ends_when_its_terminal_says_so_is_not_asked_again(edge, stop):
    stop.set()
    edge.session.dies_at = 1.0
    edge.command.status = 130

    assert run(["./worker"], UNTIL_STOPPED, stop=stop).exit_status == 130
    assert "command asked to end" not in edge.did


# --- as a part of a watch ---------------------------------------------------------------------


def test_a_measurement_within_a_watch_goes_into_its_capture_with_its_times(edge):
    edge.session.notices = [Notice("probe.a", "text")]
    with CaptureWriter() as sink:
        sink.write_target(a_target())

        span, cost = attach_within(
            sink, 4242, SHORT, clock_ns=lambda: 9 * SECOND, should_stop=lambda: False
        )
        capture = sink.capture()

    assert span.since_ns == 9 * SECOND < span.until_ns
    assert [s.at_ns >= 9 * SECOND for s in capture.snapshots] == [True] * len(capture.snapshots)
    # The watch goes on.
    assert [n.code for n in capture.notices] == ["probe.a", "capture.unfinished"]
    assert cost.pause_seconds == edge.session.pause_seconds
    assert edge.did[-3:] == ["detach", "close", "injector gone"]
