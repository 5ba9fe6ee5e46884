"""``cgoleak watch``: the real command line beside real workers, their restarts and their ends."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cgoleak.capture.reader import open_capture
from cgoleak.errors import CaptureError
from cgoleak.pipeline import analyse
from cgoleak.render.contract.document import schema_text
from cgoleak.watching.loop import watch
from cgoleak.watching.plan import WatchPlan
from support.findings import findings_at, leaks, reported
from support.go_programs import go_commands, missing_tools
from support.live import (
    Cgoleak,
    Load,
    Program,
    Supervised,
    Worker,
    cgoleak,
    child_running,
    wait_until,
)
from support.live_programs import EXEC, build_program
from support.sample import scenarios

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

MIB = 1 << 20
CPU_SHARE = 0.005
"""What watching may take of a core at a reading each second."""


def watching(folder: Path, *arguments: object) -> Cgoleak:
    return Cgoleak(folder, "watch", *arguments)


def is_seen(running: Cgoleak, *words: str) -> Any:
    """A question for ``wait_until``: has the watch said this yet, or ended."""
    return lambda: (
        all(word in running.stderr for word in words) or running.process.poll() is not None
    )


def valid(running: Cgoleak) -> dict[str, Any]:
    """The report, which is what the schema says, and what the capture gives once more."""
    report = running.report()
    jsonschema.validate(report, json.loads(schema_text()))
    again = running.report_file.with_name("again.json")
    cgoleak("report", running.capture_file, "-o", again, "--quiet")
    assert json.loads(again.read_text()) == report
    return report


def told_status(reason: str, words: str) -> bool:
    """Before Linux 6.15 the status of a stranger's child is lost more often than not."""
    release = tuple(int(word) for word in os.uname().release.split("-")[0].split(".")[:2])
    return reason.startswith(words) or (release < (6, 15) and reason == "ended, reason unknown")


def test_a_worker_that_dies_of_its_leak_under_a_supervisor_is_a_restart(sample, tmp_path):
    scenario = next(one for one in scenarios() if one.name == "restart")
    with (
        Supervised(sample, *scenario.worker, "-die-at-mib", "80") as supervised,
        watching(tmp_path, supervised.worker_pid, "--interval", "500ms") as running,
    ):
        wait_until(is_seen(running, "RSS"), "the watch to begin")
        with Load(sample, supervised.address, seconds=40):
            wait_until(is_seen(running, "restart:"), "a restart", 40)
        running.interrupt()
        status = running.finish()

    assert status == 0, running.stderr
    report = valid(running)
    assert report["cause"] == scenario.cause, reported(report)
    first = report["restarts"][0]
    assert first["old_pid"] == supervised.worker_pid
    assert told_status(first["reason"], "killed by SIGKILL"), first
    assert first["rss_before_bytes"] > 55 * MIB > first["rss_after_bytes"] > MIB
    assert report["target"]["pid"] == report["restarts"][-1]["new_pid"]
    assert leaks(report) == []
    assert report["cost"]["target_bytes"] == 0
    assert report["window"]["mode"] == "watch"


def test_a_program_that_does_not_run_yet_is_waited_for(sample, tmp_path):
    worker = sample / "worker"
    with watching(tmp_path, "--exe", worker) as running:
        wait_until(is_seen(running, "nothing runs"), "the watch to wait")
        with Supervised(sample, "-scenario", "clean") as supervised:
            wait_until(is_seen(running, "RSS"), "the worker to be seen")
            os.kill(supervised.worker_pid, signal.SIGTERM)
            wait_until(is_seen(running, "restart:"), "the next one to be seen")
        wait_until(lambda: running.stderr.count("nothing runs") > 1, "the end to be seen")
        running.interrupt()
        status = running.finish()

    assert status == 0, running.stderr
    report = valid(running)
    (restart,) = report["restarts"]
    assert restart["old_pid"] == supervised.worker_pid
    assert told_status(restart["reason"], "exited with status 0"), restart
    codes = {notice["code"] for notice in report["notices"]}
    assert "watch.ended" in codes
    processes = open_capture(running.capture_file).processes
    assert [Path(one.exe) for one in processes] == [worker.resolve()] * 2
    # Of the second, which ends with its supervisor, nobody may be left who was told how.
    assert processes[0].reason


