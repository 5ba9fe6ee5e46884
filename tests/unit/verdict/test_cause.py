"""The cause of a window, from parts of RSS that are drawn over time. Numbers in MiB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.report import Cause, Verdict
from cgoleak.model.snapshot import ProbeCounters
from cgoleak.verdict import analyse
from support.builders import a_capture, a_snapshot, counts, frames
from support.sheets import MIB, draw_sheets, sheets_of

if TYPE_CHECKING:
    from cgoleak.model.frames import Frame

CAUSES = {
    "nothing grows": (
        Cause.STABLE,
        """
        before  40*30
        in-use  8 12 8 12 8 12
        """,
    ),
    "a leak, however small beside what is there": (
        Cause.NATIVE_LEAK,
        """
        before  2000
        lost    1..30
        """,
    ),
    "a leak beside a larger part that does not grow": (
        Cause.NATIVE_LEAK,
        """
        slack   300
        lost    1..30
        """,
    ),
    "cleanups free a part, and the rest waits for them": (
        Cause.GO_HELD,
        """
        lost     0..9 0..9 0..9
        cleaned  0*10 9*10 18*10
        gc       1*10 2*10 3*10
        """,
    ),
    "the live heap of Go rises through its collections": (
        Cause.GO_HEAP,
        """
        in-use  8..95/3
        marked  6..93/3
        gc      1..30
        alloc   10..300/10
        """,
    ),
    "batches come and go, and the window ends high": (
        Cause.STABLE,
        """
        before  10
        files   2
        lost    2 3 5 7 9 11 13 2 3 5 7 9 11 13 2 3 5 7 9 11 13 2 3 5 7 9 11
        """,
    ),
    "batches come and go while something else grows": (
        Cause.OTHER,
        """
        before  10
        stacks  1..27
        slack   2 3 5 7 9 11 13 2 3 5 7 9 11 13 2 3 5 7 9 11 13 2 3 5 7 9 11
        """,
    ),
    "each collection finds more alive, and they come ever more seldom": (
        Cause.GO_HEAP,
        """
        in-use  8..68/2
        marked  6*3 12*5 24*10 48*12
        gc      2*3 3*5 4*10 5*12
        alloc   10..70/2
        """,
    ),
    "the last of few collections found less alive": (
        Cause.UNKNOWN,
        """
        in-use  8..68/2
        marked  6*3 30*5 24*10 20*12
        gc      2*3 3*5 4*10 5*12
        alloc   10..70/2
        """,
    ),
    "Go freed a burst and has not handed it back": (
        Cause.GO_RETAINED,
        """
        in-use  8*5 200*5 8*20
        free    0*10 192*20
        marked  6
        gc      1*9 2*21
        alloc   10..300/10
        """,
    ),
    "a burst is garbage that no collection has found since": (
        Cause.GO_RETAINED,
        """
        in-use  8*5 200*25
        marked  6
        gc      1*5 2*25
        alloc   1*5 400*25
        """,
    ),
    "malloc keeps what C has freed": (
        Cause.ALLOCATOR_RETAINED,
        """
        lost    0*5 160*3 2*22
        slack   0*8 158*22
        """,
    ),
    "C memory in use grows by more than what malloc keeps": (
        Cause.UNKNOWN,
        """
        lost    0*8 2 12 6 16 10 20 14 24 18 28 22 32 26 36 30 40 34 44 38 48 42 46
        slack   0*8 2..44/2
        """,
    ),
    "malloc keeps room for a pool that goes up and down": (
        Cause.STABLE,
        """
        lost    2 4 9 5 2 4 9 5 2 4 9 5 2 4 9 5 2 4 9 5 2
        slack   0 0 0 4 7 5 0 4 7 5 0 4 7 5 0 4 7 5 0 4 7
        """,
    ),
    "a pool that goes on between the same bounds, and the window ends at the upper one": (
        Cause.STABLE,
        """
        before  10
        slack   4 7
        lost    2 4 6 4 2 4 6 4 2 4 6 4 2 4 6 4 2 4 6 4 2 4 6
        files   4 8
        """,
    ),
    "it goes up and down, and both bounds rise": (
        Cause.OTHER,
        """
        before  10
        files   4..34/1
        slack   4 6 8 6 4 6 8 6 4 6 8 6 4 6 8 6 4 6 8 6 4 6 8 6 4 6 8 6
        """,
    ),
    "a few small parts of a start, none of them worth the name": (
        Cause.STABLE,
        """
        in-use  1 2 3*28
        slack   0 1 2*28
        stacks  0 1 2*28
        """,
    ),
    "no part makes half, and what waits for finalizers makes most": (
        Cause.GO_HELD,
        """
        lost     0..40/4 0..40/4 0..44/4
        cleaned  0*11 40*11 80*12
        gc       1*11 2*11 3*12
        in-use   0..30/3 0..30/3 0..33/3
        marked   1
        slack    0*11 20*11 18*12
        """,
    ),
    "libraries are loaded at the start, and stay": (Cause.STABLE, "files  4..20/4 20*25"),
    "files are mapped": (Cause.OTHER, "files  4..120/4"),
    "threads are started and stay": (Cause.OTHER, "stacks  1..30"),
    "a cache fills within the first half and stays": (
        Cause.STABLE,
        "lost  2..20/2 20*20",
    ),
    "Go and libraries warm up, then all is level": (
        Cause.STABLE,
        """
        in-use  2 6 9 11 12*26
        files   2 5 6*28
        marked  1 3*29
        gc      0 1..29
        """,
    ),
    "Go's heap breathes between two collections": (
        Cause.STABLE,
        """
        in-use  4 5 6 7 4 5 6 7 4 5 6 7 4 5 6 7
        marked  4
        gc      1*4 2*4 3*4 4*4
        """,
    ),
}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("4..20/4 20*25", "by 16.0 MiB in the first half of 30 s and has stayed since: "),
        ("1..8/1 8*8 9*14", "by 8.0 MiB in 30 s, 1.0 MiB of it in the second half: "),
    ],
)
def test_what_a_rise_that_is_over_did_in_its_later_half_is_said(files, said):
    report = analyse(draw_sheets(f"files  {files}"))

    assert report.cause is Cause.STABLE
    assert said in report.summary


@pytest.mark.parametrize(("cause", "text"), CAUSES.values(), ids=CAUSES)
def test_the_cause_follows_from_the_parts(cause, text):
    report = analyse(draw_sheets(text))

    assert report.cause is cause, report.summary


def test_what_came_and_went_within_the_window_is_named_with_what_has_come_back():
    report = analyse(
        draw_sheets(
            """
            in-use  8*5 200*3 8*22
            free    0*8 192*2 120 60 30 4*17
            marked  6
            gc      1*7 2*23
            alloc   10..300/10
            """
        )
    )

    assert report.cause is Cause.GO_RETAINED, report.summary
    assert report.summary.endswith("of it has come back.")


def test_a_burst_that_has_come_back_outweighs_a_start_that_stays():
    report = analyse(
        draw_sheets(
            """
            before  1
            files   2 8*29
            in-use  8*5 200*3 8*22
            free    0*8 192*2 120 60 30 4*17
            marked  6
            gc      1*7 2*23
            alloc   10..300/10
            """
        )
    )

    assert report.cause is Cause.GO_RETAINED, report.summary
    assert report.summary.endswith("188 MiB of it has come back.")


def test_a_peak_of_the_heap_in_use_that_is_gone_is_garbage_that_came_back():
    report = analyse(
        draw_sheets(
            """
            in-use  8..38/3 35..8/3 8*9
            marked  6
            gc      1..30
            alloc   10..300/10
            """
        )
    )

    assert report.cause is Cause.GO_RETAINED, report.summary
    assert report.summary.endswith("30.0 MiB of it has come back.")


def test_a_burst_that_was_collected_and_handed_back_between_two_looks_is_told_as_one():
    """Some stays as buffer: the burst is the answer, not the warm-up that is left."""
    report = analyse(
        draw_sheets(
            """
            in-use  8*3 8..158/30 16*22
            marked  6
            gc      1..30
            alloc   10..300/10
            """
        )
    )

    assert report.cause is Cause.GO_RETAINED, report.summary
    assert "has come back" in report.summary


def test_a_cause_that_outweighs_a_leak_is_named_and_the_leak_with_it():
    report = analyse(
        draw_sheets(
            """
            slack   0*8 300*22
            lost    1..30
            """
        )
    )

    assert report.cause is Cause.ALLOCATOR_RETAINED
    assert report.summary.startswith("1 site in the code is losing C memory")
    assert "The larger part: RSS grew by" in report.summary


def test_a_leak_is_named_before_a_cause_of_its_own_size():
    report = analyse(
        draw_sheets(
            """
            slack   0*8 40*22
            lost    1..30
            """
        )
    )

    assert report.cause is Cause.NATIVE_LEAK


def test_garbage_that_no_collection_has_looked_at_yet_names_no_cause():
    report = analyse(
        draw_sheets(
            """
            in-use  4..33
            marked  3
            gc      1
            alloc   10..300/10
            """
        )
    )

    assert report.cause is Cause.UNKNOWN
    assert "29.0 MiB of it in Go's heap" in report.summary


def test_growth_of_c_memory_that_no_site_explains_is_unknown():
    report = analyse(draw_sheets("lost 0*20 1..20"))

    assert report.cause is Cause.UNKNOWN
    assert report.findings[0].verdict is Verdict.SUSPECT


def test_without_snapshots_the_cause_is_unknown():
    assert analyse(a_capture()).cause is Cause.UNKNOWN


def test_the_parts_of_a_step_are_those_that_changed():
    report = analyse(draw_sheets("before 40\nslack 0*8 60*22\nfiles 3"))
    changed = {line.part: line.change_bytes for line in report.balance if line.change_bytes}

    assert changed == {"RSS": 60 << 20, "allocator slack": 60 << 20}


parts = st.fixed_dictionaries(
    {
        name: st.lists(st.integers(0, 400), min_size=1, max_size=30)
        for name in ("in-use", "free", "slack", "before", "stacks", "files", "marked")
    }
)


@given(parts, st.integers(1, 5))
def test_a_leak_is_never_called_stable_whatever_else_happens(rows, step):
    """What the other parts do may outweigh it, and then the sentence has both."""
    leak = {"lost": [step * place for place in range(1, 31)]}

    report = analyse(sheets_of(rows | leak))

    assert report.findings[0].verdict is Verdict.NATIVE_LEAK
    assert report.cause not in {Cause.STABLE, Cause.UNKNOWN}
    assert "losing C memory" in report.summary


@given(parts)
def test_the_lines_add_up_to_rss_and_none_is_negative(rows):
    balance = analyse(sheets_of(rows)).balance

    assert all(line.now_bytes >= 0 and (line.start_bytes or 0) >= 0 for line in balance)
    assert balance[0].now_bytes == sum(line.now_bytes for line in balance[1:])


def a_leak_of(module_file: str, line: int) -> tuple[Frame, ...]:
    return frames(
        f"C sqlite3_make_{line} sqlite3.c:{line}",
        "runtime runtime.cgocall",
        f"Go github.com/mattn/go-sqlite3.open {module_file}:{line}",
        "Go main.lookup /src/app/main.go:48",
    )


def test_many_leaks_for_one_function_of_the_program_are_told_in_one_sentence():
    stacks = {n: a_leak_of("/go-sqlite3@v1.14.24/sqlite3.go", n) for n in range(1, 6)}
    snapshots = [
        a_snapshot(at, {n: counts(born=10 * at, block_bytes=4096, oldest_s=at) for n in stacks})
        for at in range(1, 31)
    ]

    report = analyse(a_capture(snapshots, stacks))

    assert report.cause is Cause.NATIVE_LEAK
    assert "all of it for main.lookup (main.go:48)" in report.summary


def test_tables_of_the_probe_that_go_at_the_detach_do_not_hide_what_grew() -> None:
    rows = {"stacks": [*range(4, 13)]}
    capture = sheets_of(rows)
    snapshots = [
        replace(
            one,
            native=replace(one.native, own=table * MIB),
            process=replace(one.process, rss=one.process.rss + table * MIB),
        )
        for one, table in zip(capture.snapshots, [0, 2, 3, 4, 5, 6, 7, 8, 0], strict=True)
    ]

    assert analyse(replace(capture, snapshots=tuple(snapshots))).cause is Cause.OTHER


def test_what_goes_up_and_down_is_said_with_the_height_of_each_half() -> None:
    report = analyse(draw_sheets("files  2 4 8 12 2 4 8 12 2 4 8 12 2 4 8 12 2 4 8 12"))

    assert report.cause is Cause.STABLE
    assert "RSS goes up and down, to " in report.summary


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("before  40*30", "RSS did not grow in 30 s."),
        ("before  10..300/10", "of it in C memory; hooks tell which lines made it."),
        ("before  10..155/5\nstacks  10..155/5\nslack  10..155/5", "RSS grew by "),
    ],
)
def test_where_no_calls_were_followed_nothing_is_said_of_sites(text, said):
    drawn = draw_sheets(text)
    watched = replace(
        drawn,
        stacks={},
        snapshots=tuple(
            replace(one, stacks={}, counters=ProbeCounters(events=0)) for one in drawn.snapshots
        ),
    )

    summary = analyse(watched).summary

    assert said in summary
    assert "site" not in summary
