"""The terminal is given back as it was, whatever happens; tried on a real one (a pty)."""

from __future__ import annotations

import os
import signal
import sys
import termios

import pytest

from cgoleak.cli import fullscreen
from support.pseudoterminal import ALTERNATE, PseudoTerminal

PROGRAM = r"""
import os, sys, threading
from cgoleak.cli.fullscreen import FullScreen
how = sys.argv[1]
over = threading.Event()
def draw():
    while not over.is_set():
        columns, lines = screen.size
        screen.draw([f"{columns}x{lines} {got!r}".encode()])
        got.extend(screen.read(0.05).decode())
got = []
with FullScreen() as screen:
    thread = threading.Thread(target=draw)
    thread.start()
    try:
        while "q" not in got:
            over.wait(0.02)
        if how == "error":
            raise ValueError("meant")
    finally:
        over.set()
        thread.join()
print("after", flush=True)
"""


def screen(how="end"):
    return PseudoTerminal([sys.executable, "-c", PROGRAM, how])


def is_cooked(terminal):
    return bool(terminal.attributes()[3] & termios.ICANON)


def test_keys_come_one_by_one_and_are_not_shown():
    with screen() as terminal:
        terminal.shows("80x24 []")
        terminal.press("ab")
        terminal.shows("['a', 'b']")

        assert terminal.is_taken
        assert not terminal.attributes()[3] & (termios.ICANON | termios.ECHO)
        assert terminal.attributes()[3] & termios.ISIG


@pytest.mark.parametrize(("how", "status"), [("end", 0), ("error", 1)])
def test_at_the_end_and_at_an_error_it_is_as_before(how, status):
    with screen(how) as terminal:
        terminal.shows("80x24 []")
        terminal.press("q")

        assert terminal.finish() == status
        assert terminal.attributes() == terminal.before
        assert not terminal.is_taken
        assert terminal.sent.count(ALTERNATE) == 1
        assert ("ValueError: meant" if how == "error" else "after") in terminal.printed


def test_another_size_is_seen():
    with screen() as terminal:
        terminal.shows("80x24 []")
        terminal.resize(60, 15)
        terminal.shows("60x15 []")


def test_a_quit_signal_still_ends_the_program_but_not_the_terminal():
    with screen() as terminal:
        terminal.shows("80x24 []")
        terminal.press("\x1c")  # Ctrl-\

        assert terminal.finish() == -signal.SIGQUIT
        assert terminal.attributes() == terminal.before
        assert not terminal.is_taken


SHELL = r"""
import os, signal, subprocess, sys
# A shell with one job: in a process group of its own, in the foreground.
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def own_group():
    os.setpgid(0, 0)
job = subprocess.Popen(sys.argv[1:], preexec_fn=own_group)
os.tcsetpgrp(0, job.pid)
_, status = os.waitpid(job.pid, os.WUNTRACED)
os.tcsetpgrp(0, os.getpgrp())
print("stopped" if os.WIFSTOPPED(status) else "ended", flush=True)
if sys.stdin.readline() == "fg\n":
    os.tcsetpgrp(0, job.pid)
os.kill(job.pid, signal.SIGCONT)
try:
    _, status = os.waitpid(job.pid, 0)
except KeyboardInterrupt:
    job.kill()
    raise
os.tcsetpgrp(0, os.getpgrp())
print("job:", os.waitstatus_to_exitcode(status), flush=True)
"""


def job():
    program = [sys.executable, "-c", PROGRAM, "end"]
    return PseudoTerminal([sys.executable, "-c", SHELL, *program])


def test_a_stop_gives_the_terminal_to_the_shell_and_the_foreground_takes_it_again():
    with job() as terminal:
        terminal.shows("80x24 []")
        terminal.press("\x1a")  # Ctrl-Z
        terminal.wait_for(lambda: "stopped" in terminal.printed, "the stop")
        assert terminal.attributes() == terminal.before
        assert not terminal.is_taken

        terminal.press("fg\n")
        terminal.wait_for(lambda: terminal.is_taken, "the screen again")
        terminal.press("xq")

        assert terminal.finish() == 0
        assert "job: 0" in terminal.printed
        assert terminal.attributes() == terminal.before


def test_in_the_background_it_does_not_touch_the_terminal():
    with job() as terminal:
        terminal.shows("80x24 []")
        terminal.press("\x1a")
        terminal.wait_for(lambda: "stopped" in terminal.printed, "the stop")
        drawn = len(terminal.sent)
        terminal.press("bg\n")
        with pytest.raises(AssertionError, match="waited for"):
            terminal.wait_for(lambda: terminal.is_taken, "nothing", 1.0)

        assert is_cooked(terminal)
        assert terminal.sent[drawn:].strip() == b"bg"


def test_without_a_terminal_there_is_no_screen(monkeypatch):
    monkeypatch.setattr(fullscreen, "_TERMINAL", os.devnull + ".none")
    with pytest.raises(OSError, match="No such file"):
        fullscreen.FullScreen()
