"""attach, run and report: what the pipeline is asked, where results go, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest

from cgoleak.cli.main import run_command_line
from cgoleak.model.notice import Notice
from support.fake_pipeline import ProgressState, signal_ourselves


def test_attach_measures_for_a_minute_by_default(pipeline, capsys):
    assert run_command_line(["attach", "4242"]) == 0

    (call,) = pipeline.calls
    assert call["subject"] == 4242
    assert (call["plan"].duration_s, call["plan"].interval_s) == (60.0, None)
    assert call["capture"] is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("1.5h", 5400.0), ("5m", 300.0), ("500ms", 0.5), ("0", None)],
)
def test_times_are_written_with_their_unit(pipeline, text, seconds, capsys):
    assert run_command_line(["attach", "1", "--duration", text]) == 0

    assert pipeline.calls[0]["plan"].duration_s == seconds


def test_the_report_goes_to_standard_output_and_progress_to_standard_error(pipeline, capsys):
    pipeline.states = (ProgressState(phase="attaching"), ProgressState(elapsed_s=11.0, events=7))

    run_command_line(["attach", "4242"])

    captured = capsys.readouterr()
    assert "NATIVE LEAK" in captured.out
    assert "cgoleak: pid 4242: attaching\n" in captured.err
    assert "49 s left · 7 events" in captured.err


def test_json_on_standard_output_is_nothing_but_json(pipeline, capsys):
    pipeline.states = (ProgressState(elapsed_s=11.0),)

    run_command_line(["attach", "4242", "--format", "json"])

    assert json.loads(capsys.readouterr().out)["schema"] == "cgoleak.report/1"


def test_quiet_says_nothing_on_standard_error(pipeline, capsys):
    pipeline.states = (ProgressState(phase="attaching"), ProgressState(elapsed_s=11.0))

    run_command_line(["attach", "4242", "--quiet"])

    captured = capsys.readouterr()
    assert captured.err == ""
    assert "NATIVE LEAK" in captured.out


def test_quiet_with_a_file_prints_nothing_at_all(pipeline, tmp_path, capsys):
    run_command_line(["attach", "4242", "-q", "-o", str(tmp_path / "leak.json")])

    assert capsys.readouterr() == ("", "")


def test_several_files_are_written_each_in_its_format(pipeline, tmp_path, capsys):
    names = [tmp_path / "a.json", tmp_path / "b.txt", tmp_path / "c.cgoleak"]

    arguments = [word for name in names for word in ("-o", str(name))]
    assert run_command_line(["attach", "4242", *arguments]) == 0

    assert json.loads(names[0].read_bytes())["cause"] == "native-leak"
    assert names[1].read_text().startswith("cgoleak · pid 4242")
    assert pipeline.calls[0]["capture"] == names[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.txt"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leak.xml", "the suffix names no format"),
        ("exists.json", "exists"),
        ("no/such/dir/leak.json", "there is no directory"),
        ("folder.json", "is a directory"),
        ("exists.json/leak.json", "Not a directory"),
        ("loop.json", "Too many levels of symbolic links"),
        (f"{'a' * 300}.json", "File name too long"),
        ("pipe.cgoleak", "no pipe or device can hold"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_attaching(
    pipeline, tmp_path, name, words, capsys
):
    (tmp_path / "exists.json").write_text("old")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    os.mkfifo(tmp_path / "pipe.cgoleak")

    assert run_command_line(["attach", "4242", "-o", str(tmp_path / name)]) == 2

    assert words in capsys.readouterr().err
    assert pipeline.calls == []
    assert (tmp_path / "exists.json").read_text() == "old"


def test_a_name_may_be_as_long_as_the_file_system_takes(pipeline, tmp_path, capsys):
    path = tmp_path / f"{'a' * 250}.json"

    assert run_command_line(["attach", "4242", "-o", str(path)]) == 0
    assert path.exists()


def test_a_capture_is_written_where_a_link_points_as_reports_are(pipeline, tmp_path, capsys):
    (tmp_path / "link.cgoleak").symlink_to(tmp_path / "there.cgoleak")

    assert run_command_line(["attach", "4242", "-o", str(tmp_path / "link.cgoleak")]) == 0
    assert pipeline.calls[0]["capture"] == tmp_path / "there.cgoleak"


def test_a_file_that_is_refused_keeps_back_neither_the_others_nor_the_screen(
    pipeline, tmp_path, capsys
):
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    bad.symlink_to("/dev/full")

    assert run_command_line(["attach", "4242", "-o", str(bad), "-o", str(good)]) == 2

    captured = capsys.readouterr()
    assert "NATIVE LEAK" in captured.out
    assert "No space left on device" in captured.err
    assert json.loads(good.read_text())["schema"] == "cgoleak.report/1"


@pytest.mark.parametrize(("names", "status"), [(("a.json", "a.cgoleak"), 2), (("a.json",), 0)])
def test_a_capture_that_the_disk_cut_short_is_told_after_the_report(
    pipeline, tmp_path, capsys, names, status
):
    cut = Notice("capture.cut", "a.cgoleak ends after 3 snapshots: disk is full", "make room")
    pipeline.report = replace(pipeline.report, notices=(cut,))
    asked = [word for name in names for word in ("-o", str(tmp_path / name))]

    assert run_command_line(["attach", "4242", *asked]) == status

    captured = capsys.readouterr()
    assert "NATIVE LEAK" in captured.out
    assert (tmp_path / "a.json").exists()
    assert ("cannot write all of" in captured.err) is (status == 2)


def test_a_working_directory_that_was_removed_costs_no_report(
    pipeline, tmp_path, monkeypatch, capsys
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert run_command_line(["attach", "4242", "-o", str(tmp_path / "a.sarif")]) == 0
    assert "NATIVE LEAK" in capsys.readouterr().out
    assert run_command_line(["check", "--", "./worker"]) == 1
    capsys.readouterr()
    calls = len(pipeline.calls)
    assert run_command_line(["attach", "4242", "-o", "b.json"]) == 2
    assert "the working directory has been removed" in capsys.readouterr().err
    assert len(pipeline.calls) == calls


def test_an_unknown_suffix_is_answered_with_the_known_ones(pipeline, tmp_path, capsys):
    run_command_line(["attach", "4242", "-o", str(tmp_path / "leak.xml")])

    err = capsys.readouterr().err
    assert ".json (json)" in err
    assert ".cgoleak (the capture)" in err


def test_force_overwrites(pipeline, tmp_path, capsys):
    path = tmp_path / "leak.json"
    path.write_text("old")

    assert run_command_line(["attach", "4242", "--force", "-o", str(path)]) == 0
    assert json.loads(path.read_bytes())


def test_force_writes_through_a_link_and_keeps_it(pipeline, tmp_path, capsys):
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")

    run_command_line(["attach", "4242", "--force", "-o", str(link)])

    assert link.is_symlink()
    assert json.loads((tmp_path / "real.json").read_bytes())


def test_the_same_file_twice_is_refused(pipeline, tmp_path, capsys):
    path = str(tmp_path / "leak.json")

    assert run_command_line(["attach", "4242", "-o", path, "-o", path]) == 2
    assert pipeline.calls == []


def test_two_captures_are_refused(pipeline, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("a.cgoleak", "b.cgoleak")]

    assert run_command_line(["attach", "4242", "-o", paths[0], "-o", paths[1]]) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_measurement_and_the_report_is_printed(pipeline, number, capfd):
    before = signal.signal(number, signal.default_int_handler)  # nohup has one of them ignored
    pipeline.during = signal_ourselves(number)
    try:
        assert run_command_line(["attach", "4242"]) == 0
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    assert pipeline.calls[0]["stopped"]
    assert "NATIVE LEAK" in capfd.readouterr().out
    assert after == signal.default_int_handler


def test_a_second_ctrl_c_is_asked_for_patience_and_changes_nothing(pipeline, capfd):
    pipeline.during = signal_ourselves(signal.SIGINT, signal.SIGINT)

    assert run_command_line(["attach", "4242"]) == 0

    captured = capfd.readouterr()
    assert captured.err.count("detaching, please wait") == 1
    assert "NATIVE LEAK" in captured.out


def test_a_signal_that_is_ignored_stays_ignored(pipeline, capfd):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    pipeline.during = signal_ourselves(signal.SIGHUP)
    try:
        assert run_command_line(["attach", "4242"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not pipeline.calls[0]["stopped"]


def test_handlers_come_back_after_an_error_too(pipeline, capsys):
    before = signal.getsignal(signal.SIGINT)
    pipeline.error = ZeroDivisionError()

    run_command_line(["attach", "4242"])

    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (None, 0), (7, 7), (137, 137)])
def test_run_passes_on_the_status_of_the_command(pipeline, status, expected, capsys):
    pipeline.exit_status = status

    assert run_command_line(["run", "--", "./worker"]) == expected


def test_run_leaves_standard_output_to_the_command(pipeline, capsys):
    run_command_line(["run", "--", "./worker"])

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "NATIVE LEAK" in captured.err


def test_run_hands_the_options_of_the_command_on(pipeline, capsys):
    run_command_line(["run", "--top", "3", "--", "./worker", "--top", "9", "-o", "x.json"])

    assert pipeline.calls[0]["subject"] == ("./worker", "--top", "9", "-o", "x.json")
    assert pipeline.calls[0]["plan"].duration_s is None


def test_run_writes_its_file_although_the_command_failed(pipeline, tmp_path, capsys):
    pipeline.exit_status = 1
    path = tmp_path / "leak.json"

    assert run_command_line(["run", "-o", str(path), "--", "false"]) == 1
    assert json.loads(path.read_bytes())


def test_a_report_cannot_be_turned_into_a_capture(pipeline, tmp_path, capsys):
    answer = run_command_line(["report", "a.cgoleak", "-o", str(tmp_path / "b.cgoleak")])

    assert answer == 2
    assert "cannot be turned into a capture" in capsys.readouterr().err


def test_report_of_a_missing_capture_is_an_error_of_the_capture(pipeline, tmp_path, capsys):
    assert run_command_line(["report", str(tmp_path / "none.cgoleak")]) == 3
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("command", [["attach", "1"], ["run", "--", "true"]])
@pytest.mark.parametrize(
    ("options", "sample", "limit"),
    [
        ([], None, 0.05),
        (["--max-overhead", "20"], None, 0.2),
        (["--exact"], None, None),
        (["--sample", "64KiB"], 64 << 10, None),
        (["--sample", "64KiB", "--max-overhead", "1"], 64 << 10, 0.01),
    ],
)
def test_the_cost_is_limited_unless_somebody_knows_better(
    pipeline, command, options, sample, limit, capsys
):
    assert run_command_line([command[0], *options, *command[1:]]) == 0

    plan = pipeline.calls[0]["plan"]
    assert (plan.sample_bytes, plan.max_overhead) == (sample, limit)


def test_all_blocks_within_a_limit_contradict_each_other(pipeline, capsys):
    assert run_command_line(["attach", "1", "--exact", "--max-overhead", "5"]) == 2

    assert pipeline.calls == []
    assert "does not go with --max-overhead" in capsys.readouterr().err