def test_a_program_that_never_runs_is_an_error(sample, tmp_path):
    with watching(tmp_path, "--exe", tmp_path / "nothing", "--duration", "1s") as running:
        status = running.finish()

    assert status == 3
    assert "error: nothing ran" in running.stderr
    assert not running.capture_file.exists()


def test_a_pid_that_is_not_there_and_one_that_is_not_go_are_errors(tmp_path):
    with Program(["sleep", "60"]) as other:
        not_go = cgoleak("watch", other.pid, "--duration", "1s")
    gone = cgoleak("watch", other.pid, "--duration", "1s")

    assert (gone.returncode, not_go.returncode) == (3, 3)
    assert "error: there is no process" in gone.stderr
    assert "is not a Go program" in not_go.stderr


def test_ctrl_c_ends_the_watch_with_a_report_on_the_screen(sample, tmp_path):
    with Worker(sample, "-scenario", "clean") as worker:
        with watching(tmp_path, worker.pid) as running:
            wait_until(is_seen(running, "RSS"), "the watch to begin")
            began = time.monotonic()
            running.interrupt()
            status = running.finish(20)
            took = time.monotonic() - began
        assert worker.answers()

    assert status == 0, running.stderr
    assert took < 5
    assert b"where RSS went" in running.stdout
    assert b"watched from outside" in running.stdout
    report = valid(running)
    assert report["go_return"]["why"]
    assert report["restarts"] == []


def test_growth_of_native_memory_starts_a_measurement_with_hooks(sample, tmp_path):
    scenario = next(one for one in scenarios() if one.name == "c-leak")
    with (
        Worker(sample, *scenario.worker) as worker,
        Load(sample, worker.address, seconds=60) as load,
        watching(
            *(tmp_path, worker.pid, "--interval", "500ms"),
            *("--attach-on-growth", "50KiB/s", "--attach-duration", "11s"),
        ) as running,
    ):
        wait_until(is_seen(running, "measuring with hooks"), "growth to be noticed", 30)
        measured = lambda: running.stderr.rpartition("measuring")[2].count("RSS")  # noqa: E731
        wait_until(measured, "the watch to go on", 40)
        running.interrupt()
        status = running.finish()
        assert worker.answers()
        load.signal(signal.SIGTERM)
        assert load.answered()["errors"] == 0

    assert status == 0, running.stderr
    report = valid(running)
    assert report["cause"] == "native-leak", reported(report)
    (site,) = scenario.leaking
    (found,) = findings_at(report, site)
    assert leaks(report) == [found], reported(report)
    assert found["oldest_seconds"] < 13
    assert report["cost"]["target_bytes"] > 0
    assert open_capture(running.capture_file).hooked is not None


def test_a_reading_each_second_takes_half_a_percent_of_a_core_at_most(sample, tmp_path):
    def cpu_ticks(pid: int) -> int:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])

    with (
        Worker(sample, "-scenario", "clean") as worker,
        Load(sample, worker.address, seconds=60),
        watching(tmp_path, worker.pid, "--duration", "60s") as running,
    ):
        wait_until(lambda: readings(running.capture_file) > 1, "the watch to settle", 30)
        before, began = cpu_ticks(running.pid), time.monotonic()
        wait_until(lambda: time.monotonic() - began >= 20, "20 s", 25)
        used = (cpu_ticks(running.pid) - before) / os.sysconf("SC_CLK_TCK")
        share = used / (time.monotonic() - began)
        running.interrupt()
        assert running.finish() == 0, running.stderr

    assert share <= CPU_SHARE, f"watching took {share:.2%} of a core"


def test_a_program_that_replaces_itself_is_followed(tmp_path):
    program = build_program(tmp_path, go_commands()[0], EXEC)
    with Program([program]) as running_program:
        assert running_program.line().startswith("ready")
        with watching(tmp_path / "out", running_program.pid, "--interval", "200ms") as running:
            wait_until(is_seen(running, "RSS"), "the watch to begin")
            running_program.say("exec")
            assert running_program.line().startswith("ready")
            wait_until(is_seen(running, "restart:"), "the change to be seen")
            running.interrupt()
            status = running.finish()

    assert status == 0, running.stderr
    (restart,) = valid(running)["restarts"]
    assert restart["old_pid"] == restart["new_pid"] == running_program.pid
    assert "exec" in restart["reason"]


