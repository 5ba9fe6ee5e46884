"""What cannot be measured is refused with a clear error and status 3, and lives on untouched."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cgoleak.cli.main import run_command_line
from cgoleak.errors import TargetBusy
from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.entry.orders import Order
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.target.kernel.mark import find_mark
from cgoleak.target.kernel.memory import Memory
from support.go_programs import go_commands, missing_tools
from support.hooks import footprint

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

PTRACE_SEIZE = 0x4206

PURE = 'package main\nimport "time"\nfunc main() { time.Sleep(time.Hour) }\n'
WITH_C = """\
package main

// #include <stdlib.h>
// #include <unistd.h>
import "C"

func main() {
	C.free(C.malloc(8))
	for {
		C.usleep(10000)
	}
}
"""

FREESTANDING = """\
static const long hour[2] = {3600, 0};

void _start(void) {
#if defined(__x86_64__)
	long result = 35;
	__asm__ volatile("syscall" : "+a"(result) : "D"(hour), "S"(0L) : "rcx", "r11", "memory");
#else
	register long x8 __asm__("x8") = 101, x0 __asm__("x0") = (long)hour, x1 __asm__("x1") = 0;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
#endif
	for (;;) {}
}
"""


def build(folder: Path, source: str, *flags: str, cgo: bool = True) -> Path:
    folder.mkdir()
    (folder / "main.go").write_text(source)
    (folder / "go.mod").write_text("module worker\n\ngo 1.19\n")
    settings = {"CGO_ENABLED": str(int(cgo)), "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    subprocess.run(
        [go_commands()[0], "build", "-o", "worker", *flags, "."],
        cwd=folder,
        env=os.environ | settings,
        check=True,
        capture_output=True,
    )
    return folder / "worker"


def build_freestanding(folder: Path) -> Path:
    """A dynamic program without any library."""
    source, program = folder / "freestanding.c", folder / "freestanding"
    source.write_text(FREESTANDING)
    flags = ("-O2", "-nostdlib", "-ffreestanding", "-fpie", "-pie")
    subprocess.run(["gcc", *flags, "-o", program, source], check=True, timeout=60)
    return program


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    static = "-ldflags=-s -linkmode external -extldflags -static"
    return {
        "pure": build(folder / "pure", PURE, cgo=False),
        "static": build(folder / "static", WITH_C, static),
        "dynamic": build(folder / "dynamic", WITH_C),
        # The loader is there, a C library is not.
        "dynamic-pure": build(folder / "dynamic-pure", PURE, "-buildmode=pie", cgo=False),
        "freestanding": build_freestanding(folder),
        "sleep": Path(shutil.which("sleep") or "/bin/sleep"),
    }


@contextmanager
def running(program: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([program, *arguments])
    try:
        wait_until_idle(process)
        yield process
    finally:
        # Not Popen.kill: it asks waitpid first, which takes a stop of what we trace for its end.
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_idle(process: subprocess.Popen[bytes]) -> None:
    """Wait until the main thread sleeps: everything is loaded and mapped then."""
    deadline = time.monotonic() + 10
    while state_of(process.pid) != "S":
        assert time.monotonic() < deadline, "the program does not come to rest"
        os.sched_yield()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def attach(pid: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cgoleak", "attach", str(pid), "--duration", "1s"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("static", (), "is a static program"),
        ("pure", (), "contains no C code"),
        ("dynamic-pure", (), "contains no C code"),
        ("freestanding", (), "is not a Go program"),
        ("sleep", ("60",), "is not a Go program"),
    ],
)
def test_a_program_that_cannot_be_measured_is_refused(programs, program, arguments, words):
    with running(programs[program], *arguments) as process:
        before = footprint(process.pid)

        answer = attach(process.pid)

        assert answer.returncode == 3
        assert answer.stdout == ""
        assert f"error: process {process.pid} {words}" in answer.stderr
        assert "  cause: " in answer.stderr
        assert "  fix: " in answer.stderr
        assert "Traceback" not in answer.stderr
        assert footprint(process.pid) == before
        assert process.poll() is None


def test_a_pid_that_is_gone_is_refused():
    process = subprocess.Popen(["true"])
    process.wait()

    answer = attach(process.pid)

    assert answer.returncode == 3
    assert f"error: there is no process {process.pid}" in answer.stderr


def test_a_process_that_has_ended_but_is_not_collected_is_refused():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    answer = attach(process.pid)

    process.wait()
    assert answer.returncode == 3
    assert f"error: process {process.pid} has ended" in answer.stderr
    assert "  cause: it is a zombie" in answer.stderr


def test_cgoleak_refuses_to_measure_itself():
    answer = subprocess.run(
        ["sh", "-c", 'exec "$0" -m cgoleak attach $$', sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode == 3
    assert "is cgoleak itself" in answer.stderr
    assert "  fix: " in answer.stderr


def test_a_thread_is_refused_and_its_process_is_named(programs):
    with running(programs["dynamic"]) as process:
        before = footprint(process.pid)
        threads = {int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()}
        thread = max(threads - {process.pid})

        answer = attach(thread)

        assert answer.returncode == 3
        assert f"error: {thread} is a thread, not a process" in answer.stderr
        assert f"use {process.pid} instead" in answer.stderr
        assert footprint(process.pid) == before


def test_a_traced_process_is_refused_and_stays_traced(programs):
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    with running(programs["dynamic"]) as process:
        assert ptrace(PTRACE_SEIZE, process.pid, None, None) == 0
        before = footprint(process.pid)

        answer = attach(process.pid)

        assert answer.returncode == 3
        assert f"error: process {process.pid} is already traced" in answer.stderr
        assert f"by process {os.getpid()} (" in answer.stderr
        assert footprint(process.pid) == before


def test_a_stopped_process_is_refused_and_stays_stopped(programs):
    with running(programs["dynamic"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

        answer = attach(process.pid)

        assert answer.returncode == 3
        assert f"error: process {process.pid} is stopped" in answer.stderr
        assert state_of(process.pid) == "T"


def test_what_the_process_became_after_it_was_looked_at_is_left_alone():
    """Between the look and the way in it may exec; nothing that was found holds for what comes."""
    script = "echo; read word; exec sleep 60"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            with Memory(process.pid) as memory:
                mark = find_mark(process.pid, memory)
            assert mark is not None
            surveyed = {"mark_at": mark.address, "mark": mark.content.hex()}
            nothing = {"risky": [], "risky_data": [], "returns": []}
            order = Order(
                pid=process.pid,
                image=str(load_artifact().path),
                start=0,
                **{
                    "held": False,
                    "namespaced": False,
                    "arch": platform.machine(),
                    **nothing,
                    **surveyed,
                },
            )
            process.stdin.write(b"go\n")
            process.stdin.flush()
            wait_for_program(process.pid, "sleep")
            before = footprint(process.pid)

            with Injector() as injector, pytest.raises(TargetBusy) as refused:
                injector.inject(order)

            assert "another program" in str(refused.value.cause)
            assert footprint(process.pid) == before
            assert state_of(process.pid) == "S"
        finally:
            process.kill()


def wait_for_program(pid: int, name: str) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/comm").read_text().strip() != name:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_users_process_is_refused_to_an_unprivileged_user(programs, tmp_path):
    """Forked, since the other user may not be able to read this checkout and its Python."""
    for name in (
        "cli.main",
        "cli.attach",
        "probe.entry.injector",
        "probe.session",
        "probe.recorder",
    ):
        import_module(f"cgoleak.{name}")
    told = tmp_path / "stderr"
    with running(programs["dynamic"]) as process, told.open("w") as stderr:
        before = footprint(process.pid)

        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.dup2(stderr.fileno(), 2)
                sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                status = run_command_line(["attach", str(process.pid), "--quiet"])
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)

        text = told.read_text()
        assert os.waitstatus_to_exitcode(ended) == 3, text
        assert f"error: cannot trace process {process.pid} (worker)" in text
        assert "cause: it belongs to user root, and we are" in text
        assert f"sudo cgoleak attach {process.pid}" in text
        assert footprint(process.pid) == before
