"""Targets in namespaces and roots of their own, as containers have them, seen from outside."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.go_programs import go_commands, missing_tools
from support.live import Program, attach, cgoleak, child_running
from support.live_programs import LOSING, build_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make namespaces"),
]

PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
OF_ITS_OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
REFUSED = 3


@pytest.fixture(scope="module")
def losing(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("losing"), go_commands()[0], LOSING)


@pytest.fixture(scope="module")
def small_root(losing, tmp_path_factory) -> Path:
    """A root with the program, its libraries and the loader, and nothing else."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "proc").mkdir()
    shutil.copy(losing, folder / "prog")
    listed = subprocess.run(["ldd", losing], capture_output=True, text=True, check=True).stdout
    for word in listed.split():
        if word.startswith("/"):
            (folder / word[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, folder / word[1:])
    return folder


def can_make_namespaces() -> bool:
    return subprocess.run([*OF_ITS_OWN, "true"], capture_output=True, check=False).returncode == 0


def names_the_leak(pid: int, folder: Path) -> None:
    with attach(folder, pid, seconds=4) as watching:
        assert watching.finish(60) == 0, watching.stderr
        report = watching.report()
    sites = {one["suppression"]: one for one in report["findings"]}
    assert "main.main" in {frame["function"] for frame in sites["leak:make_record"]["stack"]}
    assert not any(notice["code"].startswith("probe.") for notice in report["notices"])


HOW = {
    "pid namespace": (*OF_ITS_OWN, "--mount-proc", "{prog}"),
    "user namespace": (*OF_ITS_OWN, "--user", "--map-root-user", "--mount-proc", "{prog}"),
    "root that is read-only": (
        *OF_ITS_OWN,
        "sh",
        "-c",
        (
            "mount --bind {root} {root} && mount -t proc proc {root}/proc && "
            "mount -o remount,ro,nosuid,nodev,bind {root} && exec chroot {root} /prog"
        ),
    ),
    "no network, names of its own": (
        *OF_ITS_OWN,
        "--net",
        "--ipc",
        "--uts",
        "sh",
        "-c",
        "mount -t proc proc {root}/proc && exec chroot {root} /prog",
    ),
}


@pytest.mark.skipif(not can_make_namespaces(), reason="unshare is refused here")
@pytest.mark.parametrize("how", HOW)
def test_a_process_in_a_container_is_measured_from_outside(losing, small_root, tmp_path, how):
    words = [word.format(prog=losing, root=small_root) for word in HOW[how]]
    with Program(words) as outer:
        assert outer.line() == "running"
        inside = child_running(outer.pid, losing if "{prog}" in HOW[how] else small_root / "prog")

        names_the_leak(inside, tmp_path)

        assert outer.is_running()


@pytest.mark.skipif(not can_make_namespaces(), reason="unshare is refused here")
def test_without_proc_in_its_root_it_is_refused_with_what_to_do(small_root):
    with Program([*OF_ITS_OWN, "chroot", small_root, "/prog"]) as outer:
        assert outer.line() == "running"
        inside = child_running(outer.pid, small_root / "prog")

        answer = cgoleak("attach", inside, "--duration", "1s")

        assert answer.returncode == REFUSED
        assert "has no /proc in its root" in answer.stderr
        assert f"nsenter -t {inside}" in answer.stderr
        assert outer.is_running()


def test_memory_that_may_not_be_executable_is_named_as_the_cause(losing):
    libc = ctypes.CDLL(None, use_errno=True)
    if not can_refuse_exec_gain():
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    process = subprocess.Popen(
        [losing],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: libc.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0),  # noqa: PLW1509
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"

        answer = cgoleak("attach", process.pid, "--duration", "1s")

        assert answer.returncode == REFUSED
        assert "MemoryDenyWriteExecute" in answer.stderr
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def can_refuse_exec_gain() -> bool:
    code = f"import ctypes; raise SystemExit(ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0))"
    return subprocess.run(["python3", "-c", code], check=False).returncode == 0