def readings(capture: Path) -> int:
    try:
        return len(open_capture(capture).snapshots)
    except CaptureError:  # it is only being begun
        return 0


SUPERVISORD = """\
[supervisord]
nodaemon=true
user=root
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}

[program:worker]
command={worker} -scenario clean -life 5m
autorestart=true
startsecs=0
"""


@pytest.mark.skipif(
    importlib.util.find_spec("supervisor") is None,
    reason="supervisor is not installed: pip install supervisor",
)
def test_a_restart_by_supervisord_is_followed(sample, tmp_path):
    configuration = tmp_path / "supervisord.conf"
    text = SUPERVISORD.format(folder=tmp_path, worker=sample / "worker")
    if os.geteuid():
        text = text.replace("user=root\n", "")
    configuration.write_text(text)
    command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", configuration]
    with Program(command) as supervisord:
        worker = child_running(supervisord.pid, sample / "worker")
        with watching(tmp_path / "out", worker) as running:
            wait_until(is_seen(running, "RSS"), "the watch to begin")
            os.kill(worker, signal.SIGKILL)
            wait_until(is_seen(running, "restart:"), "the restart to be seen", 30)
            running.interrupt()
            status = running.finish()
    assert status == 0, running.stderr
    (restart,) = valid(running)["restarts"]
    assert restart["old_pid"] == worker
    assert told_status(restart["reason"], "killed by SIGKILL"), restart


def test_the_reason_of_an_end_right_after_the_first_reading_is_told(sample):
    """A look at the libraries follows on it, of which there are none by then."""
    readings = []
    stop = threading.Event()
    with Supervised(sample, "-scenario", "clean") as supervised:

        def progress(state):
            readings.append(state.pid)
            if len(readings) == 1:
                os.kill(supervised.worker_pid, signal.SIGKILL)
                wait_until(lambda: not Path(f"/proc/{supervised.worker_pid}").exists(), "the end")
            if state.pid not in {None, supervised.worker_pid}:
                stop.set()

        plan = WatchPlan(pid=supervised.worker_pid, duration_s=30)
        capture = watch(plan, progress=progress, stop=stop).capture

    (restart,) = analyse(capture).restarts
    assert restart.old_pid == supervised.worker_pid
    assert told_status(restart.reason, "killed by SIGKILL"), restart


def test_a_program_replaced_on_disk_is_followed_through_its_restart(sample, tmp_path):
    """As a deployment does it: the new file takes the old one's name, then a restart."""
    for name in ("supervisor", "worker"):
        shutil.copy2(sample / name, tmp_path / name)
    with (
        Supervised(tmp_path, "-scenario", "clean") as supervised,
        watching(tmp_path / "out", "--exe", tmp_path / "worker") as running,
    ):
        wait_until(is_seen(running, "RSS"), "the watch to begin")
        shutil.copy2(sample / "worker", tmp_path / "new")
        (tmp_path / "new").replace(tmp_path / "worker")
        os.kill(supervised.worker_pid, signal.SIGTERM)
        wait_until(is_seen(running, "restart:"), "the restart to be seen", 30)
        running.interrupt()
        status = running.finish()

    assert status == 0, running.stderr
    (restart,) = valid(running)["restarts"]
    assert restart["old_pid"] == supervised.worker_pid


def test_of_several_processes_of_a_program_the_newest_is_watched(sample, tmp_path):
    with (
        Worker(sample, "-scenario", "clean"),
        Worker(sample, "-scenario", "clean") as newest,
        watching(tmp_path, "--exe", sample / "worker", "--duration", "1s") as running,
    ):
        assert running.finish() == 0, running.stderr

    report = valid(running)
    assert report["target"]["pid"] == newest.pid
    assert "watch.several" in {notice["code"] for notice in report["notices"]}
