"""Errors, help and exit statuses."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from cgoleak.capture.writer import CaptureWriter
from cgoleak.cli import main
from cgoleak.cli.main import COMMANDS, cli, run_command_line
from cgoleak.errors import NotPermitted, OutputError, PolicyError, TargetExited
from support.builders import a_capture, a_snapshot, a_target, counts


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "cgoleak", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotPermitted("cannot trace 42", cause="ptrace_scope is 1", fix="run as root"), 3),
        (TargetExited("process 42 ended"), 3),
        (OutputError("no room"), 2),
        (PolicyError("bad policy"), 2),
    ],
)
def test_each_of_our_errors_ends_with_its_status(pipeline, error, status, capsys):
    pipeline.error = error

    assert run_command_line(["attach", "42"]) == status
    assert capsys.readouterr().err.startswith(f"error: {error.what}\n")


def test_an_error_is_shown_with_cause_and_fix_and_no_traceback(pipeline, capsys):
    pipeline.error = NotPermitted("cannot trace 42", cause="ptrace_scope is 1", fix="run as root")

    run_command_line(["attach", "42"])

    captured = capsys.readouterr()
    assert captured.err.strip() == (
        "error: cannot trace 42\n  cause: ptrace_scope is 1\n  fix:   run as root"
    )
    assert captured.out == ""


def test_an_option_before_the_command_is_told_where_it_stands(capsys):
    assert run_command_line(["--lang", "zh", "report", "x.cgoleak"]) == 2
    assert "options stand after the command: cgoleak COMMAND --lang" in capsys.readouterr().err


def test_control_characters_in_an_error_are_shown_as_codes(pipeline, capsys):
    pipeline.error = NotPermitted("cannot trace \x1b]0;x\x07 \u202e")

    run_command_line(["attach", "42"])

    assert "\\x1b]0;x\\x07 \\u202e" in capsys.readouterr().err


def test_anything_else_is_a_bug_with_traceback_and_versions(pipeline, capsys):
    pipeline.error = ZeroDivisionError("who divides?")

    assert run_command_line(["attach", "42"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "who divides?" in err
    assert "this is a bug in cgoleak" in err
    assert "frida" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["attach"],
        ["attach", "x"],
        ["attach", "0"],
        ["attach", "42", "--duration", "soon"],
        ["attach", "42", "--interval", "0"],
        ["attach", "42", "--top", "0"],
        ["attach", "42", "--format", "xml"],
        ["run"],
        ["report"],
        ["explain", "no-such-word"],
    ],
)
def test_wrong_use_has_status_2_and_points_to_the_help(pipeline, arguments, capsys):
    assert run_command_line(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "--help" in err
    assert pipeline.calls == []


def test_ctrl_c_outside_of_a_measurement_has_status_130(pipeline, capsys):
    pipeline.error = KeyboardInterrupt()  # type: ignore[assignment]

    assert run_command_line(["attach", "42"]) == 130


def test_the_help_line_of_each_command_is_the_first_line_of_its_own_help(pipeline):
    for name, line in COMMANDS.items():
        command = import_module(f"cgoleak.cli.{name}").command
        first, _, _ = command.help.partition("\n")
        assert first == line, name


def test_every_command_has_help_and_examples(pipeline, capsys):
    for name in COMMANDS:
        assert run_command_line([name, "--help"]) == 0
        assert f"cgoleak {name}" in capsys.readouterr().out.partition("Examples:")[2]


def test_examples_in_the_help_stand_on_lines_of_their_own(pipeline, capsys):
    for name in [None, *COMMANDS]:
        run_command_line(["--help"] if name is None else [name, "--help"])
        shown = capsys.readouterr().out
        assert "\n  Examples:\n    cgoleak " in shown, name
        assert "\\b" not in shown, name


def test_without_a_command_the_help_is_shown_and_no_error(capsys):
    assert run_command_line([]) == 2

    captured = capsys.readouterr()
    assert captured.err.startswith("Usage: cgoleak [OPTIONS] COMMAND [ARGS]...\n")
    assert "error:" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["4242"], "write: cgoleak attach 4242"),
        (["atach", "4242"], "did you mean 'attach'?"),
        (["nonsense"], "see: cgoleak --help"),
        (["watch", "--exe"], "see: cgoleak watch --help"),
        (["attach", "worker"], "list the Go processes with: cgoleak ps"),
        (["doctor", "0"], "list the Go processes with: cgoleak ps"),
        (["check"], "nothing to check; write: cgoleak check -- CMD"),
        (["check", "--pid", "42", "a.cgoleak"], "one thing is checked at a time; write"),
        (["report", "a.cgoleak", "-o", "-"], "pick what is printed with --format"),
        (["explain", "no-such-word"], "list all words: cgoleak explain"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(pipeline, arguments, fix, capsys):
    assert run_command_line(arguments) == 2
    assert fix in capsys.readouterr().err


def test_a_directory_is_no_capture(tmp_path, capsys):
    assert run_command_line(["report", str(tmp_path)]) == 3
    assert "cause: it is a directory\n  fix:   name a file in it" in capsys.readouterr().err


EXAMPLES = sorted(
    {
        line
        for path in sorted(Path(main.__file__).parent.glob("*.py"))
        for line in re.findall(r"^      (cgoleak .*)$", path.read_text("utf-8"), re.MULTILINE)
    }
)


def test_there_are_examples():
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_in_the_help_are_understood(pipeline, line, tmp_path, monkeypatch, capsys):
    """Each is run for real, against a pipeline that attaches to nothing."""
    monkeypatch.chdir(tmp_path)
    for name, made in (("inputs", None), ("check", a_capture())):
        module = import_module(f"cgoleak.cli.{name}")
        monkeypatch.setattr(module, "open_capture", lambda path, made=made: made)

    status = run_command_line(shlex.split(line)[1:])

    err = capsys.readouterr().err
    # Doctor may find that this machine, or process 4242, cannot be measured; the report that the
    # pipeline gives has a leak.
    allowed = {"doctor": {0, 3}, "check": {1}}.get(line.split()[1], {0})
    assert status in allowed, err
    assert "error:" not in err


def test_help_imports_neither_rich_nor_frida_nor_a_command():
    code = (
        "import sys; from cgoleak.cli.main import run_command_line; run_command_line(['--help'])\n"
        "heavy = {'rich', 'frida', 'elftools', 'cgoleak.cli.attach', 'sqlite3'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert answer.stderr == b"[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_neither_frida_nor_what_watches(name):
    code = (
        "import sys; from cgoleak.cli.main import run_command_line\n"
        f"run_command_line([{name!r}, '--help'])\n"
        "heavy = {'frida', 'cgoleak.watching.loop', 'cgoleak.probe.session'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert answer.stderr == b"[]\n"


def test_a_capture_is_rendered_without_what_records(tmp_path):
    path = tmp_path / "a.cgoleak"
    with CaptureWriter(path) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=5)}))
    code = (
        "import sys; from cgoleak.cli.main import run_command_line\n"
        f"run_command_line(['report', {str(path)!r}])\n"
        "heavy = {'frida', 'elftools', 'jinja2', 'email', 'cgoleak.target.preflight'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert b"1 snapshot" in answer.stdout
    assert answer.stderr == b"[]\n"


def test_the_version_is_shown(capsys):
    assert run_command_line(["--version"]) == 0
    assert re.fullmatch(r"cgoleak \S.*\n", capsys.readouterr().out)


def test_the_program_exits_with_the_status_of_the_command():
    assert python("--help").returncode == 0
    assert python("nonsense").returncode == 2
    assert python("doctor", str(2**22 + 1)).returncode == 3


def test_explain_prints_verdict_and_cause(capsys):
    assert run_command_line(["explain", "native-leak"]) == 0

    out = capsys.readouterr().out
    assert "NATIVE LEAK (verdict)\n" in out
    assert "NATIVE LEAK (cause)\n" in out
    assert "decided:" in out


def test_explain_without_a_word_lists_the_words(capsys):
    assert run_command_line(["explain"]) == 0
    assert "symbols.no-dwarf" in capsys.readouterr().out


def test_explain_knows_what_was_meant(capsys):
    assert run_command_line(["explain", "native-leek"]) == 2
    assert "did you mean native-leak" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["doctor --format json", "explain", "--help", "--version"])
def test_a_reader_that_goes_away_is_no_error(words):
    with subprocess.Popen(
        [sys.executable, "-m", "cgoleak", *words.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(20) in {0, 3}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_cost_nothing_but_what_is_printed(closed, tmp_path):
    """Were nothing put in their place, what is printed would be written into the next file."""
    capture, report = tmp_path / "c.cgoleak", tmp_path / "r.json"
    with CaptureWriter(capture) as writer:
        writer.write_target(a_target())
        writer.add_snapshot(a_snapshot(1, {1: counts(born=5)}))
    command = f"exec {sys.executable} -m cgoleak report {capture} -o {report} {closed}"

    answer = subprocess.run(["sh", "-c", command], capture_output=True, check=False)

    assert answer.returncode == 0, answer.stderr
    assert json.loads(report.read_text())["schema"] == "cgoleak.report/1"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["doctor", "explain", "--help", "--version"])
def test_a_full_disk_behind_standard_output_is_told(words):
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "cgoleak", *words.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert answer.returncode == 2
    assert b"error: cannot write to" in answer.stderr


def test_too_few_file_descriptors_are_told_with_what_raises_their_number(pipeline, capsys):
    pipeline.error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert run_command_line(["attach", "42"]) == 3

    told = capsys.readouterr().err
    assert "Too many open files" in told
    assert "fix:   raise the limit of its shell: ulimit -n" in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_that_nobody_can_read_keeps_its_status():
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "cgoleak", "report", "/nonexistent"], stderr=full, check=False
        )

    assert answer.returncode == 3


def test_a_pipe_is_no_report_and_that_is_the_cause_that_is_told(capsys):
    """Who looks what it is has eaten it."""
    reader, pipe = os.pipe()
    os.write(pipe, b"{}")
    os.close(pipe)

    assert run_command_line(["report", f"/dev/fd/{reader}"]) == 3
    os.close(reader)
    err = capsys.readouterr().err
    assert "it is not a regular file" in err
    assert "write it to a file first" in err


def test_ctrl_c_while_modules_are_loaded_shows_no_traceback():
    """All but the module that takes the handler away are loaded after that."""
    code = (
        "import builtins, sys, signal\n"
        "real = builtins.__import__\n"
        "def told(name, *rest):\n"
        "    inside = rest and (rest[0] or {}).get('__name__') == 'cgoleak.__main__'\n"
        "    if inside and name in {'atexit', 'threading', 'os'}:\n"
        "        print(signal.getsignal(signal.SIGINT) == signal.SIG_DFL)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = told\n"
        "import cgoleak.__main__\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert set(answer.stdout.split()) == {"True"}


def test_the_group_lists_its_commands_in_the_order_of_the_contract():
    assert cli.list_commands(click.Context(cli)) == list(COMMANDS)
