"""The live view on a terminal, over a real worker under load."""

from __future__ import annotations

import json
import re
import signal

import pytest

from support.go_programs import missing_tools
from support.hooks import hooked_slots
from support.live import Load, Worker, cgoleak_command
from support.pseudoterminal import PseudoTerminal

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]


@pytest.fixture(scope="module")
def leaking(sample):
    """A worker under load with a leak."""
    with (
        Worker(sample, "-scenario", "c-leak") as worker,
        Load(sample, worker.address, seconds=300, rate=30),
    ):
        yield worker


def attached(worker, *options, seconds="60s", columns=80, lines=24):
    command = cgoleak_command("attach", worker.pid, "--duration", seconds, "--interval", "0.5s")
    return PseudoTerminal([*command, *options], columns=columns, lines=lines)


def is_left_alone(terminal, worker):
    assert terminal.attributes() == terminal.before
    assert not terminal.is_taken
    return worker.is_running() and worker.answers() and not hooked_slots(worker.pid)


def test_a_stack_is_opened_the_view_pauses_and_q_finishes_with_the_report(leaking, tmp_path):
    report = tmp_path / "leak.json"
    with attached(leaking, "-o", report) as terminal:
        terminal.shows("histogram_new ← algo.Process.func1")  # named
        terminal.shows("NATIVE LEAK")  # and judged: with its verdict it is the first
        assert "RSS" in terminal.picture

        terminal.press("\r")
        terminal.shows("allocated from")
        assert re.search(r"C  histogram_new +algo/histogram\.c:\d+", terminal.picture)
        terminal.press("\x1b")
        terminal.wait_for(lambda: "allocated from" not in terminal.picture, "the stack to close")
        terminal.press("b")
        terminal.shows("outstanding↓")

        terminal.press("p")
        terminal.shows("PAUSED at")
        held = re.search(r"RSS +\S+ +([\d.]+ \S+)", terminal.picture)[0]
        # It goes on all the same: the clock does.
        begun = re.search(r"(\d+) s / 60 s", terminal.picture)[1]
        terminal.wait_for(
            lambda: (
                (now := re.search(r"(\d+) s / 60 s", terminal.picture))
                and int(now[1]) > int(begun) + 1
            ),
            "the clock",
        )
        assert held in terminal.picture
        terminal.press(" ")
        terminal.wait_for(lambda: "PAUSED" not in terminal.picture, "the view to go on")

        assert hooked_slots(leaking.pid)
        terminal.press("q")

        assert terminal.finish() == 0
        assert is_left_alone(terminal, leaking)
    assert "where RSS went" in terminal.printed
    assert "\n cost  target stood still for " in terminal.printed
    document = json.loads(report.read_text())
    assert any("histogram_new" in one["stack"][0]["function"] for one in document["findings"])
    assert document["window"]["seconds"] < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_terminal_and_report_back(leaking, number):
    with attached(leaking) as terminal:
        terminal.shows("where RSS went")
        terminal.signal(number)

        assert terminal.finish() == 0
        assert is_left_alone(terminal, leaking)
    assert "\n cost  target stood still for " in terminal.printed


def test_when_the_time_is_over_the_view_ends_by_itself(leaking):
    with attached(leaking, seconds="3s", columns=60, lines=15) as terminal:
        terminal.shows("where RSS went")

        assert terminal.finish() == 0
        assert is_left_alone(terminal, leaking)


def test_a_worker_that_ends_ends_the_view(sample):
    with (
        Worker(sample, "-scenario", "c-leak") as worker,
        Load(sample, worker.address, seconds=60, rate=30),
        attached(worker) as terminal,
    ):
        terminal.shows("histogram_new")
        worker.signal(signal.SIGKILL)

        assert terminal.finish() == 0
        assert terminal.attributes() == terminal.before
    assert "histogram_new" in terminal.printed


def test_an_attach_that_fails_never_takes_the_screen():
    with PseudoTerminal(cgoleak_command("attach", 2**22 - 1)) as terminal:
        assert terminal.finish() == 3
        assert terminal.attributes() == terminal.before
    assert b"\x1b[?1049h" not in terminal.sent
    assert b"error: there is no process" in terminal.sent


def test_without_the_view_there_is_a_line_of_progress(leaking):
    with attached(leaking, "--no-live", seconds="2s", columns=140) as terminal:
        assert terminal.finish() == 0
    assert b"\x1b[?1049h" not in terminal.sent
    assert b"Ctrl-C ends it and reports" in terminal.sent


def test_no_color_is_heeded(leaking):
    command = cgoleak_command("attach", leaking.pid, "--duration", "60s")
    with PseudoTerminal(command, environment={"NO_COLOR": "1"}) as terminal:
        terminal.shows("where RSS went")
        terminal.press("q")

        assert terminal.finish() == 0
    assert not re.search(rb"\x1b\[[1-9][0-9;]*m", terminal.sent)


def test_a_watch_is_shown_and_finished_in_the_same_way(leaking):
    with PseudoTerminal(cgoleak_command("watch", leaking.pid), lines=40) as terminal:
        terminal.shows("native in use")
        terminal.press("?")
        terminal.shows("finish: detach, and print the report")
        terminal.press("?q")

        assert terminal.finish() == 0
        assert is_left_alone(terminal, leaking)
    assert "watched from outside" in terminal.printed


def test_a_watch_that_hooks_shows_the_sites(sample):
    with (
        Worker(sample, "-scenario", "c-leak") as worker,
        Load(sample, worker.address, seconds=120, rate=60),
        PseudoTerminal(
            cgoleak_command("watch", worker.pid, "--attach-on-growth", "20KiB/s"), lines=40
        ) as terminal,
    ):
        terminal.shows("histogram_new ← algo.Process.func1", 60)
        terminal.press("q")

        assert terminal.finish() == 0
        assert is_left_alone(terminal, worker)
