"""Every Go at hand, however it links, and what compiles its C: leaks named with whole stacks.

``CGOLEAK_GO_ROOTS`` names further Go installations, separated by colons. One worker has four
faults at once: plain C, a callback from C, ``C.CString`` and C++. Not every pair is built: each Go
links in every way with gcc's -O2, and the newest one has its C compiled in every way.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from functools import partial

import pytest

from support.compilers import COMPILERS, GCC_O2, jumps, wrap
from support.findings import findings_at, has_stack, leaks, reported, without_lines
from support.go_programs import go_commands, missing_tools
from support.sample import Scenario, build_sample, scenarios
from support.scenario_runs import Measured, Runs, measure

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

SHAPES = {
    "exe": ((), ""),
    "pie": (("-buildmode=pie",), ""),
    "exe-s-w": ((), "-s -w"),
    "pie-s-w": (("-buildmode=pie",), "-s -w"),
}
FAULTS = ("c-leak", "callback-leak", "cstring-leak", "cpp-leak")
SECONDS = 12
NOT_CLEAN = {"probe.slots-changed", "probe.code-changed", "probe.not-gone"}


def release(go: str) -> str:
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout.split()[2]


def builds() -> list[tuple[str, str, str]]:
    """All of them if other Gos are named, or all is asked for; else what other tests do not see."""
    gos = go_commands()
    if not (os.environ.get("CGOLEAK_GO_ROOTS") or os.environ.get("CGOLEAK_LIVE") == "full"):
        return [(go, shape, GCC_O2) for go in gos for shape in ("pie", "pie-s-w")]
    newest = max(gos, key=lambda go: [int(part) for part in re.findall(r"\d+", release(go))])
    return [(go, shape, GCC_O2) for go in gos for shape in SHAPES] + [
        (newest, "exe", compiler) for compiler in COMPILERS if compiler != GCC_O2
    ]


BUILDS = [
    pytest.param(
        build,
        id="-".join((release(build[0]), build[1], *(c for c in build[2:] if c != GCC_O2))),
    )
    for build in (builds() if missing_tools() is None else [])
]


def four_faults() -> Scenario:
    """Put four scenarios into one; all have the same load."""
    chosen = [one for one in scenarios() if one.name in FAULTS]
    sites = tuple(site for one in chosen for site in one.sites)
    return replace(chosen[0], worker=("-scenario", ",".join(FAULTS)), sites=sites)


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """Build and begin everything that this session asks for; building is part of a run."""
    wanted = {
        item.callspec.params["build"]: item.callspec.id
        for item in request.session.items
        if item.path == request.path
    }
    runs = Runs()
    for build, name in wanted.items():
        runs.begin(build, partial(build_and_measure, *build, tmp_path_factory.mktemp(name)))
    yield runs
    runs.close()


def build_and_measure(go, shape, compiler, folder) -> tuple[Measured, set[tuple[str, str]]]:
    """Give what was measured, and from which C function to which the worker's code jumps."""
    flags, ldflags = SHAPES[shape]
    commands = wrap(compiler, folder / "compiler")
    if COMPILERS[compiler].links:
        # Go's own linker cannot read what is to be compiled at the end.
        ldflags = f"{ldflags} -linkmode=external".strip()
    programs = build_sample(folder / "programs", go, *flags, ldflags=ldflags, environment=commands)
    jumped = set() if compiler == GCC_O2 else jumps(programs / "worker")
    measured = measure(four_faults(), programs, folder / "run", seconds=SECONDS, interval=1)
    return measured, jumped


@pytest.fixture
def measured(runs, build) -> Measured:
    return runs.result(build)[0]


@pytest.fixture
def expected_sites(runs, build):
    """The sites, without the functions that leave by a jump: their frame is the next one's."""
    jumped = runs.result(build)[1]
    return [
        replace(site, stack=tuple(one for one in site.stack if not leaves(one, site.stack, jumped)))
        for site in four_faults().sites
    ]


def leaves(name, stack, jumped) -> bool:
    inner = stack[: stack.index(name)]
    return any((name, callee) in jumped for callee in inner)


def go_part(stack) -> list[str]:
    """What is left where C has no names: the Go functions, leaf first."""
    return [name for name in stack if "." in name and "::" not in name]


@pytest.mark.parametrize("build", BUILDS)
def test_leaks_are_named_with_whole_stacks(build, measured, expected_sites):
    """Without symbols C functions have no names; the Go ones have, from the runtime's own table."""
    stripped = build[1].endswith("-s-w")
    report = measured.report
    assert measured.status == 0, measured.stderr
    assert report["target"]["stripped"] is stripped
    expected = set()
    for site in expected_sites:
        if stripped:
            names = go_part(site.stack)
            found = [one for one in leaks(report) if has_stack(one["stack"], names)]
        else:
            found = findings_at(report, site)
            assert [without_lines(one) for one in found] == [[]] * len(found), reported(report)
        assert found, f"{site.counter} is not found in\n{reported(report)}"
        assert {one["verdict"] for one in found} == {"native-leak"}, reported(report)
        assert all(one["stack"][-1]["function"] == "runtime.goexit" for one in found)
        expected |= {one["site"] for one in found}
    assert {one["site"] for one in leaks(report)} == expected, reported(report)


@pytest.mark.parametrize("build", BUILDS)
def test_the_worker_is_left_as_it_was(build, measured):
    codes = {notice["code"] for notice in measured.report["notices"]}

    assert measured.answered
    assert measured.failed_requests == 0
    assert measured.still_hooked == []
    assert not codes & (NOT_CLEAN | {"go.no-stacks", "go.no-memory-numbers"}), codes
