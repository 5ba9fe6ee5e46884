"""Handles of libraries that are installed: exactly what a program keeps, at its lines.

Run by ``make realworld``; ``make libraries`` installs them from Debian.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.go_programs import go_commands, missing_tools
from support.hooks import hooked_slots
from support.live import Program, attach, handles_at

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif("CGOLEAK_REALWORLD" not in os.environ, reason="run by: make realworld"),
]

HERE = Path(__file__).resolve().parent


def installed(package: str) -> str:
    """Give the version of a library that can be built with, or ""."""
    try:
        command = ["pkg-config", "--modversion", package]
        asked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return ""
    return asked.stdout.strip()


def built(name: str, folder: Path) -> Path:
    environment = os.environ | {
        "CGO_ENABLED": "1",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_CXXFLAGS": "-O1 -g -w --std=c++11",
    }
    command = [str(go_commands()[0]), "build", "-buildvcs=false", "-o", f"{folder}/", f"./{name}"]
    subprocess.run(command, cwd=HERE, env=environment, check=True, timeout=1800)
    return folder / Path(name).name


def counted(
    program: Path, pairs: str, done: Mapping[str, int], folder: Path, before: str = ""
) -> dict[str, Any]:
    """Have a program do this while handles are counted; give the report."""
    with Program([program], stderr=subprocess.DEVNULL) as target:
        assert target.line() == "ready"
        if before:
            target.say(before)
            assert target.line() == f"done {before}"
        with attach(folder, target.pid, follow=("--exact", "--pair-set", pairs)) as watching:
            watching.until_hooked(target.pid)
            for name, times in done.items():
                target.say(f"{name} {times}")
                assert target.line() == f"done {name} {times}"
            watching.interrupt()
            assert watching.finish() == 0, watching.stderr
        assert hooked_slots(target.pid) == []
        for name in done:
            target.say(f"{name} 1")
            assert target.line() == f"done {name} 1"
    report = watching.report()
    assert "probe.code-changed" not in {one["code"] for one in report["notices"]}
    return report


@pytest.mark.skipif(
    not installed("opencv4").startswith("4.6."),
    reason="gocv 0.31 wants OpenCV 4.6: make libraries, on Debian 12",
)
def test_what_a_program_keeps_of_opencv_is_counted_at_its_lines(tmp_path):
    """Matrices in every way that gocv makes them: new, a view, a clone, of a list."""
    done = {
        "keepMats": 10,
        "closeMats": 20,
        "keepRegion": 7,
        "keepClones": 9,
        "split": 5,
        "contours": 6,
        "detectors": 4,
        "keepDetector": 3,
    }
    report = counted(built("libs/opencv", tmp_path), "opencv", done, tmp_path)

    assert handles_at(report, done) == done | {"closeMats": 0, "detectors": 0}
    kinds = {one["name"]: one for one in report["families"]}
    assert kinds["Mat"]["created"] - kinds["Mat"]["destroyed"] == 10 + 7 + 9 + 5
    assert kinds["PointsVector"]["created"] == kinds["PointsVector"]["destroyed"] == 6
    assert all(kinds[name]["created"] == kinds[name]["destroyed"] == 4 for name in ("ORB", "CLAHE"))
    assert {one["unmatched"] for one in kinds.values()} == {0}


@pytest.fixture(scope="module")
def vips(tmp_path_factory):
    if not installed("vips"):
        pytest.skip("libvips is not installed: make libraries")
    return built("libs/vips", tmp_path_factory.mktemp("vips"))


def test_what_a_program_keeps_of_libvips_is_counted_at_its_lines(vips, tmp_path):
    """Whoever drops an object's last reference; an operation's image keeps that as well."""
    done = {
        "keepMemory": 10,
        "giveUpMemory": 20,
        "keepReferences": 5,
        "keepBlack": 7,
        "giveUpBlack": 9,
        "thumbnails": 12,
    }
    report = counted(vips, "libvips", done, tmp_path, before="noCache 1")

    gone = {"giveUpMemory": 0, "giveUpBlack": 0, "thumbnails": 0}
    assert handles_at(report, done) == done | gone | {"keepBlack": 2 * 7}
    assert "pairs.direct" not in {one["code"] for one in report["notices"]}


def test_what_the_cache_of_libvips_keeps_is_no_leak(vips, tmp_path):
    report = counted(vips, "libvips", {"thumbnails": 300}, tmp_path)

    (family,) = report["families"]
    assert family["created"] > 300
    assert family["created"] - family["destroyed"] < 1000
    assert "native-leak" not in {one["verdict"] for one in report["handles"]}
