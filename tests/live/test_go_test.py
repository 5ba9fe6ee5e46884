"""``go test -exec 'cgoleak check --' ./...`` on the sample, with every Go at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from support.findings import has_stack, reported, without_lines
from support.go_programs import go_commands, missing_tools
from support.sample import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

SYMBOLS: Final = "-ldflags=-s=false -w=false"
LOST: Final = ("example.org/thumbworker/algo.Caption", "example.org/thumbworker/gate/lost.Test")


def release(go: str) -> str:
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout.split()[2]


GOS = [pytest.param(go, id=release(go)) for go in go_commands()]


def go_test(
    go: str, *words: str, check: str | None = "", fault: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run tests of the sample, under ``cgoleak check`` unless ``check`` is None."""
    kept = {k: v for k, v in os.environ.items() if k not in {"GOROOT", "GOFLAGS"}}
    settings = {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOPROXY": "off"}
    wrapped = [] if check is None else ["-exec", f"{sys.executable} -m cgoleak check {check} --"]
    return subprocess.run(
        [go, "test", "-count=1", "-buildvcs=false", *wrapped, *words],
        cwd=ROOT,
        env=kept | settings | {"SAMPLE_FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def reports(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.parametrize("go", GOS)
def test_packages_are_checked_side_by_side_and_only_the_leaking_one_fails(go, tmp_path):
    done = go_test(go, SYMBOLS, "./gate/...", check=f"--output-dir {tmp_path}")

    words = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines() if "\t" in line}
    assert words == {
        f"example.org/thumbworker/gate/{name}": "FAIL" if name == "lost" else "ok"
        for name in ("caption", "lost", "pure", "thumbs")
    }, done.stdout
    found = reports(tmp_path)
    assert found.keys() >= {"gate-caption-caption.test", "gate-lost-lost.test"}
    for name, report in found.items():
        assert report["gate"]["passed"] is (name != "gate-lost-lost.test"), reported(report)
    (leak,) = (
        one for one in found["gate-lost-lost.test"]["findings"] if one["verdict"] == "native-leak"
    )
    names = [frame["function"] for frame in leak["stack"]]
    assert all(any(name.startswith(wanted) for name in names) for wanted in LOST), names
    assert without_lines(leak) == []
    assert leak["outstanding_blocks"] == 10


@pytest.mark.parametrize("go", GOS)
def test_a_fault_of_the_module_fails_its_tests_at_the_c_and_the_go_line(go, tmp_path):
    done = go_test(go, SYMBOLS, "./gate/thumbs", check=f"--output-dir {tmp_path}", fault="c-leak")

    assert done.returncode == 1, done.stdout
    assert "histogram_new (histogram.c:15) ← example.org/thumbworker/algo.Process" in done.stdout
    (report,) = reports(tmp_path).values()
    leaks = [one for one in report["findings"] if one["verdict"] == "native-leak"]
    assert leaks
    for one in leaks:
        assert has_stack(one["stack"], ["histogram_new", "example.org/thumbworker/algo.Process"])
        assert one["stack"][-1]["function"] == "runtime.goexit"


@pytest.mark.parametrize("go", GOS)
@pytest.mark.parametrize(
    "what", [("-bench", ".", "-benchtime", "100x"), ("-fuzz", "FuzzThumbnail", "-fuzztime", "50x")]
)
def test_benchmarks_and_fuzz_targets_are_checked(go, tmp_path, what):
    words = ("-run", "XXX", *what, "./gate/thumbs")
    done = go_test(go, SYMBOLS, *words, check=f"--output-dir {tmp_path}")

    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = reports(tmp_path).values()
    assert report["gate"]["passed"]


def test_without_symbols_the_leak_is_found_and_what_is_missing_is_said(tmp_path):
    """``go test`` leaves them out by itself; Go frames have names all the same."""
    done = go_test(go_commands()[0], "./gate/lost", check=f"--output-dir {tmp_path}")

    assert done.returncode == 1, done.stdout
    (report,) = reports(tmp_path).values()
    (leak,) = (one for one in report["findings"] if one["verdict"] == "native-leak")
    assert any(frame["function"].startswith(LOST[1]) for frame in leak["stack"])
    fixes = [notice["fix"] for notice in report["notices"] if notice["code"].startswith("closing")]
    assert fixes == ["keep the symbols: go test -ldflags='-s=false -w=false'"]


@pytest.mark.parametrize(
    ("words", "fault", "said"),
    [
        (("./gate/thumbs",), "no-such-fault", "the module knows no fault no-such-fault"),
        (("-run", "Thumbnails", "-timeout", "1ms", "./gate/thumbs"), "", "test timed out"),
    ],
    ids=["panics", "times out"],
)
def test_a_failing_test_fails_as_it_would_alone(tmp_path, words, fault, said):
    go = go_commands()[0]
    alone = go_test(go, SYMBOLS, *words, check=None, fault=fault)
    checked = go_test(go, SYMBOLS, *words, check=f"--output-dir {tmp_path}", fault=fault)

    assert checked.returncode == alone.returncode == 1
    assert said in alone.stdout
    assert said in checked.stdout
    (report,) = reports(tmp_path).values()
    assert report["window"]["ended"] == "target-exited"
