"""Libraries that come and go while the hooks are in. (A leak in one: scenario ``dlopen-leak``.)"""

from __future__ import annotations

import subprocess

import pytest

from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from support.findings import is_called, reported
from support.go_programs import go_commands, missing_tools
from support.hooks import hooked_slots
from support.live import Program, attach
from support.live_programs import HALF_LOADED, PLUGGING, build_library, build_program

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ROUNDS = 200
KEPT_BYTES = 60


@pytest.fixture(scope="module")
def plugging(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugging")
    return build_program(folder / "prog", go_commands()[0], PLUGGING), build_library(folder)


def test_loading_and_unloading_over_and_over_harms_nobody_and_hides_nothing(plugging, tmp_path):
    program, library = plugging
    with Program([program, library], stderr=subprocess.DEVNULL) as target:
        assert target.line() == "ready"
        with attach(tmp_path, target.pid) as watching:
            watching.until_hooked(target.pid)
            target.do(str(ROUNDS), 60)
            watching.interrupt()
            status = watching.finish()

        assert status == 0, watching.stderr
        assert hooked_slots(target.pid) == []
        target.do("3")
    report = watching.report()
    notices = {notice["code"]: notice["text"] for notice in report["notices"]}
    found = [
        one
        for one in report["findings"]
        if any(is_called(frame["function"], "plugged_new") for frame in one["stack"])
    ]
    blocks = sum(one["outstanding_blocks"] for one in found)
    # The target waits a quarter of a second for us: on a busy machine some loads are late, and
    # the report says how many. What is not told there must have been seen.
    late = int(notices.get("probe.late-library", "0").split()[0])
    assert late < ROUNDS / 2, reported(report)
    assert ROUNDS - late <= blocks <= ROUNDS, reported(report)
    assert sum(one["outstanding_bytes"] for one in found) == blocks * KEPT_BYTES
    assert "probe.slots-changed" not in notices, reported(report)


def test_unloading_goes_on_while_the_hooks_come_and_go(plugging, tmp_path):
    """A slot of a library that is being unmapped must be neither taken nor given back."""
    program, library = plugging
    with Program([program, library], stderr=subprocess.DEVNULL) as target:
        assert target.line() == "ready"
        for turn in range(3):
            target.say("20000")
            with attach(tmp_path / str(turn), target.pid, seconds=0.3) as watching:
                assert watching.finish() == 0, watching.stderr
            codes = {notice["code"] for notice in watching.report()["notices"]}
            assert not codes & {"probe.slots-changed", "probe.code-changed", "probe.not-gone"}
            assert hooked_slots(target.pid) == []
            assert target.line(120) == "done 20000"


def test_a_library_that_the_loader_has_not_done_with_is_left_as_it_is(tmp_path):
    """Its pages are not opened and closed again: the loader would find them closed."""
    library = build_library(tmp_path)
    program = build_program(tmp_path / "prog", go_commands()[0], HALF_LOADED)
    (slot,) = (
        found.offset_vaddr for found in ObjectFile.open(library).dynamic.relocations({"malloc": 0})
    )
    with Program([program, library, str(slot)]) as target, Memory(target.pid) as memory:
        at = int(target.line()) + slot
        bound = memory.word(at)
        held, rights = set(), set()
        with attach(tmp_path, target.pid, seconds=4, interval=0.1) as watching:
            watching.until_hooked(target.pid)
            while watching.process.poll() is None:
                held.add(memory.word(at))
                rights |= {r.perms for r in procfs.maps(target.pid) if r.start <= at < r.end}
            assert watching.finish() == 0, watching.stderr
    assert held == {bound}
    assert rights == {"r--p"}
