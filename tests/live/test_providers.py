"""Whoever provides malloc: preloaded allocators and musl. Each is run where it is installed."""

from __future__ import annotations

import shutil
from ctypes.util import find_library
from typing import TYPE_CHECKING

import pytest

from support.go_programs import go_commands, missing_tools
from support.live import Program, attach
from support.live_programs import LOSING, build_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

PRELOADED = {
    "jemalloc": ("jemalloc", "libjemalloc2"),
    "tcmalloc": ("tcmalloc_minimal", "libtcmalloc-minimal4"),
    "mimalloc": ("mimalloc", "libmimalloc2.0"),
}
SECONDS = 10


@pytest.fixture(scope="module")
def losing(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("losing"), go_commands()[0], LOSING)


def measure(program: Program, folder: Path) -> dict:
    with attach(folder, program.pid, seconds=SECONDS) as watching:
        assert watching.finish(90) == 0, watching.stderr
        assert program.is_running()
        return watching.report()


def the_leak(report: dict) -> list[str]:
    """The one site that grows: the functions on its stack, leaf first; its blocks are counted."""
    growing = [one for one in report["findings"] if one["verdict"] in {"native-leak", "suspect"}]
    assert [one["suppression"] for one in growing] == ["leak:make_record"], report["findings"]
    found = growing[0]
    assert found["outstanding_bytes"] == 1000 * found["outstanding_blocks"]
    assert found["outstanding_blocks"] > 50 * SECONDS  # of 200 a second, on a machine that is busy
    return [frame["function"] for frame in found["stack"]]


@pytest.mark.parametrize("provider", PRELOADED)
def test_a_preloaded_allocator_is_known_and_its_leak_is_named(losing, tmp_path, provider):
    name, package = PRELOADED[provider]
    library = find_library(name)
    if library is None:
        pytest.skip(f"not installed: {package}")

    with Program([losing], environment={"LD_PRELOAD": library}) as program:
        program.line()
        report = measure(program, tmp_path)

    assert report["target"]["allocator"] == provider
    stack = the_leak(report)
    assert stack[0] == "make_record"
    assert "main.main" in stack


def test_a_program_with_musl_is_served(tmp_path):
    if shutil.which("musl-gcc") is None:
        pytest.skip("not installed: musl-tools")
    built = build_program(tmp_path / "prog", go_commands()[0], LOSING, compiler="musl-gcc")

    with Program([built]) as program:
        program.line()
        report = measure(program, tmp_path)

    assert report["target"]["libc"].startswith("musl")
    stack = the_leak(report)
    assert stack[0] == "make_record"
    assert "main.main" in stack
