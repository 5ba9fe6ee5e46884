"""Handles of a library that a Go program makes and gives up: all of them, at their Go lines."""

from __future__ import annotations

import subprocess

import pytest

from cgoleak.capture.reader import open_capture
from support.go_programs import go_commands, missing_tools
from support.handle_programs import OBJECTS_TOML, THINGS_TOML, build_objects, build_things
from support.live import Program, attach, handles_at, obeyed

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

ROUNDS = 6
DONE = {
    "keepNew": 10,
    "freeNew": 20,
    "keepOpened": 7,
    "failOpening": 5,
    "closeOpened": 4,
    "refused": 3,
    "ended": 6,
    "keepWide": 9,
}
KEPT = {"keepNew": 10, "keepOpened": 7, "refused": 3, "keepWide": 9}


@pytest.fixture(scope="module", params=["a shared library", "linked in"])
def things(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    program = build_things(folder, go_commands()[0], linked_in=request.param == "linked in")
    (folder / "things.toml").write_text(THINGS_TOML)
    return program


@pytest.fixture(scope="module")
def measured(things, tmp_path_factory):
    """Everything that the program can do, in rounds, while handles are counted."""
    folder = tmp_path_factory.mktemp("measured")
    config = ("--pair-config", things.parent / "things.toml")
    lines = [f"{name} {times}" for name, times in DONE.items()] * ROUNDS
    watching = obeyed([things], lines, folder, *config, after=["keepNew 1"])
    return watching.report(), open_capture(watching.capture_file)


def test_every_handle_that_is_kept_is_counted_at_its_go_function(measured):
    report, _ = measured

    assert handles_at(report, DONE) == {name: ROUNDS * KEPT.get(name, 0) for name in DONE}


def test_what_was_made_given_up_and_freed_by_the_library_is_counted_once(measured):
    report, _ = measured

    (family,) = report["families"]

    made = sum(times for name, times in DONE.items() if name != "failOpening")
    assert family["created"] == ROUNDS * made
    assert family["destroyed"] == ROUNDS * (DONE["freeNew"] + DONE["closeOpened"])
    assert family["gone"] == ROUNDS * DONE["ended"]
    assert (family["unmatched"], family["dropped"]) == (0, 0)


def test_bytes_and_blocks_are_what_they_are_without_handles(measured):
    """The memory of a handle is in one total only, and its stack has no frame of the probe's."""
    report, capture = measured
    blocks = ROUNDS * sum(KEPT.values())

    ours = [
        one
        for one in report["findings"]
        if any(frame["function"] == "thing_new" for frame in one["stack"])
    ]

    assert sum(one["outstanding_blocks"] for one in ours) == blocks
    assert all(one["outstanding_bytes"] == 48 * one["outstanding_blocks"] for one in ours)
    for one in ours:
        assert any(frame["function"].startswith("main.keep") for frame in one["stack"]) or any(
            frame["function"] == "main.refused" for frame in one["stack"]
        )
        assert not any("missing" in frame["function"] for frame in one["stack"])
    assert all(raw.complete for raw in capture.stacks.values() if raw.family)


def test_functions_that_nobody_calls_or_has_are_said_not_to_be_counted(things, tmp_path):
    with Program([things], stderr=subprocess.DEVNULL) as target:
        assert target.line() == "ready"
        options = ("--exact", "--pair", "lfind:lsearch", "--pair", "malloc_trmi:free_it")
        with attach(tmp_path, target.pid, follow=options, seconds=1) as watching:
            assert watching.finish() == 0, watching.stderr
    notices = {one["code"]: one for one in watching.report()["notices"]}

    assert "lfind" in notices["pairs.direct"]["text"]
    assert notices["pairs.unknown"]["fix"] == "did you mean malloc_trim?"


def test_objects_counted_by_reference_are_given_up_with_the_last_of_them(tmp_path):
    """Their library alone calls what makes and ends them, and it calls directly."""
    program = build_objects(tmp_path / "objects", go_commands()[0])
    (tmp_path / "objects.toml").write_text(OBJECTS_TOML)
    done = {"keep": 10, "giveUp": 20, "keepReference": 5, "giveUpBoth": 8}
    config = ("--pair-config", tmp_path / "objects.toml")
    lines = [f"{name} {times}" for name, times in done.items()]
    report = obeyed([program], lines, tmp_path, *config, after=["giveUp 1"]).report()

    (family,) = report["families"]
    assert handles_at(report, done) == {
        "keep": 10,
        "giveUp": 0,
        "keepReference": 5,
        "giveUpBoth": 0,
    }
    assert (family["created"], family["destroyed"], family["unmatched"]) == (43, 28, 0)
    assert not {"probe.code-changed", "pairs.direct"} & {one["code"] for one in report["notices"]}
