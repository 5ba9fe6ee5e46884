"""A process whose threads run, wait and get signals: it stands still for a moment, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cgoleak.errors import NotPermitted, TargetBusy
from cgoleak.probe.stopped import standstill
from cgoleak.probe.stopped.edits import CodeMemory, Edit
from cgoleak.probe.stopped.ptrace import Request, request
from cgoleak.probe.stopped.standstill import while_standing
from support.elf_build import build
from support.fake_target import a_child, state_of

pytestmark = pytest.mark.native

SOURCE = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile unsigned long counted, handled;
static void on_signal(int number) { (void)number; __sync_fetch_and_add(&handled, 1); }
static void *run(void *unused) { for (;;) counted++; return unused; }
static void *rest(void *unused) { for (;;) usleep(100); return unused; }
static void *brief(void *unused) { return unused; }
static void *breed(void *unused) {
    for (;;) {
        pthread_t child;
        if (pthread_create(&child, NULL, brief, NULL) == 0) pthread_join(child, NULL);
    }
    return unused;
}
int main(int argc, char **argv) {
    pthread_t thread;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGRTMIN, &action, NULL);
    pthread_create(&thread, NULL, run, NULL);
    pthread_create(&thread, NULL, rest, NULL);
    if (argc > 1) pthread_create(&thread, NULL, breed, NULL);
    for (;;) {
        char line[32];
        if (fgets(line, sizeof line, stdin) == NULL) return 0;
        if (line[0] == 'v' && vfork() == 0) { sleep(3); _exit(0); }
        printf("%lu %lu %p\n", counted, handled, (void *)&counted);
        fflush(stdout);
    }
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("threads"), "threads", SOURCE, "-O1", "-pthread")


class Threads:
    """The program at work."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def ask(self, word="n"):
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()
        counted, handled, at = self.process.stdout.readline().split()
        return int(counted), int(handled), int(at, 16)

    def states(self):
        found = set()
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                found.add((thread / "stat").read_text().rpartition(")")[2].split()[0])
            except OSError:
                continue
        return found


@contextmanager
def at_work(*command):
    running = Threads(*command)
    with running.process:  # closes its pipes
        try:
            running.ask()
            yield running
        finally:
            running.process.kill()


@pytest.fixture(params=[(), ("breed",)], ids=["steady", "breeding"])
def threads(built, request):
    with at_work(built, *request.param) as running:
        yield running


@pytest.fixture
def steady(built):
    with at_work(built) as running:
        yield running


def goes_on(threads):
    """Tell if it counts; on a busy machine its turn may be long in coming."""
    counted = threads.ask()[0]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if threads.ask()[0] > counted:
            return True
        time.sleep(0.01)
    return False


def test_nothing_moves_in_the_meantime_and_all_goes_on_after_it(threads):
    _, _, at = threads.ask()
    fd = os.open(f"/proc/{threads.pid}/mem", os.O_RDONLY)

    def look():
        states, before = threads.states(), os.pread(fd, 8, at)
        time.sleep(0.05)
        return states, before == os.pread(fd, 8, at)

    states, is_same = while_standing(threads.pid, look)

    os.close(fd)
    assert states <= {"t", "Z", "X"}
    assert is_same
    assert goes_on(threads)
    assert "t" not in threads.states()


def test_no_signal_is_lost(threads):
    for _ in range(20):
        os.kill(threads.pid, signal.SIGRTMIN)
        while_standing(threads.pid, lambda: os.kill(threads.pid, signal.SIGRTMIN))

    deadline = time.monotonic() + 5
    while (handled := threads.ask()[1]) < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert handled == 40


def all_stopped(process):
    deadline = time.monotonic() + 5
    while process.states() != {"T"}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def test_a_stopped_process_stays_stopped(steady):
    os.kill(steady.pid, signal.SIGSTOP)
    assert all_stopped(steady)

    assert while_standing(steady.pid, lambda: 7) == 7

    # Each thread goes back into the stop by itself, as soon as it has its turn.
    assert all_stopped(steady)
    time.sleep(0.05)
    assert steady.states() == {"T"}
    os.kill(steady.pid, signal.SIGCONT)
    assert steady.ask()[0] > 0


def test_a_tracer_that_is_killed_lets_go(threads):
    child = os.fork()
    if child == 0:
        while_standing(threads.pid, lambda: time.sleep(60))
    deadline = time.monotonic() + 5
    while not threads.states() <= {"t", "Z"} and time.monotonic() < deadline:
        time.sleep(0.005)

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert goes_on(threads)


def test_what_the_work_raises_comes_out_and_lets_go(threads):
    def fail():
        raise ValueError("meant")

    with pytest.raises(ValueError, match="meant"):
        while_standing(threads.pid, fail)

    assert threads.ask()[0] > 0


def test_a_thread_that_cannot_stop_is_waited_for_in_vain_and_all_run_on(steady, monkeypatch):
    monkeypatch.setattr(standstill, "_STANDING_S", 0.05)
    steady.process.stdin.write(b"v\n")
    steady.process.stdin.flush()
    deadline = time.monotonic() + 5
    while state_of(steady.pid) != "D" and time.monotonic() < deadline:
        time.sleep(0.001)

    with pytest.raises(TargetBusy):
        while_standing(steady.pid, lambda: None)

    assert int(steady.process.stdout.readline().split()[0]) > 0  # when the child has ended
    assert "t" not in steady.states()


def test_a_process_that_is_traced_is_refused():
    with a_child("sleep", "30") as pid:
        request(Request.SEIZE, pid)
        with pytest.raises(NotPermitted):
            while_standing(pid, lambda: None)


def test_the_exit_status_of_a_child_of_ours_is_left_to_others(steady):
    steady.process.stdin.close()  # it ends
    deadline = time.monotonic() + 5
    while state_of(steady.pid) != "Z" and time.monotonic() < deadline:
        while_standing(steady.pid, lambda: None)

    assert steady.process.wait(5) == 0


def test_edits_are_made_where_the_old_bytes_are_and_nowhere_else(steady):
    _, _, at = steady.ask()
    unused = at - at % 4096  # the page of its data
    with CodeMemory(steady.pid) as memory:
        fd = os.open(f"/proc/{steady.pid}/mem", os.O_RDONLY)
        old = os.pread(fd, 4, unused)
        edit, foreign = Edit(unused, old, b"ABCD"), Edit(unused + 4, b"none", b"EFGH")
        before = os.pread(fd, 4, unused + 4)

        assert memory.apply([edit, foreign]) == (edit,)
        assert (os.pread(fd, 4, unused), os.pread(fd, 4, unused + 4)) == (b"ABCD", before)
        assert memory.apply([edit.undone]) == (edit.undone,)
        assert os.pread(fd, 4, unused) == old
        os.close(fd)
