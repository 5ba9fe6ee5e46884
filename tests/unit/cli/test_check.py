"""check: what is measured, which status it ends with, and that the report is written anyway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import import_module

import pytest

from cgoleak.capture.writer import CaptureWriter
from cgoleak.cli.main import run_command_line
from cgoleak.errors import NoCgo, NotGo
from cgoleak.model.report import Verdict
from support.builders import a_capture, a_snapshot, a_target
from support.reports import a_finding, a_report


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty repository."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def clean(pipeline):
    pipeline.report = a_report(findings=(a_finding(Verdict.BOUNDED),))
    return pipeline


def check(*words: object) -> int:
    return run_command_line(["check", *map(str, words)])


def test_a_leak_ends_with_1_and_is_shown_on_standard_error(pipeline, here, capsys):
    assert check("--", "./worker.test", "-test.v") == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "FAIL  worker.test: over policy" in captured.err
    assert "mute  leak:row_dup" in captured.err
    (call,) = pipeline.calls
    assert call["subject"] == ("./worker.test", "-test.v")
    assert call["plan"].closing
    assert call["plan"].duration_s is None
    assert call["plan"].max_overhead is None


def test_a_gate_samples_only_when_it_is_told_to(clean, here, capsys):
    assert check("--max-overhead", "5", "--", "./worker.test") == 0

    assert clean.calls[0]["plan"].max_overhead == 0.05


def test_no_leak_ends_with_0_and_one_line(clean, here, capsys):
    assert check("--", "./worker.test") == 0
    assert capsys.readouterr().err == "cgoleak: worker.test: within policy, no leak found\n"


def test_the_commands_own_failure_counts_more_and_the_report_is_written(pipeline, here, capsys):
    pipeline.exit_status = 7

    assert check("-o", "leak.json", "-q", "--", "./worker.test") == 7

    gate = json.loads((here / "leak.json").read_text())["gate"]
    assert gate["passed"] is False
    assert gate["program"] == "worker.test"


def test_options_of_the_command_are_its_own(clean, here, capsys):
    assert check("--", "./t", "--pid", "3", "--", "-o") == 0
    assert clean.calls[0]["subject"] == ("./t", "--pid", "3", "--", "-o")


def test_a_process_is_measured_for_a_minute_and_settles(clean, here, capsys):
    assert check("--pid", 4242) == 0

    (call,) = clean.calls
    assert (call["subject"], call["plan"].duration_s, call["plan"].settle_s) == (4242, 60.0, 10.0)


def test_a_capture_is_judged(pipeline, here, capsys, monkeypatch):
    monkeypatch.setattr(
        import_module("cgoleak.cli.check"), "open_capture", lambda path: a_capture()
    )

    assert check("leak.cgoleak") == 1
    assert "FAIL  thumbnailer: over policy" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--",),
        ("leak.cgoleak", "--", "./t"),
        ("--pid", 1, "--", "./t"),
        ("--pid", 1, "leak.cgoleak"),
        ("--suspect", "maybe", "--", "./t"),
        ("--per", 0, "--", "./t"),
        ("--policy", "nothing.toml", "--", "./t"),
        ("--suppressions", "nothing.supp", "--", "./t"),
        ("--baseline", "nothing.json", "--", "./t"),
        ("--update-baseline", "--", "./t"),
        ("-o", "leak.exe", "--", "./t"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_runs(pipeline, here, capsys, words):
    assert check(*words) == 2
    assert pipeline.calls == []
    assert "error: " in capsys.readouterr().err


def test_what_cannot_be_measured_ends_with_3(pipeline, here, capsys):
    pipeline.error = NotGo("process 1 is not a Go program")

    assert check("--", "./t") == 3


def test_a_program_is_no_capture_and_the_words_for_it_are_told(pipeline, here, capsys):
    (here / "prog").write_bytes(b"\x7fELF\x02")

    assert check("prog") == 2
    assert "cgoleak check -- prog" in capsys.readouterr().err


def test_the_policy_file_above_is_found(clean, here, capsys, monkeypatch):
    clean.report = a_report(findings=(a_finding(Verdict.SUSPECT),))
    (here / "cgoleak.toml").write_text('suspect = "fail"\n')
    package = here / "cgo" / "png"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)

    assert check("--", "/tmp/go-build1/b001/png.test") == 1
    assert "cgo/png/png.test: over policy" in capsys.readouterr().err


def test_a_policy_above_the_repository_is_none_of_ours(pipeline, here, monkeypatch, capsys):
    (here / "cgoleak.toml").write_text("nonsense = 1\n")
    inner = here / "inner"
    (inner / ".git").mkdir(parents=True)
    monkeypatch.chdir(inner)

    assert check("--", "./t") == 1


def test_pyproject_has_a_table_too_and_the_command_line_counts_more(clean, here, capsys):
    clean.report = a_report(findings=(a_finding(Verdict.SUSPECT),))
    (here / "pyproject.toml").write_text('[tool.cgoleak]\nsuspect = "fail"\n')

    assert check("--", "./t") == 1
    assert check("--suspect", "warn", "--", "./t") == 0


def test_suppressions_are_read_beside_the_policy_and_unused_ones_are_listed(clean, here, capsys):
    (here / "cgoleak.toml").write_text('suppressions = ["lsan.supp"]\n')
    (here / "lsan.supp").write_text("# known\nleak:not_here\n")

    assert check("--", "./t") == 0
    assert "suppressions that match no site here: leak:not_here" in capsys.readouterr().err


def test_the_baseline_is_written_and_then_tolerates_what_it_knows(pipeline, here, capsys):
    assert check("--baseline", "b.json", "--update-baseline", "--", "./t") == 0
    first = (here / "b.json").read_bytes()
    assert check("--baseline", "b.json", "--", "./t") == 0
    assert check("--baseline", "b.json", "--update-baseline", "--", "./t") == 0
    assert (here / "b.json").read_bytes() == first

    pipeline.report = a_report(findings=(a_finding(site="new000"),))
    assert check("--baseline", "b.json", "--", "./t") == 1
    assert "new since the baseline" in capsys.readouterr().err


def test_a_folder_takes_a_file_of_each_format_and_old_ones_are_replaced(pipeline, here, capsys):
    for _ in range(2):
        assert check("--output-dir", "out/leaks", "--", "./worker.test") == 1

    names = sorted(path.name for path in (here / "out" / "leaks").iterdir())
    assert names == [f"worker.test.{suffix}" for suffix in ("json", "junit.xml", "sarif", "txt")]


def test_a_folder_that_cannot_be_made_is_told_before_anything_runs(pipeline, here, capsys):
    (here / "file").write_text("")

    assert check("--output-dir", "file/leaks", "--", "./t") == 2
    assert pipeline.calls == []


def test_a_baseline_that_cannot_be_written_is_told_before_anything_runs(pipeline, here, capsys):
    assert check("--baseline", "no/dir/b.json", "--update-baseline", "--", "./t") == 2
    assert pipeline.calls == []
    assert "there is no directory" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_not_taken_for_a_leak(tmp_path):
    capture = tmp_path / "c.cgoleak"
    with CaptureWriter(capture) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1))
    reader, pipe = os.pipe()
    os.close(reader)

    answer = subprocess.run(
        [sys.executable, "-m", "cgoleak", "check", capture], stdout=pipe, cwd=tmp_path, check=False
    )

    os.close(pipe)
    assert answer.returncode == 0


def test_a_program_without_c_takes_our_place_so_that_what_ends_us_ends_it(
    pipeline, here, monkeypatch
):
    pipeline.error = NoCgo("process 1 contains no C code")
    became = []

    def execute(file, words):
        became.append((file, words))
        raise SystemExit

    monkeypatch.setattr(os, "execvp", execute)
    before = [signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)]
    try:
        check("--", "./plain", "-v")
        restored = [signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)]
    finally:
        for number, handler in zip((signal.SIGPIPE, signal.SIGXFSZ), before, strict=True):
            signal.signal(number, handler)

    assert became == [("./plain", ("./plain", "-v"))]
    assert restored == [signal.SIG_DFL, signal.SIG_DFL]


def test_a_program_without_c_is_not_started_after_we_were_told_to_end(
    pipeline, here, monkeypatch, capsys
):
    def told(*_, stop, **__):
        stop.set()
        raise NoCgo("process 1 contains no C code")

    monkeypatch.setattr(sys.modules["cgoleak.pipeline"], "run", told)
    monkeypatch.setattr(os, "execvp", lambda *_: pytest.fail("it was started"))

    assert check("--", "./plain") == 130


def test_github_gets_annotations_and_a_summary(pipeline, here, capsys, monkeypatch):
    summary = here / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    assert check("--format", "github", "--", "./t") == 1
    assert capsys.readouterr().err.startswith("::error ")
    assert summary.read_text().startswith("before\n### ❌ cgoleak: <code>t</code>")
