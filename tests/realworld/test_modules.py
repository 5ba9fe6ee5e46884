"""Modules that people use: the report names the line of the program that misuses them.

Run by ``make realworld``: the modules come from the Go proxy and take minutes to build.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.live import attach
from support.realworld import MARKS, build_packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = MARKS

MISUSES = [
    ("sqlite", "rows", "main.firstUser"),
    ("sqlite", "statements", "main.userByID"),
    ("zstd", "writer", "main.archive"),
    ("kafka", "events", "main.publish"),
    ("duckdb", "rows", "main.highest"),
]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("realworld")
    build_packages(folder, "./cmd/...")
    return folder


@contextmanager
def running(program: Path, misuse: str) -> Iterator[int]:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [program, "-misuse", misuse, "-life", "90s"],
            stdout=subprocess.PIPE,
            env=os.environ | {"TMPDIR": folder},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"running ")
            yield process.pid
            assert process.poll() is None, "the measurement has ended it"
        finally:
            process.kill()


def measure(pid: int, folder: Path) -> dict:
    with attach(folder, pid, seconds=20) as watching:
        assert watching.finish(90) == 0, watching.stderr
        return watching.report()


@pytest.mark.parametrize(("name", "misuse", "line"), MISUSES)
def test_a_misuse_is_a_native_leak_with_the_line_of_the_program(
    programs, tmp_path, name, misuse, line
):
    with running(programs / name, misuse) as pid:
        report = measure(pid, tmp_path)

    leaks = [one for one in report["findings"] if one["verdict"] == "native-leak"]
    assert report["cause"] == "native-leak"
    assert line in {frame["function"] for one in leaks for frame in one["stack"]}


@pytest.mark.parametrize(("misuse", "lost"), [("statements", True), ("", False)])
def test_statements_that_are_not_finalized_are_counted(programs, tmp_path, misuse, lost):
    """go-sqlite3 has SQLite in it: nothing but cgo's own calls can be seen."""
    with (
        running(programs / "sqlite", misuse) as pid,
        attach(tmp_path, pid, seconds=20, follow=("--exact", "--pair-set", "sqlite3")) as watching,
    ):
        assert watching.finish(90) == 0, watching.stderr
        report = watching.report()
    found = [
        one
        for one in report["handles"]
        if (one["family"], one["verdict"]) == ("sqlite3_stmt", "native-leak")
    ]
    made = next(one["created"] for one in report["families"] if one["name"] == "sqlite3_stmt")

    assert made > 0
    assert bool(found) is lost
    for one in found:
        assert "main.userByID" in {frame["function"] for frame in one["stack"]}
        assert "main.userByID" in one["advice"]


@pytest.mark.parametrize("name", sorted({name for name, _, _ in MISUSES}))
def test_the_module_used_as_it_should_be_is_no_leak(programs, tmp_path, name):
    with running(programs / name, "") as pid:
        report = measure(pid, tmp_path)

    assert report["cause"] != "native-leak", report["summary"]
