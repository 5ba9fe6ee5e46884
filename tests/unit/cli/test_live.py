"""When there is a live view, and when it is left alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cgoleak.cli import live
from cgoleak.cli.main import run_command_line
from cgoleak.cli.options import ReportOptions


class Stream:
    """Standard input or output of a terminal, or of something else."""

    def __init__(self, *, is_terminal=True):
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal

    def fileno(self):
        return 0


def options(*, quiet=False):
    return ReportOptions((), "terminal", False, 10, False, quiet, False)  # noqa: FBT003


@pytest.fixture
def terminal(monkeypatch):
    """Everything that a live view needs."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("CI", raising=False)
    streams = SimpleNamespace(stdin=Stream(), stdout=Stream(), stderr=Stream())
    monkeypatch.setattr(live, "sys", streams)
    monkeypatch.setattr(live.os, "tcgetpgrp", lambda fd: live.os.getpgrp())


def test_a_terminal_in_the_foreground_has_one(terminal):
    assert live.can_be_live(options(), wanted=True)


def test_who_wants_none_or_quiet_has_none(terminal):
    assert not live.can_be_live(options(), wanted=False)
    assert not live.can_be_live(options(quiet=True), wanted=True)


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_pipe_or_file_anywhere_is_no_terminal(terminal, monkeypatch, name):
    monkeypatch.setattr(live.sys, name, Stream(is_terminal=False))

    assert not live.can_be_live(options(), wanted=True)


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("TERM", ""), ("CI", "true")])
def test_a_terminal_that_cannot_draw_and_a_ci_job_have_none(terminal, monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert not live.can_be_live(options(), wanted=True)


def test_without_a_name_of_the_terminal_there_is_none(terminal, monkeypatch):
    monkeypatch.delenv("TERM")

    assert not live.can_be_live(options(), wanted=True)


def test_a_background_job_leaves_the_terminal_alone(terminal, monkeypatch):
    monkeypatch.setattr(live.os, "tcgetpgrp", lambda fd: live.os.getpgrp() + 1)

    assert not live.can_be_live(options(), wanted=True)


def test_a_terminal_that_is_not_ours_leaves_it_alone(terminal, monkeypatch):
    def refuse(fd):
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(live.os, "tcgetpgrp", refuse)

    assert not live.can_be_live(options(), wanted=True)


@pytest.mark.parametrize("command", [["attach", "4242"], ["attach", "4242", "--no-live"]])
def test_where_there_is_none_nobody_listens(pipeline, capsys, command):
    assert run_command_line(command) == 0

    assert pipeline.calls[0]["interim"] is None
    assert "\x1b" not in capsys.readouterr().err
