"""A malloc that is linked into the program, which calls it directly: no slot carries its calls."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from cgoleak.probe.calls.near import NEAR_NAME
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from support.go_programs import go_commands, missing_tools
from support.live import Program, attach, cgoleak_command, wait_until
from support.live_programs import ASKED, OWN_MALLOC, build_program

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

OWN = ASKED | {"own_malloc.c": OWN_MALLOC}
LOST = 1500
"""Blocks of 1,000 bytes: for so many the allocator must map memory, which is counted nowhere."""
WAYS = {"fixed": (), "pie": ("-buildmode=pie",), "stripped": ("-ldflags=-s -w",)}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("own"), go_commands()[0], OWN)


@pytest.fixture
def program(asked):
    with Program([asked]) as running:
        assert running.line() == "ready"
        yield running


def ask(program: Program, lose: int, use: int) -> None:
    program.say(f"{lose} {use}")
    assert program.line(60) == f"did {lose} {use}"


def measured(program: Program, folder: Path, *asks: tuple[int, int]) -> dict:
    """Attach, have the program do these, and detach."""
    with attach(folder, program.pid) as watching:
        watching.until_hooked(program.pid)
        for lose, use in asks:
            ask(program, lose, use)
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr
    assert program.is_running()
    return watching.report()


def code_of(pid: int) -> bytes:
    """All code of the program, as it is in memory."""
    path = str(Path(f"/proc/{pid}/exe").readlink())
    with Memory(pid) as memory:
        found = [
            memory.read(region.start, region.end - region.start)
            for region in procfs.maps(pid)
            if region.executable and region.path == path
        ]
    assert found
    assert None not in found
    return b"".join(found)


def codes(report: dict) -> list[str]:
    return [notice["code"] for notice in report["notices"]]


@pytest.mark.parametrize("way", WAYS)
def test_every_block_is_counted_and_named_with_c_and_go_lines(way, tmp_path):
    path = build_program(tmp_path / "prog", go_commands()[0], OWN, *WAYS[way])
    with Program([path]) as program:
        program.line()
        before = code_of(program.pid)

        report = measured(program, tmp_path, (0, 200), (LOST, 100))

        assert code_of(program.pid) == before
    (found,) = (one for one in report["findings"] if one["outstanding_blocks"])
    assert (found["outstanding_blocks"], found["outstanding_bytes"]) == (LOST, 1000 * LOST)
    functions = [frame["function"] for frame in found["stack"]]
    assert "main.give" in functions
    assert "probe.calls-taken" in codes(report)
    assert "probe.calls-unseen" not in codes(report)
    if way != "stripped":  # its symbols are gone, and those of what it does not export
        assert functions[:2] == ["make_record", "lose"]
        assert report["cost"]["unmatched_frees"] == 0


def test_a_program_that_frees_all_is_quiet(program, tmp_path):
    report = measured(program, tmp_path, (0, 1000), (0, 1000))

    assert [one for one in report["findings"] if one["outstanding_blocks"]] == []
    assert report["cost"]["unmatched_frees"] == 0


def test_what_it_lost_before_is_not_counted_again_in_another_round(program, tmp_path):
    page = []
    for number in range(3):
        report = measured(program, tmp_path / str(number), (20, 20))
        (found,) = report["findings"]
        assert found["outstanding_blocks"] == 20
        page.append([r.start for r in procfs.maps(program.pid) if r.path == NEAR_NAME])

    assert [len(one) for one in page] == [1, 1, 1]
    assert page[0] == page[1] == page[2]


def test_a_command_is_followed_from_its_first_allocation(asked, tmp_path):
    command = cgoleak_command("run", "-o", tmp_path / "report.json", "--exact", "--", asked)
    done = subprocess.run(
        command, input="30 30\n", text=True, capture_output=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert "probe.calls-taken" in codes(report)
    assert "probe.calls-left" not in codes(report)
    (found,) = (one for one in report["findings"] if one["outstanding_blocks"] == 30)
    assert found["outstanding_bytes"] == 30_000


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_code_comes_back_when_cgoleak_is_killed(program, tmp_path):
    before = code_of(program.pid)
    with attach(tmp_path, program.pid) as watching:
        watching.until_hooked(program.pid)
        assert code_of(program.pid) != before
        os.kill(watching.pid, signal.SIGKILL)
        wait_until(lambda: code_of(program.pid) == before, "its code to be as before", 20)

        ask(program, 10, 10)


def test_code_comes_back_with_the_next_attach_when_everybody_was_killed(program, tmp_path):
    before = code_of(program.pid)
    with attach(tmp_path / "killed", program.pid) as watching:
        watching.until_hooked(program.pid)
        for child in children_of(watching.pid):
            os.kill(child, signal.SIGKILL)
        os.kill(watching.pid, signal.SIGKILL)
    ask(program, 10, 1000)
    assert code_of(program.pid) != before

    report = measured(program, tmp_path / "next", (40, 40))

    assert code_of(program.pid) == before
    (found,) = report["findings"]
    assert found["outstanding_blocks"] == 40
    assert "probe.code-changed" not in codes(report)


def test_jemalloc_that_is_linked_statically_is_served(tmp_path):
    compiler = shutil.which("cc")
    archive = compiler and subprocess.run(
        [compiler, "-print-file-name=libjemalloc.a"], capture_output=True, text=True, check=True
    )
    if not archive or "/" not in archive.stdout:
        pytest.skip("not installed: libjemalloc-dev")
    linked = "-l:libjemalloc.a -lm -lstdc++"
    path = build_program(tmp_path / "prog", go_commands()[0], ASKED, ldflags=linked)
    with Program([path]) as program:
        program.line()
        before = code_of(program.pid)

        report = measured(program, tmp_path, (0, 200), (300, 100))

        assert code_of(program.pid) == before
    assert report["target"]["allocator"] == "jemalloc"
    (found,) = (one for one in report["findings"] if one["outstanding_blocks"] >= 10)
    assert (found["outstanding_blocks"], found["outstanding_bytes"]) == (300, 300_000)


def test_a_malloc_that_the_program_keeps_to_itself_is_told(tmp_path):
    kept = "#define PRIVATE_MALLOC\n" + OWN_MALLOC
    path = build_program(tmp_path / "prog", go_commands()[0], OWN | {"own_malloc.c": kept})
    with Program([path]) as program:
        program.line()

        report = measured(program, tmp_path, (10, 0))

    (notice,) = (one for one in report["notices"] if one["code"] == "probe.calls-unseen")
    assert "of its own beside" in notice["text"]
