"""Whoever ends first: no hook stays, the target lives, and what was seen is reported."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from cgoleak.capture.reader import open_capture
from cgoleak.errors import CgoleakError
from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.kernel import procfs
from cgoleak.target.preflight import require
from support.go_programs import go_commands, missing_tools
from support.hooks import hooked_slots
from support.live import Load, Program, Worker, attach, cgoleak, wait_until
from support.live_programs import EXEC, build_program

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ROUNDS = 20 if os.environ.get("CGOLEAK_LIVE") == "full" else 6
LONGEST_ATTACH_S = 2.0
"""From the start of the command line to well into the measurement."""
RESTORED_S = 15
"""An injection that had begun is finished first; the probe then sees that nobody leads it."""
NOT_CLEAN = {"probe.slots-changed", "probe.code-changed", "probe.not-gone"}


@pytest.fixture(scope="module")
def busy(sample):
    """A worker under load with a leak, to which all of this is done, one after the other."""
    with (
        Worker(sample, "-scenario", "c-leak") as worker,
        Load(sample, worker.address, seconds=400),
    ):
        yield worker


def moments(seed: str) -> list[float]:
    """Random moments, each in its own part of the time, so that all phases are met."""
    dice = random.Random(seed)
    step = LONGEST_ATTACH_S / ROUNDS
    return [step * (i + dice.random()) for i in range(ROUNDS)]


def sleep_until(moment: float) -> None:
    """The moment itself is what is tested here: nothing is waited for."""
    time.sleep(max(0.0, moment - time.monotonic()))


def is_left_alone(worker: Worker) -> bool:
    return worker.is_running() and worker.answers() and not hooked_slots(worker.pid)


def test_nothing_is_left_where_temporary_files_are_and_no_process_runs_on(busy, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    measured = cgoleak("attach", busy.pid, "--duration", "1s", TMPDIR=str(temporary))

    assert measured.returncode == 0, measured.stderr
    assert [one.name for one in temporary.iterdir()] == []
    assert processes_from(temporary) == []


def processes_from(folder: Path) -> list[str]:
    """Programs that lie in a folder and run."""
    found = []
    for exe in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):  # it has ended, or is the kernel's
            found.append(str(exe.readlink()))
    return [one for one in found if one.startswith(f"{folder}/")]


@pytest.mark.parametrize("after", moments("interrupt"), ids=lambda s: f"{s:.2f}s")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_an_interrupted_measurement_detaches_and_reports(busy, tmp_path, after, number):
    """Before the attach there is nothing to report; then it only ends, without a traceback."""
    began = time.monotonic()
    with attach(tmp_path, busy.pid) as watching:
        sleep_until(began + after)
        watching.process.send_signal(number)
        status = watching.finish(30)

        assert not has_traceback_of_ours(watching.stderr), watching.stderr
        if watching.report_file.exists():
            assert status == 0
            codes = {notice["code"] for notice in watching.report()["notices"]}
            assert not codes & NOT_CLEAN
        else:
            expected = {130, -number, 128 + number}
            if "Traceback" in watching.stderr:
                expected.add(1)  # hit while Python imports its own, before any code of ours
            assert status in expected, watching.stderr
    assert is_left_alone(busy)


def has_traceback_of_ours(stderr: str) -> bool:
    """Python itself may be hit while it starts, before any code of cgoleak has run."""
    return "Traceback" in stderr and "cgoleak/" in stderr.replace("cgoleak/__init__.py", "")


def test_a_second_interrupt_does_not_disturb_the_detach(busy, tmp_path):
    with attach(tmp_path, busy.pid) as watching:
        watching.until_hooked(busy.pid)
        for _ in range(5):
            watching.interrupt()
            time.sleep(0.02)
        status = watching.finish(30)

    assert status == 0, watching.stderr
    assert watching.report()["window"]["snapshots"] >= 1
    assert is_left_alone(busy)


@pytest.mark.parametrize("after", moments("kill"), ids=lambda s: f"{s:.2f}s")
def test_the_hooks_go_when_cgoleak_is_killed(busy, tmp_path, after):
    began = time.monotonic()
    with attach(tmp_path, busy.pid) as watching:
        sleep_until(began + after)
        watching.process.kill()
        watching.process.wait()

    injector_gone = f"no injector, no hooks, no stop in pid {busy.pid}"
    wait_until(lambda: is_settled(busy.pid), injector_gone, RESTORED_S)
    assert is_left_alone(busy)


def is_settled(pid: int) -> bool:
    """Tell whether nobody traces or holds the process any more, and no hook is in."""
    status = procfs.status(pid)
    is_free = status.tracer_pid == 0 and status.state != "T"
    return is_free and not hooked_slots(pid) and not orphaned_injectors()


def orphaned_injectors() -> list[int]:
    """Find injectors that outlive their cgoleak: they finish what they have begun."""
    found = []
    for folder in procfs.PROC.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"cgoleak.probe.entry.inject" in words and procfs.status(int(folder.name)).ppid == 1:
                found.append(int(folder.name))
        except (OSError, CgoleakError):
            continue
    return found


def test_the_next_measurement_after_a_kill_is_as_good_as_the_first(busy, tmp_path):
    with attach(tmp_path / "killed", busy.pid) as watching:
        watching.until_hooked(busy.pid)
        watching.process.kill()
        watching.process.wait()

    with attach(tmp_path / "next", busy.pid, seconds=2) as watching:
        status = watching.finish()

    assert status == 0, watching.stderr
    report = watching.report()
    assert any("histogram_new" in json.dumps(one["stack"]) for one in report["findings"])
    assert not {notice["code"] for notice in report["notices"]} & NOT_CLEAN
    assert is_left_alone(busy)


def test_a_probe_whose_controller_died_before_it_led_is_waited_for(busy):
    class Killed(Exception):
        """In place of the signal, which would hit this moment once in a hundred times."""

    def killed(_command: bytes) -> None:
        raise Killed

    with Injector() as injector, contextlib.closing(ProbeSession(require(busy.pid))) as session:
        session.order = killed
        with pytest.raises(Killed):
            session.attach(injector)

    again = cgoleak("attach", busy.pid, "--duration", "1s")

    assert again.returncode == 0, again.stderr
    assert is_left_alone(busy)


def test_a_second_measurement_beside_a_live_one_is_refused(busy, tmp_path):
    with attach(tmp_path, busy.pid) as watching:
        watching.until_hooked(busy.pid)

        second = cgoleak("attach", busy.pid, "--duration", "1s")

        assert second.returncode == 3
        assert f"pid {busy.pid} is being measured already" in second.stderr
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr


def test_a_killed_measurement_leaves_a_capture_that_can_be_read(busy, tmp_path):
    with attach(tmp_path, busy.pid, interval=0.2) as watching:
        watching.until_hooked(busy.pid)
        wait_until(lambda: has_snapshots(watching.capture_file), "two snapshots in the file")
        watching.process.kill()
        watching.process.wait()

    again = cgoleak("report", watching.capture_file, "--format", "json")

    assert again.returncode == 0, again.stderr
    codes = {notice["code"] for notice in json.loads(again.stdout)["notices"]}
    assert "capture.unfinished" in codes


def has_snapshots(capture) -> bool:
    answer = cgoleak("report", capture, "--format", "json")
    return answer.returncode == 0 and json.loads(answer.stdout)["window"]["snapshots"] >= 2


def test_a_target_that_is_killed_is_reported_as_far_as_it_was_seen(sample, tmp_path):
    with Worker(sample, "-scenario", "c-leak") as worker, attach(tmp_path, worker.pid) as watching:
        watching.until_hooked(worker.pid)
        with Load(sample, worker.address, seconds=2) as load:
            assert load.answered()["errors"] == 0
        counted = worker.counters()["histogram_new"]
        worker.signal(signal.SIGKILL)
        status = watching.finish()

    assert status == 0, watching.stderr
    (found,) = (
        one
        for one in watching.report()["findings"]
        if any(frame["function"] == "histogram_new" for frame in one["stack"])
    )
    assert found["outstanding_blocks"] == counted["blocks"]
    assert found["outstanding_bytes"] == counted["bytes"]
    assert ended(watching) == "target-exited"
    (said,) = (n["text"] for n in watching.report()["notices"] if n["code"] == "target.ended")
    assert "killed by SIGKILL" in said
    assert not any(n["code"] == "go.no-memory-numbers" for n in watching.report()["notices"])


def ended(watching) -> str:
    return open_capture(watching.capture_file).window.ended


@pytest.mark.parametrize("after", moments("target"), ids=lambda s: f"{s:.2f}s")
def test_a_target_that_ends_at_any_moment_takes_nobody_with_it(sample, tmp_path, after):
    with Worker(sample) as worker:
        began = time.monotonic()
        with attach(tmp_path, worker.pid) as watching:
            sleep_until(began + after)
            worker.signal(signal.SIGKILL)
            worker.wait()
            status = watching.finish(40)

    assert status in {0, 3}, watching.stderr
    assert "Traceback" not in watching.stderr, watching.stderr
    if status == 3:
        assert watching.stderr.count("error: ") == 1
        assert "bug in cgoleak" not in watching.stderr
    else:
        assert watching.report()["window"]["snapshots"] >= 1


@pytest.fixture(scope="module")
def execing(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("exec"), go_commands()[0], EXEC)


def test_a_target_that_becomes_another_program_ends_the_measurement(execing, tmp_path):
    with Program([execing]) as target:
        assert target.line() == "ready 1"
        with attach(tmp_path, target.pid) as watching:
            watching.until_hooked(target.pid)
            target.say("once")
            assert target.line() == "did once"
            target.say("exec")
            status = watching.finish()

        assert target.line() == "ready 2", "the new program runs"
        assert status == 0, watching.stderr
        assert ended(watching) == "target-exited"
        blocks = [
            one["outstanding_blocks"]
            for one in watching.report()["findings"]
            if any(frame["function"] == "main.main" for frame in one["stack"])
        ]
        assert blocks == [2]
        target.say("more")
        assert target.line() == "did more"
        assert hooked_slots(target.pid) == []
