"""``cgoleak diff`` and ``cgoleak report`` on JSON reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cgoleak.cli.main import run_command_line
from support.scenario_reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

BASE = str(REPORTS / "finalizer-held.json")
NEW = str(REPORTS / "held-and-leak.json")


def test_two_reports_are_compared(capfdbinary):
    assert run_command_line(["diff", BASE, NEW]) == 0

    assert b"1 site gained (+6.2 MiB)" in capfdbinary.readouterr().out


def test_a_leak_that_is_not_the_cause_is_named_beside_it(tmp_path: Path, capfdbinary):
    page = tmp_path / "d.html"

    assert run_command_line(["diff", BASE, NEW, "-o", str(page)]) == 0

    assert b"native-leak + go-held\n" in capfdbinary.readouterr().out
    assert b"NATIVE LEAK + GO-HELD C MEMORY" in page.read_bytes()


def test_files_are_written_by_their_suffix(tmp_path: Path, capfdbinary):
    page, document = tmp_path / "d.html", tmp_path / "d.json"

    assert run_command_line(["diff", BASE, NEW, "-q", "-o", str(page), "-o", str(document)]) == 0

    assert capfdbinary.readouterr().out == b""
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
    assert json.loads(document.read_bytes())["schema"] == "cgoleak.diff/1"


def test_other_suffixes_are_refused(tmp_path: Path, capfd):
    assert run_command_line(["diff", BASE, NEW, "-o", str(tmp_path / "d.pb.gz")]) == 2
    assert "known are .txt (terminal), .html (html) and .json (json)" in capfd.readouterr().err


@pytest.mark.parametrize("content", [b"{}", b"{", b"no capture", b""])
def test_what_is_no_report_is_refused(tmp_path: Path, capfd, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)

    assert run_command_line(["diff", BASE, str(path)]) == 3
    assert "x.json" in capfd.readouterr().err


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capfd):
    assert run_command_line(["diff", BASE, str(tmp_path / "none.cgoleak")]) == 3
    assert "none.cgoleak" in capfd.readouterr().err


def test_a_json_report_is_rendered_again(tmp_path: Path, capfdbinary):
    page = tmp_path / "leak.html"

    assert run_command_line(["report", NEW, "-o", str(page)]) == 0

    assert b"is losing C memory at 200 KiB/s" in capfdbinary.readouterr().out
    assert b"histogram_new" in page.read_bytes()
