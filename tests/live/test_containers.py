"""Targets in namespaces and roots of their own, as containers have them, seen from outside."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from support.containers import (
    HOW,
    WITHOUT_PROC,
    build_small_root,
    can_refuse_exec_gain,
    contained,
    lacks,
    runs_in_root,
    without_exec_gain,
)
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

REFUSED = 3


@pytest.fixture(scope="module")
def losing(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("losing"), go_commands()[0], LOSING)


@pytest.fixture(scope="module")
def small_root(losing, tmp_path_factory) -> Path:
    return build_small_root(tmp_path_factory.mktemp("small") / "root", losing)


def names_the_leak(pid: int, folder: Path) -> None:
    with attach(folder, pid, seconds=2) as watching:
        assert watching.finish(60) == 0, watching.stderr
        report = watching.report()
    sites = {one["suppression"]: one for one in report["findings"]}
    lost = sites["leak:make_record"]
    assert "main.main" in {frame["function"] for frame in lost["stack"]}
    assert lost["outstanding_bytes"] == 1000 * lost["outstanding_blocks"] > 0
    assert report["cost"]["dropped"] == 0
    assert not any(notice["code"].startswith("probe.") for notice in report["notices"])


@pytest.mark.parametrize("how", HOW)
def test_a_process_in_a_container_is_measured_from_outside(losing, small_root, tmp_path, how):
    if lacking := lacks(HOW[how]):
        pytest.skip(f"needs {lacking}")
    with Program(contained(HOW[how], losing, small_root), last=signal.SIGKILL) as outer:
        assert outer.line() == "running"
        inside = child_running(outer.pid, small_root / "prog" if runs_in_root(HOW[how]) else losing)

        names_the_leak(inside, tmp_path)

        assert outer.is_running()


@pytest.mark.skipif(lacks(WITHOUT_PROC) != "", reason="unshare is refused here")
def test_without_proc_in_its_root_it_is_refused_with_what_to_do(losing, small_root):
    with Program(contained(WITHOUT_PROC, losing, small_root), last=signal.SIGKILL) as outer:
        assert outer.line() == "running"
        inside = child_running(outer.pid, small_root / "prog")

        answer = cgoleak("attach", inside, "--duration", "1s")

        assert answer.returncode == REFUSED
        assert "has no /proc in its root" in answer.stderr
        assert f"nsenter -t {inside}" in answer.stderr
        assert outer.is_running()


@pytest.mark.skipif(not can_refuse_exec_gain(), reason="no PR_SET_MDWE (Linux 6.3)")
def test_memory_that_may_not_be_executable_is_named_as_the_cause(losing):
    with Program(without_exec_gain(losing)) as process:
        assert process.line() == "running"

        answer = cgoleak("attach", process.pid, "--duration", "1s")

        assert answer.returncode == REFUSED
        assert "MemoryDenyWriteExecute" in answer.stderr
        assert process.is_running()
