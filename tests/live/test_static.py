"""A fully static program: entered by a thread of its own, its calls taken over in its code."""

from __future__ import annotations

import os
import platform
import shutil
import signal
from pathlib import Path

import pytest

from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from support.go_programs import go_commands, missing_tools
from support.hooks import counts
from support.live import Cgoleak, Program, attach, cgoleak, wait_until
from support.live_programs import ASKED, EXEC, build_program

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="static programs: x86-64 alone"),
]

STATIC = "-ldflags=-linkmode external -extldflags -static"
STATIC_PIE = "-ldflags=-linkmode external -extldflags -static-pie"
WAYS = {
    "glibc": ("cc", STATIC),
    "glibc-pie": ("cc", "-buildmode=pie", STATIC_PIE),
    "musl": ("musl-gcc", STATIC),
}


@pytest.fixture(scope="module", params=go_commands())
def go(request):
    return request.param


@pytest.fixture(scope="module", params=WAYS)
def static(request, go, tmp_path_factory):
    compiler, *flags = WAYS[request.param]
    if shutil.which(compiler) is None:
        pytest.skip(f"not installed: {compiler}")
    folder = tmp_path_factory.mktemp("static")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", compiler)
        built = build_program(folder / "prog", go, ASKED, *flags)
    assert ObjectFile.open(built).interpreter is None, "the linker made it dynamic"
    return built


@pytest.fixture
def program(static):
    with Program([static]) as running:
        assert running.line() == "ready"
        yield running


def ask(program: Program, lose: int, use: int) -> None:
    program.say(f"{lose} {use}")
    assert program.line(60) == f"did {lose} {use}"


def until_hooked(watching: Cgoleak, program: Program) -> None:
    """Wait until the hooks count; there are no slots by which that could be seen."""

    def look() -> bool:
        assert watching.process.poll() is None, watching.stderr
        return counts(program.pid)

    wait_until(look, "the hooks to count", 40)


def measured(program: Program, folder: Path, *asks: tuple[int, int]) -> dict:
    with attach(folder, program.pid) as watching:
        until_hooked(watching, program)
        for lose, use in asks:
            ask(program, lose, use)
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr
    assert program.is_running()
    return watching.report()


def differs_from_its_file(pid: int) -> bool:
    exe = Path(f"/proc/{pid}/exe")
    content, path = exe.read_bytes(), str(exe.readlink())
    with Memory(pid) as memory:
        return any(
            memory.read(r.start, r.end - r.start)
            != content[r.offset : r.offset + r.end - r.start].ljust(r.end - r.start, b"\0")
            for r in procfs.maps(pid)
            if r.executable and r.path == path
        )


def test_every_block_is_counted_and_named_with_c_and_go_lines(program, tmp_path):
    report = measured(program, tmp_path, (0, 200), (300, 100))

    assert not differs_from_its_file(program.pid)
    (found,) = (one for one in report["findings"] if one["outstanding_blocks"])
    assert (found["outstanding_blocks"], found["outstanding_bytes"]) == (300, 300_000)
    named = {frame["function"]: frame for frame in found["stack"]}
    assert [frame["function"] for frame in found["stack"]][:2] == ["make_record", "lose"]
    assert named["make_record"]["file"].endswith("asked.c")
    assert named["main.give"]["line"] > 0
    assert report["cost"]["unmatched_frees"] == 0


def test_a_program_that_frees_all_is_quiet(program, tmp_path):
    report = measured(program, tmp_path, (0, 1000), (0, 1000))

    assert [one for one in report["findings"] if one["outstanding_blocks"]] == []
    assert report["cost"]["unmatched_frees"] == 0


def test_its_code_comes_back_when_cgoleak_is_killed(program, tmp_path):
    with attach(tmp_path, program.pid) as watching:
        until_hooked(watching, program)
        assert differs_from_its_file(program.pid)
        os.kill(watching.pid, signal.SIGKILL)
        wait_until(lambda: not differs_from_its_file(program.pid), "its code to be its own", 20)
    ask(program, 1, 1)


@pytest.mark.parametrize("command", ["run", "check"])
def test_it_is_refused_at_its_start_with_the_way_to_go(static, tmp_path, command):
    done = cgoleak(command, "-o", tmp_path / "report.json", "--", static)

    assert done.returncode == 3
    assert "is a static program" in done.stderr
    assert "cgoleak attach" in done.stderr
    assert "Traceback" not in done.stderr


VFORKS = {
    "waits.c": r"""
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *wait_for_a_child(void *unused) {
	if (vfork() == 0) { sleep(60); _exit(0); }
	return unused;
}
void wait_on_a_thread(void) {
	pthread_t thread;
	pthread_create(&thread, NULL, wait_for_a_child, NULL);
	free(malloc(10));
}
""",
    "main.go": r"""
package main

// void wait_on_a_thread(void);
import "C"

import (
	"fmt"
	"os"
)

func main() {
	C.wait_on_a_thread()
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
}
""",
}
"""Has a thread that cannot be stopped: it waits for a child that has its memory."""


def test_without_its_calls_it_is_refused_and_not_called_clean(go, tmp_path):
    path = build_program(tmp_path / "vforks", go, VFORKS, *WAYS["glibc"][1:])
    with Program([path]) as running:
        assert running.line() == "ready"

        done = cgoleak("attach", running.pid, "--duration", "1s")

        assert done.returncode == 3, done.stdout
        assert "cannot take over the calls" in done.stderr
        assert "did not stop" in done.stderr
        assert running.is_running()
        assert not differs_from_its_file(running.pid)


def test_doctor_and_ps_say_that_it_can_be_attached(program):
    doctor, listed = cgoleak("doctor", program.pid), cgoleak("ps")

    assert doctor.returncode == 0, doctor.stdout
    assert "static, with its symbols" in doctor.stdout
    (line,) = (one for one in listed.stdout.splitlines() if one.split()[:1] == [str(program.pid)])
    assert "yes" in line.split()


def test_what_it_becomes_by_exec_is_left_alone_and_can_be_attached(go, tmp_path):
    path = build_program(tmp_path / "again", go, EXEC, *WAYS["glibc"][1:])
    with Program([path]) as running:
        assert running.line() == "ready 1"
        with attach(tmp_path / "first", running.pid) as watching:
            until_hooked(watching, running)
            running.say("exec")
            assert running.line() == "ready 2"
            assert watching.finish() == 0, watching.stderr
        assert not differs_from_its_file(running.pid)
        with attach(tmp_path / "second", running.pid) as watching:
            until_hooked(watching, running)
            running.say("more")
            assert running.line() == "did more"
            watching.interrupt()
            assert watching.finish() == 0, watching.stderr
        assert not differs_from_its_file(running.pid)
        (found,) = watching.report()["findings"]
        assert (found["outstanding_blocks"], found["outstanding_bytes"]) == (1, 100)
