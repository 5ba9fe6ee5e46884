"""``cgoleak check`` on real programs: status, verdict, and nothing between CMD and its world."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from cgoleak.capture.reader import open_capture
from support.findings import reported
from support.go_programs import go_commands, missing_tools
from support.live import Worker, cgoleak, cgoleak_command, child_running, ended, wait_until
from support.live_programs import build_program

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ENDS: Final = {
    "main.go": r"""
package main

/*
#include <stdlib.h>
static void *volatile kept;
static void keep(void) { kept = malloc(111); }
static void *lose(void) { return malloc(222); }
static void die(void) { *(volatile int *)8 = 1; }
static void leave(void) { exit(0); }
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func work(n int) {
	C.keep()
	for i := 0; i < n; i++ {
		C.lose()
	}
}

func main() {
	blocks := 7
	if len(os.Args) > 2 {
		blocks = 0
	}
	work(blocks)
	switch os.Args[1] {
	case "return":
	case "exit-3":
		os.Exit(3)
	case "exit-in-c":
		C.leave()
	case "panic":
		panic("meant")
	case "segv":
		C.die()
	case "abort":
		syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Minute)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Minute)
	case "goroutine":
		go os.Exit(0)
		select {}
	case "busy":
		// Signals, threads and children, all while it is traced.
		got := make(chan os.Signal, 100)
		signal.Notify(got, syscall.SIGUSR1)
		var all sync.WaitGroup
		for i := 0; i < 20; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				for until := time.Now().Add(200 * time.Millisecond); time.Now().Before(until); {
				}
				if err := exec.Command("true").Run(); err != nil {
					panic(err)
				}
				syscall.Kill(os.Getpid(), syscall.SIGUSR1)
			}()
		}
		<-got
		all.Wait()
	case "exec":
		syscall.Exec("/proc/self/exe", []string{"again", "exit-3", "clean"}, os.Environ())
	case "wait":
		fmt.Println("ready")
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Print("heard ", line)
	}
}
""",
}
"""Loses seven blocks (none with a second word), keeps one, and ends as it is told."""


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> Path:
    return build_program(tmp_path_factory.mktemp("ends"), go_commands()[0], ENDS)


def check(folder: Path, *command: object, options: tuple[object, ...] = ()) -> tuple[Any, Any]:
    """Run to the end; give what subprocess says, and the report."""
    report = folder / "report.json"
    done = cgoleak("check", "--force", "-o", report, *options, "--", *command)
    return done, json.loads(report.read_text()) if report.exists() else {}


def lost(report: dict[str, Any]) -> list[tuple[str, int]]:
    return [
        (one["stack"][0]["function"], one["outstanding_blocks"])
        for one in report["findings"]
        if one["verdict"] == "native-leak"
    ]


@pytest.mark.parametrize(
    ("how", "leaking", "clean"),
    [
        ("return", 1, 0),
        ("goroutine", 1, 0),
        ("exit-in-c", 1, 0),
        ("exit-3", 3, 3),
        ("panic", 2, 2),
        ("segv", 2, 2),
        ("abort", 2, 2),
        ("busy", 1, 0),
    ],
)
def test_however_it_ends_its_lost_blocks_are_found_and_no_others(
    ends, tmp_path, how, leaking, clean
):
    done, report = check(tmp_path, ends, how)
    assert done.returncode == leaking, done.stderr
    assert lost(report) == [("lose", 7)], reported(report)
    assert report["gate"]["passed"] is False

    done, report = check(tmp_path, ends, how, "clean")
    assert done.returncode == clean, done.stderr
    assert lost(report) == [], reported(report)


def test_a_killed_commands_final_numbers_are_there(ends, tmp_path):
    done, report = check(tmp_path, ends, "kill")

    assert done.returncode == 128 + 9, done.stderr
    blocks = {one["stack"][0]["function"]: one["outstanding_blocks"] for one in report["findings"]}
    assert blocks.items() >= {"lose": 7, "keep": 1}.items()


def test_a_command_that_becomes_another_program_is_not_judged_by_that_ones_memory(ends, tmp_path):
    done, report = check(tmp_path, ends, "exec")

    assert done.returncode == 3, done.stderr
    assert lost(report) == [], reported(report)
    assert "closing.not-looked" in [notice["code"] for notice in report["notices"]]


def test_a_stopped_command_goes_on_when_it_is_told_to(ends):
    with subprocess.Popen(
        cgoleak_command("check", "-q", "--", ends, "wait", "clean"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        command = child_running(process.pid, ends)
        os.kill(command, signal.SIGSTOP)
        status = Path(f"/proc/{command}/status")
        wait_until(lambda: "\nState:\tt" in status.read_text(), "the command to stop")
        os.kill(command, signal.SIGCONT)
        process.stdin.write(b"you\n")
        process.stdin.flush()
        assert process.stdout.read() == b"heard you\n"
        assert process.wait(20) == 0


def test_the_capture_gives_the_same_verdict_again(ends, tmp_path):
    capture = tmp_path / "c.cgoleak"
    check(tmp_path, ends, "return", options=("-o", capture))

    again = cgoleak("check", capture)

    assert again.returncode == 1
    assert "lose (main.go:8)" in again.stdout
    assert open_capture(capture).holdings


def test_a_suppression_and_a_limit_let_it_pass(ends, tmp_path):
    (tmp_path / "lsan.supp").write_text("leak:lose\n")
    done, report = check(
        tmp_path, ends, "return", options=("--suppressions", tmp_path / "lsan.supp")
    )
    assert done.returncode == 0, done.stderr
    assert report["gate"]["unused_suppressions"] == []

    (tmp_path / "policy.toml").write_text("max_bytes_per_iteration = 222\n")
    options = ("--policy", tmp_path / "policy.toml", "--per", 7)
    assert check(tmp_path, ends, "return", options=options)[0].returncode == 0
    options = ("--policy", tmp_path / "policy.toml", "--per", 8)
    assert check(tmp_path, ends, "return", options=options)[0].returncode == 0
    options = ("--policy", tmp_path / "policy.toml", "--per", 6)
    assert check(tmp_path, ends, "return", options=options)[0].returncode == 1


def test_a_program_without_c_runs_as_it_would_alone(tmp_path):
    (tmp_path / "m.go").write_text(
        'package main\nimport "os"\nfunc main() { print("here\\n"); os.Exit(6) }\n'
    )
    subprocess.run(
        [go_commands()[0], "build", "-o", tmp_path / "pure", tmp_path / "m.go"],
        env=os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
        check=True,
    )

    done, report = check(tmp_path, tmp_path / "pure")

    assert (done.returncode, report) == (6, {})
    assert done.stderr.count("here\n") == 1
    assert "no C code in it" in done.stderr


def test_what_is_no_go_program_cannot_be_measured(tmp_path):
    done, report = check(tmp_path, "true")

    assert (done.returncode, report) == (3, {})


def test_the_command_outlives_a_cgoleak_that_is_killed(ends):
    """It is traced then, and goes on untraced; nobody hangs at its exit."""
    with subprocess.Popen(
        cgoleak_command("check", "--", ends, "wait"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        command = child_running(process.pid, ends)
        process.send_signal(signal.SIGKILL)
        process.stdin.write(b"you\n")
        process.stdin.flush()
        assert process.stdout.read() == b"heard you\n"
    wait_until(lambda: not Path(f"/proc/{command}/exe").exists(), "the command to end")


def test_a_running_worker_is_checked(sample, tmp_path):
    """Too short to call anything a leak; the status is that of the policy, the worker lives."""
    report = tmp_path / "report.json"
    with Worker(sample, "-scenario", "clean") as worker:
        done = cgoleak(
            "check", "--pid", worker.pid, "--duration", "1s", "--settle", "1s", "-o", report
        )
        assert worker.answers()

    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["gate"]["program"] == "worker"


NO_PTRACE: Final = """
import ctypes, os, struct, sys
# BPF: load the number of the system call; ptrace (101 on x86-64) gives EPERM, all else passes.
code = ((0x20, 0, 0, 0), (0x15, 0, 1, 101), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000))
filters = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(filters))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0  # PR_SET_SECCOMP
os.execv(sys.executable, [sys.executable, "-m", "cgoleak", *sys.argv[1:]])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter is for x86-64")
def test_where_ptrace_is_filtered_it_says_so_and_the_command_does_not_run(ends):
    done = ended([sys.executable, "-c", NO_PTRACE, "check", "--", ends, "wait"])

    assert (done.returncode, done.stdout) == (3, "")
    assert "cause: ptrace: Operation not permitted" in done.stderr
    assert "--cap-add=SYS_PTRACE" in done.stderr
