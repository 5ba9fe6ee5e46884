"""Several heaps in one process: each block is counted at its own place, or it is told."""

from __future__ import annotations

import pytest

from support.go_programs import go_commands, missing_tools
from support.heap_programs import build_heap_library, build_heaps
from support.hooks import hooked_slots
from support.live import Program, attach, wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ASKED = ("libcLose 40", "oneLose 12", "oneUse 30", "twoLose 7", "twoUse 30")
LATER = ("laterOpen 1", "laterLose 5")
BYTES = 1 << 20
"""What such a heap maps for a block of 700,000."""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heaps")
    program = build_heaps(folder, go_commands()[0])
    later = build_heap_library(folder / "later", "later", hidden=False)
    with Program([program, later]) as target:
        assert target.line() == "ready"
        with attach(folder / "out", target.pid) as watching:
            watching.until_hooked(target.pid)
            for line in (*ASKED, *LATER):
                target.do(line, 60)
                if line.startswith("laterOpen"):
                    wait_until(lambda: is_taken(target.pid, "liblater.so"), "its slots", 20)
            watching.interrupt()
            assert watching.finish() == 0, watching.stderr
        assert target.is_running()
    return watching.report()


def is_taken(pid, library):
    return any(slot.startswith(library) for slot in hooked_slots(pid))


def at(report, function):
    """Add up what is outstanding below a Go function: blocks and bytes."""
    found = [
        one
        for one in report["findings"]
        if any(frame["function"] == f"main.{function}" for frame in one["stack"])
    ]
    return (
        sum(one["outstanding_blocks"] for one in found),
        sum(one["outstanding_bytes"] for one in found),
    )


def test_blocks_of_libc_are_counted_as_if_there_were_no_other_heap(report):
    assert at(report, "libcLose") == (40, 40_000)
    assert report["cost"]["unmatched_frees"] == 0


def test_what_a_hidden_heap_maps_is_counted_at_the_line_that_asked_for_it(report):
    """One mapping a block, since each is half of what it maps at a time; what is freed is kept."""
    assert at(report, "oneLose") == (12, 12 * BYTES)
    assert at(report, "twoLose") == (7, 7 * BYTES)
    assert at(report, "oneUse") == (1, BYTES)
    assert at(report, "twoUse") == (1, BYTES)


def test_a_heap_that_comes_with_a_library_later_is_told(report):
    (notice,) = (one for one in report["notices"] if one["code"] == "probe.calls-unseen")

    assert "liblater.so has a malloc of its own beside" in notice["text"]
