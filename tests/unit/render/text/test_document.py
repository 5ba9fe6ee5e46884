"""The report as text: looks, widths, and names that want to do harm."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from cgoleak.model.notice import Notice
from cgoleak.model.report import Cause, Restart, Verdict
from cgoleak.render.text.document import TerminalRenderer
from cgoleak.verdict.baseline import Baseline
from cgoleak.verdict.limits import Limits
from support.builders import frames
from support.gates import checked
from support.golden import assert_golden
from support.reports import MIB, a_finding, a_report
from support.said_texts import english_left
from support.scenario_reports import SCENARIOS, rendered, scenario_report

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def shown(report, **options):
    out = io.BytesIO()
    TerminalRenderer(**options).render(report, out)
    return out.getvalue().decode()


@pytest.mark.parametrize("width", [80, 120])
def test_the_look_on_a_terminal(width):
    assert_golden(f"leak.terminal.{width}.txt", shown(a_report(), width=width).encode())


def test_the_look_in_a_pipe():
    assert_golden("leak.terminal.pipe.txt", shown(a_report()).encode())


def test_the_look_of_full_stacks():
    text = shown(a_report(), width=100, full_stacks=True)

    assert_golden("leak.terminal.full-stacks.txt", text.encode())


def test_the_look_of_a_restart_without_findings():
    report = a_report(
        cause=Cause.RESTART,
        summary="The process was killed at 780 MiB and started anew; nothing recovered.",
        findings=(),
        restarts=(Restart(12.5, 4242, 4310, "killed by the OOM killer", 800 * MIB, 40 * MIB),),
    )

    assert_golden("restart.terminal.80.txt", shown(report, width=80).encode())


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_first_24_lines_answer_the_five_questions(name):
    lines = shown(scenario_report(name), width=80).splitlines()
    asked = ["leak?", "how fast?", "which line?", "comes back?", "what to do?"]

    begins = [
        next(place for place, line in enumerate(lines) if f" {one} " in line) for one in asked
    ]

    assert begins == sorted(begins)
    assert lines.index("", begins[-1]) < 24


def test_a_number_and_its_unit_stand_on_one_line():
    report = a_report(summary="RSS grew by 12 MiB in 5 min 30 s, to 99 MiB, 40 % of it. " * 9)

    for width in range(60, 90):
        ends = [line.rsplit(" ", 1)[-1] for line in shown(report, width=width).splitlines()]
        assert not {"12", "5", "30", "99", "40"} & set(ends)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    long_names = frames(
        "C++ " + "ns::" * 60 + "make csrc/" + "deep/" * 30 + "a.cc:1",
        "Go github.com/a/" + "b" * 150 + ".Do /go/pkg/mod/" + "x/" * 80 + "y.go:2",
    )
    report = a_report(
        findings=(a_finding(stack=long_names, site="s" * 6, suppression="leak:short"),),
        notices=(Notice("a.b", "word " * 60, None),),
    )

    assert max(cell_len(line) for line in shown(report, width=width).split("\n")) <= width


def test_in_a_pipe_no_name_is_cut():
    name = "n" * 300

    text = shown(a_report(findings=(a_finding(stack=frames(f"C {name} x.c:1")),)))

    assert name in text
    assert "…" not in text.replace("… cgo call …", "")


def test_without_colour_there_is_no_escape_character():
    assert "\x1b" not in shown(a_report(), width=80)


def test_colour_adds_nothing_but_colour():
    plain = shown(a_report(), width=80)
    coloured = shown(a_report(), width=80, color=True)

    assert coloured != plain
    assert ESCAPE.sub("", coloured) == plain


def test_a_pipe_is_not_influenced_by_the_environment(monkeypatch):
    before = shown(a_report())
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "40"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)

    assert shown(a_report()) == before


HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202egnp.exe\u200b\r\n\x9b2J:smile:"


@pytest.mark.parametrize("width", [None, 80])
def test_hostile_names_are_shown_as_codes_and_never_as_markup(width):
    stack = frames("C name csrc/a.c:1", "Go main.f /src/b.go:2")
    bad = [type(frame)(frame.lang, HOSTILE, HOSTILE, 1, HOSTILE) for frame in stack]
    report = a_report(
        summary=HOSTILE,
        exe=f"/srv/{HOSTILE}",
        findings=(a_finding(stack=bad, evidence=(HOSTILE,), advice=HOSTILE, suppression=HOSTILE),),
        notices=(Notice(HOSTILE, HOSTILE, HOSTILE),),
    )

    text = shown(report, width=width, color=False)

    assert "[red]x[/red]" in text
    assert ":smile:" in text
    assert "\\x1b]0;owned\\x07" in text
    assert "\\u202e" in text
    assert all(char == "\n" or char.isprintable() for char in text)


@settings(max_examples=50)
@given(st.text(max_size=80), st.sampled_from([None, 60, 80]))
def test_whatever_a_name_holds_the_text_prints(name, width):
    stack = [type(frame)(frame.lang, name, name, 1, name) for frame in frames("C a", "Go b")]

    text = shown(a_report(summary=name, findings=(a_finding(stack=stack),)), width=width)

    assert all(char == "\n" or char.isprintable() for char in text)


def test_the_verdict_comes_before_the_numbers():
    text = shown(a_report())

    assert text.index("NATIVE LEAK  1 site") < text.index("where RSS went")
    assert text.index("where RSS went") < text.index("outstanding  ")


def test_a_report_that_is_longer_than_the_terminal_ends_with_the_verdict_and_the_line():
    report = scenario_report("c-leak")
    lines = shown(report, width=80).splitlines()

    for height in (24, len(lines)):
        assert shown(report, width=80, height=height).splitlines() == [
            *lines,
            "",
            f"NATIVE LEAK  {report.summary}",
            " which line?  histogram_new (histogram.c:15)",
        ]
    assert shown(report, width=80, height=len(lines) + 1).splitlines() == lines


def test_top_limits_the_sites_and_says_what_is_left_out():
    text = shown(a_report(), top=1)

    assert "1 suspect, 1 go-held, 1 bounded more: --top 4" in text
    assert "ctx_new" not in text


def test_bounded_and_suppressed_sites_have_a_row_but_no_details():
    text = shown(a_report(findings=(a_finding(Verdict.BOUNDED), a_finding(Verdict.SUPPRESSED))))

    assert text.count("row_dup (png_row.c:41)") == 2
    assert "allocated from" not in text


def test_a_line_for_the_suppression_is_kept_whole():
    line = "leak:" + "very_long_name_" * 12

    assert f"mute  {line}\n" in shown(a_report(findings=(a_finding(suppression=line),)), width=80)


def test_a_site_that_does_not_grow_is_flat():
    row = next(
        line
        for line in shown(a_report(findings=(a_finding(growth=0.0),))).split("\n")
        if line.startswith(" NATIVE LEAK ")
    )

    assert " flat " in row


def test_unknown_gc_cycles_are_said_to_be_unknown():
    report = a_report()
    window = type(report.window)(seconds=1, snapshots=1, gc_cycles=None, mode="exact")
    values = {name: getattr(report, name) for name in report.__slots__} | {"window": window}

    assert "GC cycles unknown" in shown(type(report)(**values))


@pytest.mark.parametrize("width", [60, 80, 100])
def test_chinese_lines_are_no_wider_than_the_terminal(width):
    text = shown(scenario_report("held-and-leak"), width=width, lang="zh")

    assert max(cell_len(line) for line in text.split("\n")) <= width
    assert "正以200KiB/s的速度泄漏C内存" in re.sub(r"\s", "", text)


def test_the_look_in_chinese():
    text = shown(scenario_report("held-and-leak"), width=80, lang="zh")

    assert_golden("held.terminal.80.zh.txt", text.encode())


LIMITS = [
    Limits(),
    Limits(max_bytes=9, max_blocks=9, max_growth=1.0),
    Limits(per=100, max_bytes_per_iteration=1, max_blocks_per_iteration=0.01),
    Limits(max_bytes=1 << 40),
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("known", [None, 0.5, 1.0])
@pytest.mark.parametrize("render", ["terminal", "html"])
def test_what_the_gate_decided_is_said_in_chinese(limits, known, render):
    report = checked(limits=limits, baseline=known and a_baseline(known))
    report = replace(
        report,
        gate=replace(report.gate, unused_suppressions=("leak:old",), stale_baseline=("abc123",)),
    )

    text = rendered(report, render, lang="zh").decode()
    head = text[: text.index(" 泄漏？ ")] if render == "terminal" else text_of_gate(text)  # noqa: RUF001

    assert english_left(head) == []
    assert "--update-baseline" in head


def a_baseline(share):
    """What the findings of ``a_report`` had at their last time, as a share of what they have."""
    then = [
        replace(one, outstanding_bytes=int(one.outstanding_bytes * share))
        for one in a_report().findings
    ]
    return Baseline().with_program("thumbs/thumbs.test", tuple(then), None)


def text_of_gate(page):
    begin = page.index('<div class="gate')
    return re.sub("<[^>]*>", " ", page[begin : page.index("<dl", begin)])
