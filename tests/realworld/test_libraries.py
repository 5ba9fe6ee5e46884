"""Handles of libraries that are installed: exactly what a program keeps, at its lines.

Run by ``make realworld``; ``make libraries`` installs them from Debian.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.live import handles_at, obeyed
from support.realworld import MARKS, build_packages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = MARKS


def installed(package: str) -> str:
    """Give the version of a library that can be built with, or ""."""
    try:
        command = ["pkg-config", "--modversion", package]
        asked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return ""
    return asked.stdout.strip()


def built(name: str, folder: Path) -> Path:
    build_packages(folder, f"./{name}", {"CGO_CXXFLAGS": "-O1 -g -w --std=c++11"})
    return folder / Path(name).name


def counted(
    program: Path, pairs: str, done: Mapping[str, int], folder: Path, before: Sequence[str] = ()
) -> dict[str, Any]:
    """Have a program do this while handles are counted; give the report."""
    lines = [f"{name} {times}" for name, times in done.items()]
    again = [f"{name} 1" for name in done]
    options = ("--pair-set", pairs)
    report = obeyed([program], lines, folder, *options, before=before, after=again).report()
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
    report = counted(vips, "libvips", done, tmp_path, before=["noCache 1"])

    gone = {"giveUpMemory": 0, "giveUpBlack": 0, "thumbnails": 0}
    assert handles_at(report, done) == done | gone | {"keepBlack": 2 * 7}
    assert "pairs.direct" not in {one["code"] for one in report["notices"]}


def test_what_the_cache_of_libvips_keeps_is_no_leak(vips, tmp_path):
    report = counted(vips, "libvips", {"thumbnails": 300}, tmp_path)

    (family,) = report["families"]
    assert family["created"] > 300
    assert family["created"] - family["destroyed"] < 1000
    assert "native-leak" not in {one["verdict"] for one in report["handles"]}
