"""Why a process ended."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from cgoleak.target.ending import Ending, reason_words
from support.lineage import Lineage

NOT_BY_OOM = ", not by the OOM killer"


@pytest.fixture
def proc(tmp_path):
    tree = Lineage(tmp_path)
    tree.start(200, cgroup="/box")
    tree.count_oom_kills("/box", 3)
    return tree


def ending_of(proc):
    return Ending(200, proc.root, cgroups=proc.cgroups, kernel_log=proc.kernel_log)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3 << 8, "exited with status 3"),
        (signal.SIGTERM, "killed by SIGTERM"),
        (signal.SIGSEGV | 0x80, "killed by SIGSEGV (core dumped)"),
        (signal.SIGKILL, "killed by SIGKILL" + NOT_BY_OOM),
        (60, "killed by signal 60"),
    ],
)
def test_a_zombie_tells_its_status(proc, status, words):
    with ending_of(proc) as ending:
        assert not ending.wait(0)
        proc.die(200, int(status))

        assert ending.wait(0)
        assert ending.reason() == words


def test_an_oom_kill_of_the_cgroup_explains_a_sigkill(proc):
    with ending_of(proc) as ending:
        proc.count_oom_kills("/box", 4)
        proc.die(200, signal.SIGKILL)
        ending.wait(0)

        assert ending.reason() == "killed by the OOM killer"


def test_an_oom_kill_of_the_cgroup_does_not_explain_an_exit(proc):
    with ending_of(proc) as ending:
        proc.count_oom_kills("/box", 4)
        proc.die(200, 1 << 8)
        ending.wait(0)

        assert ending.reason() == "exited with status 1"


def test_the_kernels_log_names_the_victim(proc):
    proc.log("Out of memory: Killed process 200 (worker) total-vm:99kB")  # its forerunner
    with ending_of(proc) as ending:
        proc.end(200)
        proc.log("Memory cgroup out of memory: Killed process 2000 (other) total-vm:1kB")
        assert ending.wait(0)

        assert ending.reason() == "ended, reason unknown"
        proc.log("Memory cgroup out of memory: Killed process 200 (worker) total-vm:1kB")
        assert ending.reason() == "killed by the OOM killer"


def test_without_a_status_an_oom_kill_of_the_cgroup_is_only_probable(proc):
    with ending_of(proc) as ending:
        proc.count_oom_kills("/box", 4)
        proc.end(200)
        ending.wait(0)

        assert ending.reason().startswith("probably killed by the OOM killer")


def test_what_cannot_be_found_out_is_called_unknown(tmp_path):
    tree = Lineage(tmp_path)
    tree.start(200)
    with Ending(200, tree.root, cgroups=tmp_path / "no", kernel_log=tmp_path / "no") as ending:
        tree.end(200)
        assert ending.wait(0)

        assert ending.reason() == "ended, reason unknown"


def test_a_sigkill_without_a_count_is_not_said_to_be_no_oom_kill():
    assert reason_words(signal.SIGKILL, oom_counted=None, oom_logged=False) == "killed by SIGKILL"


@pytest.mark.parametrize(
    ("how", "words"),
    [("os._exit(3)", "exited with status 3"), ("os.kill(os.getpid(), 9)", "killed by SIGKILL")],
)
def test_a_real_process_that_its_parent_has_reaped_may_still_be_told(how, words):
    """Linux 6.15 keeps the status for holders of a pidfd; before it is called unknown."""
    code = f"import os, sys; sys.stdin.read(); {how}"
    with (
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child,
        Ending(child.pid) as ending,
    ):
        assert not ending.wait(0)
        child.communicate()

        assert ending.wait(10)
        reason = ending.reason()

    assert reason.startswith(words) or (reason == "ended, reason unknown" and release() < (6, 15))


def test_a_process_that_is_reaped_while_the_kernel_is_asked_is_asked_for_once_more(monkeypatch):
    """``pidfd_info`` finds neither a status nor a process if the parent reaps in between."""
    ask, refused = fcntl.ioctl, []

    def reaped_meanwhile(*arguments):
        if not refused:
            refused.append(True)
            raise ProcessLookupError(errno.ESRCH, "")
        return ask(*arguments)

    monkeypatch.setattr(fcntl, "ioctl", reaped_meanwhile)
    with subprocess.Popen(["sleep", "60"]) as child, Ending(child.pid) as ending:
        child.kill()
        child.wait()
        assert ending.wait(10)
        reason = ending.reason()

    assert refused
    assert reason.startswith("killed by SIGKILL") or release() < (6, 15)


def release():
    return tuple(int(word) for word in os.uname().release.split("-")[0].split(".")[:2])
