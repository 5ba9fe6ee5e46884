"""The live view's frames as text: looks, sizes, what is left out, and names that mean harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from cgoleak.model.ids import SiteKey
from cgoleak.model.notice import Notice
from cgoleak.model.report import BalanceLine, Cause, Restart, Verdict
from cgoleak.model.words import ENGLISH
from cgoleak.render.live import Moment, Order, Pane, View, frame
from cgoleak.render.live.parts import largest_parts
from cgoleak.render.live.sparkline import sparkline
from cgoleak.render.text.paper import Paper, printed
from support.builders import frames
from support.golden import assert_golden
from support.reports import MIB, a_finding, a_growing_report, a_report

NOW = Moment("pid 4242", "measuring", 31.7, 60.0, 19_293_798)
SITES = View()
SIZES = [(60, 15), (80, 24), (120, 40)]


def text_of(report, view=SITES, moment=NOW, *, width=80, height=24, lang="en"):
    drawn = frame(report, view, moment, width=width, height=height, lang=lang)
    paper = Paper(width=width, cut=True, lines=list(drawn.lines))
    return printed(paper, color=False).decode()


def a_watch(**changes):
    report = a_growing_report()
    timeline = replace(
        report.timeline,
        outstanding_bytes=tuple(None for _ in report.timeline.seconds),
        slack_bytes=(3 * MIB, *(None for _ in report.timeline.seconds[1:])),
    )
    window = replace(report.window, mode="watch")
    return replace(report, findings=(), window=window, timeline=timeline, **changes)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_look_of_the_sites(width, height):
    text = text_of(a_growing_report(), width=width, height=height)

    assert_golden(f"live.sites.{width}x{height}.txt", text.encode())


def test_the_look_of_an_open_stack():
    view = View(pane=Pane.STACK, selected=SiteKey("a3f1c2"))

    assert_golden("live.stack.80x24.txt", text_of(a_growing_report(), view).encode())


def test_the_look_of_the_keys():
    assert_golden("live.keys.80x24.txt", text_of(a_report(), View(pane=Pane.HELP)).encode())


def test_the_look_of_a_watch_with_a_restart():
    restart = Restart(12.5, 4242, 4310, "killed by the OOM killer", 800 * MIB, 40 * MIB)
    report = a_watch(
        cause=Cause.RESTART,
        summary="The process was killed at 780 MiB and started anew; nothing recovered.",
        restarts=(restart,),
    )
    moment = Moment("pid 4242", "watching", 31.7)

    text = text_of(report, View(), moment, height=30)

    assert_golden("live.watch.80x30.txt", text.encode())


def test_the_look_in_chinese():
    view = View(paused=True, order=Order.GROWTH)

    assert_golden("live.sites.80x24.zh.txt", text_of(a_growing_report(), view, lang="zh").encode())


def test_before_the_first_judgement_there_are_the_subject_and_the_keys():
    lines = text_of(None, height=12).splitlines()

    assert lines[0] == "cgoleak · pid 4242 · 31 s / 60 s · 18.4 MiB outstanding"
    assert "The first numbers come in a moment." in lines[2]
    assert lines[-1].split() == ["p", "pause", "w", "sheet", "?", "keys", "q", "finish"]


def test_a_single_snapshot_is_no_verdict():
    report = a_growing_report()
    begun = replace(report, window=replace(report.window, snapshots=1))

    text = text_of(begun)

    assert "NATIVE LEAK" not in text
    assert "bounded" not in text
    assert "No C memory" not in text
    assert "where RSS went" in text


def test_a_pause_says_at_which_time():
    text = text_of(a_growing_report(), View(paused=True))

    assert text.splitlines()[0].endswith(" PAUSED at 30 s")
    assert "p go on" in text


def test_numbers_that_are_old_say_how_old():
    late = replace(NOW, elapsed_s=55.0)

    assert " · as of 30 s" in text_of(a_growing_report(), View(), late).splitlines()[0]
    assert "as of" not in text_of(a_growing_report(), View(), NOW)


@pytest.mark.parametrize("report", [None, a_watch()])
def test_a_watch_that_waits_says_so_and_can_be_finished(report):
    lines = text_of(report, View(), Moment("worker", "waiting", 3.0)).splitlines()

    assert " · 3 s" in lines[0]
    assert lines[1] == "nothing runs; waiting for it to be started"
    assert "The first numbers" not in "".join(lines)
    assert lines[-1].endswith("q finish")


def test_a_watch_says_when_hooks_are_in():
    inside, outside = (Moment("pid 1", phase, 31.0) for phase in ("measuring", "watching"))

    assert "hooks are in" in text_of(a_watch(), View(), inside)
    assert "hooks are in" not in text_of(a_watch(), View(), outside)
    assert "hooks are in" not in text_of(a_growing_report(), View(), inside)


@pytest.mark.parametrize(
    ("moment", "view", "said"),
    [
        (replace(NOW, phase="detaching"), View(), " detaching …"),
        (replace(NOW, phase="reading symbols"), View(), " reading symbols …"),
        (NOW, View(finished=True), " finishing …"),
    ],
)
def test_the_last_line_says_what_is_being_done(moment, view, said):
    assert text_of(a_growing_report(), view, moment).splitlines()[-1] == said


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (Order.VERDICT, "NATIVE LEAK"),
        (Order.BYTES, "bounded"),
        (Order.GROWTH, "go-held"),
        (Order.BLOCKS, "SUSPECT"),
        (Order.AGE, "suppressed"),
    ],
)
def test_the_table_is_sorted_by_the_column_that_is_marked(order, first):
    def one(verdict, site, size, growth, blocks, oldest):
        return a_finding(
            verdict,
            site=site,
            outstanding_bytes=size,
            growth=growth,
            outstanding_blocks=blocks,
            oldest_seconds=oldest,
        )

    report = a_report(
        findings=(
            one(Verdict.NATIVE_LEAK, "1", 1, 1.0, 1, 1.0),
            one(Verdict.SUSPECT, "2", 2, 2.0, 9, 2.0),
            one(Verdict.GO_HELD, "3", 3, 9.0, 3, 3.0),
            one(Verdict.BOUNDED, "4", 9, 4.0, 4, 4.0),
            one(Verdict.SUPPRESSED, "5", 5, 5.0, 5, 9.0),
        )
    )

    # Even where columns are short the one that is sorted by is there.
    lines = text_of(report, View(order=order), width=60, height=20).splitlines()

    (head,) = (place for place, line in enumerate(lines) if line.startswith(" verdict"))
    assert f"{order.value}↓" in lines[head]
    assert lines[head + 1].startswith(f"▸{first}")


def test_however_narrow_there_is_a_number_beside_the_site():
    text = text_of(a_growing_report(), width=40, height=12)

    assert "▸NATIVE LEAK    18.2 MiB  row_du" in text


def many_sites(count):
    return a_report(findings=tuple(a_finding(site=f"{site:06x}") for site in range(count)))


@pytest.mark.parametrize("cursor", [0, 17, 49])
def test_the_cursor_is_always_on_the_screen(cursor):
    view = View(selected=SiteKey(f"{cursor:06x}"))

    text = text_of(many_sites(50), view, height=20)

    assert text.count("▸") == 1
    assert text.splitlines()[-1].endswith(f"{cursor + 1}/50")


@pytest.mark.parametrize(
    ("stack", "row"),
    [
        (
            ("C row_dup row.c:41", "Go example.org/png.Do do.go:2"),
            "row_dup (row.c:41) ← png.Do (do.go:2)",
        ),
        (
            ("C row_dup rows.c:41", "Go example.org/png.Encode encode.go:2"),
            "row_dup (rows.c:41) ← png.Encode",
        ),
        (
            ("C histogram_new histogram.c:1", "Go example.org/thumb/algo.Process.func1 b.go:2"),
            "histogram_new ← algo.Process.func1",
        ),
        (
            ("C row_dup rows.c:41", "Go a.b/c.Encode[d.e/f.TheOneInTheMiddle] b.go:2"),
            "row_dup (rows.c:41)",
        ),
        (
            (
                "C a_function_of_such_a_name a.c:1",
                "Go example.org/thumb/algo.Process.func1.2 b.go:2",
            ),
            "a_function_of_such_a_name (a.c:1)",
        ),
        (
            ("C a_function_of_a_very_long_name of_many.c:1", "Go main.(*T).main b.go:2"),
            "a_function_of_a_very_long_name ← …*T).main",
        ),
    ],
)
def test_what_does_not_fit_into_a_narrow_table_is_left_out_in_the_order_of_its_worth(stack, row):
    text = text_of(a_report(findings=(a_finding(stack=frames(*stack)),)))

    (line,) = (line for line in text.splitlines() if line.startswith("▸"))
    assert line.endswith(f"  {row}")


def test_a_site_that_was_freed_meanwhile_says_so():
    view = View(pane=Pane.STACK, selected=SiteKey("gone"))

    assert "This site holds nothing any more." in text_of(a_report(), view)


def test_scrolling_ends_with_the_last_line():
    stack = View(pane=Pane.STACK, selected=SiteKey("a3f1c2"), offset=10_000)

    lines = text_of(a_growing_report(), stack, height=12).splitlines()

    assert lines[-2] == "   mute  leak:row_dup"
    assert lines[-1].endswith("100 %")


@pytest.mark.parametrize("pane", list(Pane))
@pytest.mark.parametrize("size", [(20, 3), (40, 6), (60, 15), (80, 24), (200, 70)])
def test_the_picture_has_the_size_of_the_terminal(pane, size):
    width, height = size
    long_names = frames("C++ " + "ns::" * 60 + "make csrc/" + "deep/" * 30 + "a.cc:1", "Go a/b.Do")
    report = replace(a_growing_report(), findings=(a_finding(stack=long_names, site="s" * 6),) * 3)

    drawn = frame(report, View(pane=pane), NOW, width=width, height=height)

    assert len(drawn.lines) == height
    assert max(line.cell_len for line in drawn.lines) <= width


HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202egnp.exe\u200b\r\n\x9b2J"


@pytest.mark.parametrize("pane", list(Pane))
@pytest.mark.parametrize("width", [60, 120])
def test_hostile_names_are_shown_as_codes(pane, width):
    stack = frames("C name csrc/a.c:1", "Go main.f /src/b.go:2")
    bad = [type(one)(one.lang, HOSTILE, HOSTILE, 1, HOSTILE) for one in stack]
    finding = a_finding(stack=bad, evidence=(HOSTILE,), advice=HOSTILE, suppression=HOSTILE)
    report = replace(
        a_growing_report(),
        summary=HOSTILE,
        findings=(finding,),
        notices=(Notice(HOSTILE, HOSTILE, HOSTILE),),
        target=replace(a_report().target, exe=f"/srv/{HOSTILE}", go_version=HOSTILE),
    )

    text = text_of(report, View(pane=pane, selected=finding.site), width=width, height=40)

    assert all(char == "\n" or char.isprintable() for char in text)
    assert "\\x1b" in text
    subject = text_of(None, View(), Moment(HOSTILE, "waiting"), width=width)
    assert all(char == "\n" or char.isprintable() for char in subject)


# --- the shortened sheet ----------------------------------------------------------------------


def test_the_sheet_keeps_the_total_and_what_changed_most_and_adds_up_the_rest():
    sheet = (
        BalanceLine("RSS", 100, 100, 0, ""),
        BalanceLine("a", 10, 20, 10, ""),
        BalanceLine("b", 50, 49, -1, ""),
        BalanceLine("c", 30, 10, -20, ""),
        BalanceLine("d", 10, 21, 11, ""),
    )

    shown = largest_parts(sheet, 4, ENGLISH)

    assert [line.part for line in shown] == ["RSS", "c", "d", "2 more parts"]
    assert shown[-1] == BalanceLine("2 more parts", 60, 69, 9, "")


def test_a_sheet_that_fits_is_whole():
    sheet = a_report().balance

    assert largest_parts(sheet, len(sheet), ENGLISH) == sheet


def test_the_rest_has_no_start_where_a_part_has_none():
    sheet = (BalanceLine("a", None, 5, None, ""), BalanceLine("b", 1, 2, 1, ""))

    assert largest_parts(sheet, 1, ENGLISH) == (BalanceLine("2 more parts", None, 7, None, ""),)


# --- curves -----------------------------------------------------------------------------------


def test_a_curve_goes_from_its_lowest_to_its_highest_value():
    assert sparkline((0.0, 8.0), (0, 70), 8) == "▂▃▄▅▅▆▇█"
    assert sparkline((0.0, 4.0, 8.0), (0, 70, 0), 8) == "▃▅▆█▆▅▃▁"


def test_a_curve_that_hardly_moves_looks_flat():
    assert set(sparkline((0.0, 9.0), (1000, 1001), 9)) == {"█"}
    assert set(sparkline((0.0, 9.0), (0, 0), 9)) == {"▁"}


def test_where_nobody_looked_a_curve_is_blank():
    assert sparkline((0.0, 4.0, 8.0), (None, None, 5), 8) == "       █"
    assert sparkline((0.0, 1.0), (None, None), 4) == "    "


@pytest.mark.parametrize("width", [0, 1, 7, 300])
def test_a_curve_has_its_width(width):
    assert cell_len(sparkline((0.0, 1.0, 5.0), (3, None, 9), width)) == width
