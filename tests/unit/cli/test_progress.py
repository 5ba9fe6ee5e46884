"""What is said while a measurement runs."""

from __future__ import annotations

import io

import pytest

from cgoleak.cli import progress
from cgoleak.cli.progress import progress_words, show_progress
from support.fake_pipeline import ProgressState


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ClosedTerminal(Terminal):
    def write(self, text):
        raise OSError(5, "Input/output error")


def test_a_measurement_shows_time_left_events_and_outstanding():
    state = ProgressState(
        elapsed_s=37.2,
        duration_s=60.0,
        events=1_234_567,
        outstanding_bytes=19_293_798,
        outstanding_blocks=18_640,
    )

    assert progress_words(state) == (
        "22.8 s left · 1 234 567 events · 18.4 MiB outstanding in 18 640 blocks"
    )


def test_an_open_end_shows_the_time_so_far():
    assert progress_words(ProgressState(elapsed_s=5.0, duration_s=None)).startswith("5 s so far")


def test_the_time_left_is_never_negative():
    assert progress_words(ProgressState(elapsed_s=61.0)).startswith("0 s left")


def test_other_phases_are_named():
    assert progress_words(ProgressState(phase="detaching")) == "detaching"


def test_a_pipe_gets_a_line_per_phase_and_one_now_and_then(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", stream)

    with show_progress("pid 1", quiet=False, live=True, every_s=10) as show:
        for state in (
            ProgressState(phase="attaching"),
            *(ProgressState(elapsed_s=second / 5) for second in range(125)),
            ProgressState(phase="detaching"),
            ProgressState(phase="detaching"),
        ):
            show(state)

    lines = stream.getvalue().splitlines()
    assert [line.partition(" · ")[0] for line in lines] == [
        "cgoleak: pid 1: attaching",
        "cgoleak: pid 1: 50 s left",
        "cgoleak: pid 1: 40 s left",
        "cgoleak: pid 1: detaching",
    ]


def test_a_terminal_gets_one_line_that_is_redrawn_and_removed(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")

    with show_progress("pid \x1b[2J", quiet=False, live=True) as show:
        show(ProgressState(elapsed_s=1.0))
        show(ProgressState(elapsed_s=2.0))

    text = stream.getvalue()
    assert "58 s left" in text
    assert "pid \\x1b[2J" in text
    assert text.count("\n") <= 1


@pytest.mark.parametrize("live", [True, False])
def test_a_terminal_that_was_closed_does_not_end_the_measurement(monkeypatch, live):
    monkeypatch.setattr(progress.sys, "stderr", ClosedTerminal())

    with show_progress("pid 1", quiet=False, live=live) as show:
        show(ProgressState(elapsed_s=20.0))
        show(ProgressState(phase="detaching"))


def test_quiet_asks_for_no_progress():
    with show_progress("pid 1", quiet=True, live=True) as show:
        assert show is None
