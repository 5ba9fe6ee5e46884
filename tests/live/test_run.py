"""``cgoleak run -- CMD``: from the first instruction to the last, and CMD none the wiser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cgoleak.capture.reader import open_capture
from cgoleak.render.contract.document import schema_text
from support.findings import findings_at, is_called, leaks, reported
from support.go_programs import go_commands, missing_tools
from support.live import Cgoleak, Http, Load, cgoleak, cgoleak_command, child_running, wait_until
from support.live_programs import EARLY, build_program
from support.sample import scenarios
from support.tallies import MORE_CALLS, seen_by_counter

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ALL_BLOCKS = {"in_constructor": (1, 4321), "in_go_init": (1, 1234), "in_main": (5, 5 * 777)}


@pytest.fixture(scope="module")
def early(tmp_path_factory) -> Path:
    return build_program(tmp_path_factory.mktemp("early"), go_commands()[0], EARLY)


def run(folder: Path, *command: object, words: str = "") -> tuple[Any, dict[str, Any]]:
    """Run a command to its end under cgoleak; give what subprocess says, and the report."""
    report = folder / "report.json"
    done = subprocess.run(
        cgoleak_command("run", "-o", report, "--", *command),
        input=words,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, json.loads(report.read_text()) if report.exists() else {}


def outstanding(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Sum blocks and bytes per function of ``ALL_BLOCKS``."""
    found: dict[str, tuple[int, int]] = {}
    for one in report["findings"]:
        for name in ALL_BLOCKS:
            if any(is_called(frame["function"], name) for frame in one["stack"]):
                blocks, size = found.get(name, (0, 0))
                found[name] = blocks + one["outstanding_blocks"], size + one["outstanding_bytes"]
    return found


@pytest.mark.parametrize(
    ("how", "status"),
    [("0", 0), ("3", 3), ("sigkill", 128 + 9), ("sigsegv", 128 + 11), ("panic", 2)],
)
def test_however_it_ends_the_status_is_passed_on_and_every_block_is_there(
    early, tmp_path, how, status
):
    """Blocks of a constructor, from before any Go code, are among them."""
    done, report = run(tmp_path, early, how)

    assert done.returncode == status, done.stderr
    jsonschema.validate(report, json.loads(schema_text()))
    assert outstanding(report) == ALL_BLOCKS, reported(report)


def test_standard_input_and_output_are_the_commands_own(early, tmp_path):
    done, _ = run(tmp_path, early, "0", words="line one\nline two")

    assert done.stdout == "words of the command\nline one\nline two"


def test_errors_of_the_command_reach_standard_error(early, tmp_path):
    done, _ = run(tmp_path, early, "panic")

    assert "panic: meant" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_is_not_there_is_an_error(tmp_path):
    done, report = run(tmp_path, tmp_path / "nothing")

    assert (done.returncode, done.stdout, report) == (3, "", {})
    assert f"error: cannot start {tmp_path / 'nothing'}" in done.stderr
    assert "  cause: No such file or directory" in done.stderr
    assert "  fix: " in done.stderr


def test_a_command_that_may_not_be_executed_is_an_error(tmp_path):
    text = tmp_path / "text"
    text.write_text("not a program\n")

    done, report = run(tmp_path, text)

    assert (done.returncode, report) == (3, {})
    assert "  cause: Permission denied" in done.stderr


def test_a_command_that_cannot_be_measured_is_ended_before_it_does_anything(tmp_path):
    left = tmp_path / "left-behind"

    done, report = run(tmp_path, "touch", left)

    assert (done.returncode, report) == (3, {})
    assert "is not a Go program" in done.stderr
    assert not left.exists()


def test_wrong_use_is_told_from_a_failing_command():
    assert cgoleak("run").returncode == 2


class Served(Http):
    def __init__(self, address: str) -> None:
        self.address = address


def test_a_leak_is_named_with_exact_numbers_although_the_worker_was_killed(sample, tmp_path):
    """The same as with attach, from the first instruction; SIGKILL leaves no time for anything."""
    scenario = next(one for one in scenarios() if one.name == "c-leak")
    options = ("--interval", "1s", "--exact")
    command = ("--", sample / "worker", *scenario.worker, "-life", "5m")
    with ExitStack() as stack:
        watching = stack.enter_context(Cgoleak(tmp_path, "run", *options, *command))
        assert watching.process.stdout is not None
        worker = child_running(watching.pid, sample / "worker")
        stack.callback(end, worker)
        said = watching.process.stdout.readline().decode().split()
        assert said[0] == "listening"
        served = Served(said[1])
        with Load(sample, served.address, seconds=14) as load:
            assert load.answered()["errors"] == 0
        counters = served.counters()
        os.kill(worker, signal.SIGKILL)
        status = watching.finish()

    assert status == 128 + 9, watching.stderr
    report = watching.report()
    (site,) = scenario.leaking
    (found,) = findings_at(report, site)
    assert found["verdict"] == "native-leak", reported(report)
    assert leaks(report) == [found], reported(report)
    assert found["outstanding_blocks"] == counters["histogram_new"]["blocks"]
    assert found["outstanding_bytes"] == counters["histogram_new"]["bytes"]
    seen = seen_by_counter(open_capture(watching.capture_file), counters)
    for name in counters.keys() - MORE_CALLS:
        assert (name, seen[name]) == (name, counters[name])


def end(pid: int) -> None:
    """End a worker whose parent may be gone."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), "the worker to end")
