"""Threads that nobody joins: counted where they are made, and no others are."""

from __future__ import annotations

import shutil

import pytest

from support.go_programs import go_commands, missing_tools
from support.live import handles_at, obeyed
from support.thread_programs import THREADS, build_threads

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

LOST = {"loseThread": 30, "losePlain": 20}


@pytest.fixture(scope="module", params=["glibc", "musl"])
def report(request, tmp_path_factory):
    """Everything that the program can do, once each, while threads are counted."""
    folder = tmp_path_factory.mktemp("threads")
    compiler = shutil.which("musl-gcc") if request.param == "musl" else None
    if request.param == "musl" and compiler is None:
        pytest.skip("not installed: musl-tools")
    program = build_threads(folder / "prog", go_commands()[0], compiler=compiler)
    lines = [f"{name} {times}" for name, times in THREADS.items()]
    options = ("--pair-set", "threads")
    return obeyed([program], lines, folder / "out", *options, after=["join 5"], seconds=60).report()


def test_every_thread_that_is_not_joined_is_counted_at_its_go_function_and_no_other(report):
    assert handles_at(report, THREADS) == {name: LOST.get(name, 0) for name in THREADS}


def test_threads_that_are_detached_from_their_beginning_are_not_made_to_be_joined(report):
    (family,) = report["families"]

    others = sum(times for name, times in THREADS.items() if name != "detached")
    # Go's own, which are detached at once, are among them.
    assert family["created"] - family["destroyed"] == sum(LOST.values())
    assert family["created"] >= others
    assert family["dropped"] == 0


def test_the_line_of_pthread_create_is_named(report):
    (found,) = (
        one
        for one in report["handles"]
        if any(frame["function"] == "main.losePlain" for frame in one["stack"])
    )

    assert found["stack"][0]["function"] == "lose_plain"
    assert found["stack"][0]["line"]
    assert "pthread_join" in found["destroys"]


def test_what_has_ended_and_keeps_its_stack_is_said(report):
    (notice,) = (one for one in report["notices"] if one["code"] == "pairs.threads-ended")

    assert "of 50 threads" in notice["text"]
