"""``cgoleak watch``: what is asked for, and what is said meanwhile."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from cgoleak import watching
from cgoleak.cli.main import run_command_line
from cgoleak.cli.watchlines import restart_words, show_watch, state_words
from cgoleak.errors import NoSuchProcess
from cgoleak.model.report import GoReturn, Restart
from cgoleak.units import parse_rate
from cgoleak.watching import WatchState
from support.builders import go_memory, process_memory

MIB = 1 << 20


@pytest.fixture
def plans(monkeypatch):
    """What the watch was asked; it then finds no process."""
    asked = []

    def watch(plan, *, capture, progress, stop, interim=None):
        asked.append(plan)
        raise NoSuchProcess("there is none")

    monkeypatch.setattr(watching, "watch", watch)
    return asked


def test_a_pid_is_watched_each_second_until_ctrl_c(plans, capsys):
    assert run_command_line(["watch", "4242"]) == 3

    (plan,) = plans
    assert (plan.pid, plan.exe, plan.interval_s, plan.duration_s) == (4242, None, 1.0, None)
    assert plan.attach_on_growth is None


def test_a_program_is_watched_by_its_path(plans, capsys):
    run_command_line(
        [
            "watch",
            "--exe",
            "/srv/worker",
            "--interval",
            "5s",
            "--duration",
            "1h",
            "--attach-on-growth",
            "200KiB/s",
            "--attach-duration",
            "2m",
        ]
    )

    (plan,) = plans
    assert (plan.pid, plan.exe) == (None, Path("/srv/worker"))
    assert (plan.interval_s, plan.duration_s) == (5.0, 3600.0)
    assert (plan.attach_on_growth, plan.attach_s) == (200 * 1024, 120.0)
    assert (plan.sample_bytes, plan.max_overhead) == (None, 0.05)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["4242", "--exe", "/srv/worker"],
        ["4242", "--attach-on-growth", "much"],
        ["4242", "--attach-on-growth", "0"],
        ["4242", "--interval", "0"],
        ["4242", "--max-overhead", "5"],
    ],
)
def test_wrong_use_is_told_before_anything_is_watched(plans, arguments, capsys):
    assert run_command_line(["watch", *arguments]) == 2
    assert plans == []
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("200KiB/s", 204_800),
        ("200 KB/s", 200_000),
        ("1.5M", 1.5 * MIB),
        ("60MiB/min", MIB),
        ("1GiB/h", (1 << 30) / 3600),
        ("512", 512),
        ("512B/s", 512),
        ("KiB/s", None),
        ("-1KiB/s", None),
        ("1KiB/day", None),
        ("1 XiB/s", None),
        ("", None),
    ],
)
def test_rates_are_written_with_their_units(text, bytes_per_second):
    assert parse_rate(text) == (bytes_per_second and pytest.approx(bytes_per_second))


def a_state(*, back=None, go=True, restarts=0, restart=None, phase="watching"):
    return WatchState(
        phase=phase,
        elapsed_s=5.0,
        duration_s=None,
        pid=4242,
        process=process_memory(rss=120 * MIB),
        go=go_memory(heap_in_use=30 * MIB, heap_free=50 * MIB) if go else None,
        native_bytes=40 * MIB,
        go_return=back,
        restarts=restarts,
        restart=restart,
    )


def returning(size, within):
    return GoReturn(50 * MIB, size * MIB, (50 - size) * MIB, within, "why")


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (returning(45, (0.0, 125.0)), "45.0 MiB returns within about 2 min 5 s"),
        (returning(45, None), "45.0 MiB to return, no telling when"),
        (returning(0, None), "stays for reuse"),
    ],
)
def test_the_line_says_where_rss_is_and_what_go_hands_back(back, words):
    assert state_words(a_state(back=back, restarts=2)) == (
        "pid 4242 · RSS 120 MiB · Go in use 30.0 MiB · "
        f"Go held back 50.0 MiB ({words}) · native 40.0 MiB · 2 restarts"
    )


def test_without_gos_numbers_the_line_is_shorter():
    assert state_words(a_state(go=False)) == "pid 4242 · RSS 120 MiB · native 40.0 MiB"


def test_while_nothing_runs_the_line_says_so():
    waiting = WatchState("waiting", 1.0, None, restarts=1)

    assert state_words(waiting) == "nothing runs; waiting for it to be started · 1 restart"


RESTART = Restart(12.5, 4242, 4310, "killed by \x1b[31mSIGKILL", 800 * MIB, 40 * MIB)


def test_a_restart_has_a_line_of_its_own():
    assert restart_words(RESTART) == (
        "pid 4242 killed by \\x1b[31mSIGKILL; pid 4310 took its place; RSS 800 MiB → 40.0 MiB"
    )


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch, stream, *states, term="xterm"):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    with show_watch("pid 4242", quiet=False) as progress:
        for state in states:
            progress(state)
    return stream.getvalue()


def test_in_a_pipe_lines_are_few_and_stay(monkeypatch):
    text = shown(monkeypatch, io.StringIO(), *[a_state()] * 50, a_state(restart=RESTART))

    first, second = text.splitlines()
    assert first.startswith("cgoleak: pid 4242: RSS 120 MiB · ")
    assert second.startswith("cgoleak: pid 4242: restart: pid 4242 killed")
    assert "\r" not in text


def test_on_a_terminal_the_line_is_redrawn_and_restarts_stay(monkeypatch):
    text = shown(monkeypatch, Screen(), a_state(), a_state(restart=RESTART))

    assert text.count("\n") == 1
    assert text.endswith("\r\x1b[K")
    assert all(len(line) <= 90 for line in text.split("\r") if "restart" not in line)


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    assert "\x1b" not in shown(monkeypatch, Screen(), a_state(), term="dumb")


def test_a_terminal_that_was_closed_does_not_end_the_watch(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with show_watch("x", quiet=False) as progress:
        stream.close()
        progress(a_state(restart=RESTART))


def test_quiet_shows_nothing():
    with show_watch("x", quiet=True) as progress:
        assert progress is None
