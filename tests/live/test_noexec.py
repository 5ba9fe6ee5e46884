"""File systems from which nothing may be run, below the target and below cgoleak itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import cgoleak
from support.containers import (
    HOW,
    MEMFD_CREATE,
    MFD_NOEXEC_SEAL,
    build_small_root,
    can_make_namespaces,
    contained,
    lacks,
    noexec,
    with_filter,
)
from support.findings import has_stack
from support.go_programs import go_commands, missing_tools
from support.hooks import footprint, hooked_slots
from support.live import Program, attach, cgoleak_command, child_running, ended
from support.live_programs import LOSING, build_program

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount"),
    pytest.mark.skipif(not can_make_namespaces(), reason="unshare is refused here"),
]

REFUSED = 3
TWO = HOW["vm.memfd_noexec is 2"]
ONCE = {
    "once.c": "#include <stdlib.h>\nvoid *kept[64];\nvoid keep(int i) { kept[i] = malloc(777); }\n",
    "main.go": (
        'package main\n\n// void keep(int);\nimport "C"\n\n'
        "func main() {\n\tfor i := 0; i < 50; i++ {\n\t\tC.keep(C.int(i))\n\t}\n}\n"
    ),
}


@pytest.fixture(scope="module")
def losing(tmp_path_factory) -> Path:
    return build_program(tmp_path_factory.mktemp("losing"), go_commands()[0], LOSING)


@pytest.fixture
def target(losing):
    with Program([losing]) as process:
        assert process.line() == "running"
        yield process


# --- below the target ----------------------------------------------------------------------------


def test_a_root_that_becomes_noexec_while_the_program_runs_hinders_nothing(losing, tmp_path):
    root = build_small_root(tmp_path / "root", losing)
    how = HOW["root that is read-only"]
    with Program(contained(how, losing, root), last=signal.SIGKILL) as outer:
        assert outer.line() == "running"
        inside = child_running(outer.pid, root / "prog")
        remount = ("mount", "-o", "remount,ro,noexec,bind", str(root))
        subprocess.run(["nsenter", "-t", str(inside), "-m", *remount], check=True, timeout=20)

        with attach(tmp_path / "out", inside, seconds=3) as watching:
            assert watching.finish() == 0, watching.stderr

        assert hooked_slots(inside) == []
        assert outer.is_running()
    report = watching.report()
    (lost,) = (one for one in report["findings"] if one["suppression"] == "leak:make_record")
    assert lost["outstanding_bytes"] == 1000 * lost["outstanding_blocks"] > 0
    assert not any(notice["code"].startswith("probe.") for notice in report["notices"])


def test_a_kernel_that_wants_every_memory_file_sealed_gets_them_so(losing, tmp_path):
    """So do Linux 6.3 to 6.5 where vm.memfd_noexec is 2; later ones seal what is not."""
    sealed = with_filter(losing, (MEMFD_CREATE,), unless=MFD_NOEXEC_SEAL)
    with Program(sealed) as process:
        assert process.line() == "running"

        with attach(tmp_path, process.pid, seconds=1) as watching:
            assert watching.finish() == 0, watching.stderr

        assert hooked_slots(process.pid) == []
    (lost,) = (
        one for one in watching.report()["findings"] if one["suppression"] == "leak:make_record"
    )
    assert lost["outstanding_bytes"] == 1000 * lost["outstanding_blocks"] > 0


# --- below cgoleak -------------------------------------------------------------------------------


def test_attach_needs_no_temporary_folder_that_programs_run_from(target, tmp_path):
    report = tmp_path / "report.html"
    words = cgoleak_command("attach", target.pid, "--duration", "1s", "--exact", "-o", report)

    done = ended(noexec(tmp_path, words), TMPDIR=str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert report.stat().st_size > 0
    assert hooked_slots(target.pid) == []


def test_run_needs_none_either_and_counts_every_block(tmp_path):
    (place := tmp_path / "tmp").mkdir()
    program = build_program(tmp_path / "once", go_commands()[0], ONCE)
    report = tmp_path / "report.json"
    words = cgoleak_command("run", "--exact", "-o", report, "--", program)

    done = ended(noexec(place, words), TMPDIR=str(place))

    assert done.returncode == 0, done.stderr
    # Beside it there may be a thread that Go has just started.
    found = json.loads(report.read_text())["findings"]
    (kept,) = (one for one in found if has_stack(one["stack"], ["keep"]))
    assert (kept["outstanding_blocks"], kept["outstanding_bytes"]) == (50, 50 * 777)


def test_a_cgoleak_that_lies_where_nothing_may_be_run_says_so(target):
    package = Path(cgoleak.__file__).parent
    before = footprint(target.pid)
    words = cgoleak_command("attach", target.pid, "--duration", "1s")

    done = ended(noexec(package, words))

    assert done.returncode == REFUSED
    assert "error: the probe cannot be loaded" in done.stderr
    assert f"{package}" in done.stderr
    assert "mounted noexec" in done.stderr
    assert "remount,exec" in done.stderr
    assert footprint(target.pid) == before
    looked = ended(noexec(package, cgoleak_command("doctor")))
    assert looked.returncode == REFUSED
    assert f"{package}" in looked.stdout
    assert "remount,exec" in looked.stdout


def test_a_program_that_lies_where_nothing_may_be_run_is_not_started_and_that_is_said(
    losing, tmp_path
):
    (place := tmp_path / "place").mkdir()
    shutil.copy(losing, place / "prog")

    done = ended(noexec(place, cgoleak_command("run", "--", place / "prog")))

    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert f"{place}/prog lies on a file system that is mounted noexec" in done.stderr
    assert "remount,exec" in done.stderr


def test_a_cgoleak_that_may_make_no_memory_files_leaves_the_target_untouched(target):
    before = footprint(target.pid)
    python, *words = cgoleak_command("attach", target.pid, "--duration", "1s")
    without = with_filter(Path(python), (MEMFD_CREATE,))

    done = ended([*without, *words])

    assert done.returncode == REFUSED
    assert "error: cgoleak itself may not make files in memory" in done.stderr
    assert "allow memfd_create in the seccomp profile of cgoleak's own" in done.stderr
    assert footprint(target.pid) == before
    looked = ended([*without, *cgoleak_command("doctor")[1:]])
    assert looked.returncode == REFUSED
    assert re.search("no  memory files +cgoleak itself may not make files in memory", looked.stdout)


@pytest.mark.skipif(lacks(TWO) != "", reason=lacks(TWO))
def test_where_a_kernel_wants_those_of_cgoleak_sealed_the_setting_is_named(losing, tmp_path):
    python, *words = cgoleak_command("run", "--")
    sealed = with_filter(Path(python), (MEMFD_CREATE,), unless=MFD_NOEXEC_SEAL)

    done = ended([*contained(TWO, shlex.join([*sealed, *words]), tmp_path), str(losing)])

    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert "vm.memfd_noexec is 2 in its PID namespace" in done.stderr
    assert "sysctl vm.memfd_noexec=1" in done.stderr
