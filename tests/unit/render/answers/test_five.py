"""The five answers: what a first reader takes away."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cgoleak.model.goprofile import GoSiteGrowth
from cgoleak.model.notice import Notice
from cgoleak.model.report import BalanceLine, Cause, GoReturn, Timeline, Verdict
from cgoleak.render.answers.five import answers_to, finding_to_blame
from cgoleak.units import format_rate
from support.builders import frames
from support.reports import MIB, a_report
from support.scenario_reports import SCENARIOS, many_sites, scenario_report


def told(report):
    return {one.name: f"{one.text} {one.detail}".strip() for one in answers_to(report)}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_five_answers(name):
    answers = answers_to(scenario_report(name))

    assert [one.name for one in answers] == ["leak", "speed", "line", "return", "do"]
    assert all(one.text and one.question.endswith("?") for one in answers)


def test_a_leak_is_told_with_its_rate_its_line_and_what_to_do():
    answers = told(scenario_report("c-leak"))

    assert answers["leak"] == "Yes. C memory accumulates and is not freed."
    assert answers["speed"].startswith(
        "200 KiB/s of C memory 16.5 GiB a day · 5.9 MiB so far · RSS +"
    )
    assert answers["line"].startswith("histogram_new (histogram.c:15) called from scan_bands")
    assert answers["line"].endswith("stage_analyse (thumb.c:43) ← algo.Process.func1 (algo.go:45)")
    assert "5.9 MiB of C memory leaks and stays" in answers["return"]
    assert "have it freed there" in answers["do"]


@pytest.mark.parametrize(("seconds", "told_so"), [(9.9, False), (10.0, True)])
def test_a_short_window_says_nothing_of_a_day(seconds, told_so):
    report = scenario_report("c-leak")

    speed = told(replace(report, window=replace(report.window, seconds=seconds)))["speed"]

    assert ("a day" in speed) == told_so


def test_a_leak_beside_something_larger_comes_first():
    answers = told(scenario_report("held-and-leak"))

    assert answers["leak"].startswith("Yes, in part: 6.2 MiB leaks. ")
    assert "waits for Go's finalizers" in answers["leak"]
    assert "histogram_new" in answers["line"]
    assert "of C memory after a GC. Here one came every 16 s (two minutes at" in answers["return"]
    assert "waiting for the GC: texture_new (session.c:33)" in answers["line"]
    first, _, second = answers["do"].partition(" 2. ")
    assert first.startswith("1. ")
    assert "histogram_new" in first
    assert second.startswith("Free explicitly (Close, Free) what algo.NewTexture (texture.go:25)")


@pytest.mark.parametrize(
    "name", ["clean", "cache-fills", "go-burst", "arena-retained", "finalizer-held"]
)
def test_what_only_looks_like_a_leak_is_told_as_none(name):
    assert told(scenario_report(name))["leak"].startswith("No. ")


def test_what_go_will_hand_back_is_told_with_its_time():
    assert "244 MiB of Go's heap, within 80 s." in told(scenario_report("go-burst"))["return"]


def test_a_go_heap_that_grows_is_told_with_its_go_function():
    report = scenario_report("go-heap-leak")
    grown = GoSiteGrowth("main.(*worker).remember", "/src/worker/handlers.go", 88, 9, 8, ())

    assert "pprof" in told(report)["do"]
    assert told(report)["line"] == "In Go code: its heap profile names it."
    with_profile = told(replace(report, go_sites=(grown,)))
    assert with_profile["line"] == (
        "main.(*worker).remember worker/handlers.go:88 · 8 B of 32.0 MiB by Go's heap profile, "
        "a sample"
    )
    assert with_profile["leak"].startswith("Perhaps, in Go and not in C: the live Go heap grew by")


def test_a_go_heap_without_a_profile_asks_for_one_and_for_nothing_that_is_not_there():
    report = scenario_report("go-heap-leak")
    missing = Notice("go.no-heap-profile", "which Go code holds the heap is not available")

    answers = told(replace(report, notices=(*report.notices, missing)))

    assert answers["line"].startswith("In Go code; the program keeps no heap profile")
    assert answers["do"].startswith("Import net/http/pprof or runtime/pprof in the program")


def test_a_restart_tells_how_fast_it_grew_before():
    answers = told(scenario_report("restart"))

    assert answers["leak"].startswith(
        "Perhaps: it grew until it ended. RSS fell because a new process"
    )
    assert "MiB/s before each restart" in answers["speed"]
    assert answers["line"].startswith("Not looked for: a watch stays outside")
    assert "cgoleak watch --exe /" in answers["do"]
    assert " --attach-on-growth " in answers["do"]


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("findings", [(), None])
def test_there_is_an_answer_whatever_the_cause(cause, findings):
    assert all(told(a_report(cause=cause, findings=findings)).values())


def test_a_leak_is_blamed_before_all_others():
    assert finding_to_blame(many_sites(100)).verdict == "native-leak"
    assert finding_to_blame(scenario_report("finalizer-held")).verdict == "go-held"
    assert finding_to_blame(scenario_report("cache-fills")) is None


def a_bare_report(**fields):
    return replace(a_report(findings=()), **{"cause": Cause.STABLE, **fields})


def a_curve(*sizes):
    blank = (None,) * len(sizes)
    seconds = tuple(float(place) for place in range(len(sizes)))
    return Timeline(seconds, tuple(size * MIB for size in sizes), *[blank] * 5)


def a_sheet(**changes):
    return tuple(
        BalanceLine(part.replace("_", " "), 0, change, change, "")
        for part, change in changes.items()
    )


def test_what_rose_and_came_back_is_not_told_as_still_resident():
    report = a_bare_report(cause=Cause.GO_RETAINED, timeline=a_curve(10, 300, 40))

    answers = told(report)

    assert answers["leak"] == "No. Most of what RSS rose by has come back."
    assert "300 MiB at its peak" in told(replace(report, balance=a_sheet(RSS=30 * MIB)))["speed"]
    assert answers["return"].startswith("260 MiB has come back already.")


def test_what_rose_and_stays_is_not_told_as_come_back():
    report = a_bare_report(cause=Cause.GO_RETAINED, timeline=a_curve(10, 300, 290))

    assert "come back" not in told(report)["leak"]
    assert "come back" not in told(report)["return"]


def test_what_malloc_keeps_is_told_beside_what_go_keeps():
    sheet = a_sheet(RSS=160 * MIB, allocator_slack=152 * MIB)
    back = GoReturn(12 * MIB, 0, 12 * MIB, None, "")

    answers = told(a_bare_report(balance=sheet, go_return=back))

    assert answers["return"] == (
        "Nothing by itself. Go keeps 12.0 MiB and malloc 152 MiB, to use first."
    )


def test_memory_that_the_kernel_may_take_is_told_apart_from_huge_pages_that_filled_again():
    lazy = Notice("memory.lazily-freed", "256 MiB of RSS were given up with MADV_FREE")
    report = a_bare_report(
        cause=Cause.GO_RETAINED,
        balance=a_sheet(RSS=260 * MIB, Go_heap_released=256 * MIB),
        notices=(lazy,),
        go_return=None,
    )

    assert told(report)["return"].startswith("256 MiB when the kernel is short of memory, or the")
    assert "start it without GODEBUG=madvdontneed=0" in told(report)["do"]
    again = replace(report, notices=(Notice("memory.huge-pages", ""),))
    assert "kernel" not in told(again)["return"]


def test_garbage_that_no_collection_has_found_is_told_as_more_to_come():
    sheet = a_sheet(RSS=220 * MIB, Go_heap_in_use=141 * MIB, Go_heap_held_back=79 * MIB)
    back = GoReturn(79 * MIB, 65 * MIB, 14 * MIB, (0.0, 90.0), "")

    answers = told(a_bare_report(cause=Cause.GO_RETAINED, balance=sheet, go_return=back))

    assert answers["return"].startswith("65.0 MiB of Go's heap, within 90 s. And what of the 141")
    assert answers["do"] == (
        "Nothing yet. See what is left of it after the next GC: cgoleak watch 4242 --duration 5m"
    )


def test_growth_in_neither_heap_is_told_with_the_part_that_grew_most():
    sheet = a_sheet(RSS=382 * MIB, thread_stacks=2 * MIB, files_and_code=375 * MIB)

    answers = told(a_bare_report(cause=Cause.OTHER, balance=sheet))

    assert (
        answers["line"]
        == "None: it is in neither heap. Grown most: files and code +375 MiB of +382 MiB"
    )
    assert answers["speed"].startswith("RSS +6.4 MiB/s on average RSS +382 MiB in ")
    assert answers["leak"].startswith("Cannot tell: programs and libraries grew by 375 MiB")
    assert answers["do"] == "See which libraries or plugins it loads: pmap -x 4242"


@pytest.mark.parametrize(("rise", "said"), [(20 * MIB, ""), (MIB, "RSS did not rise with it.")])
def test_a_suspect_that_rss_does_not_follow_is_told_so(rise, said):
    report = replace(a_report(), cause=Cause.UNKNOWN, balance=a_sheet(RSS=rise))
    one = replace(report.findings[0], verdict=Verdict.SUSPECT, outstanding_bytes=20 * MIB)

    answer = told(replace(report, findings=(one,)))["leak"]

    assert answer == f"Not shown, but it may be: 1 site to look at. {said}".strip()


@pytest.mark.parametrize(("cycles", "told_so"), [(0, True), (1, False), (None, False)])
def test_a_leak_in_a_window_without_a_collection_says_what_is_not_known(cycles, told_so):
    report = a_report()
    window = replace(report.window, gc_cycles=cycles)

    answer = told(replace(report, window=window))["leak"]

    assert answer.endswith("what finalizers would free is not known.") == told_so


def test_memory_that_go_will_not_hand_back_is_not_said_to_come_back():
    report = scenario_report("go-burst")
    kept = replace(report.go_return, returning_bytes=0)

    answers = told(replace(report, go_return=kept))

    assert answers["leak"] == "No. Go has freed it, and keeps it to use it again."
    assert answers["return"].startswith("Nothing by itself.")


def test_c_memory_that_was_never_larger_is_not_called_level():
    report = a_report(cause=Cause.STABLE)
    rising = replace(
        report.findings[0],
        verdict=Verdict.BOUNDED,
        outstanding_bytes=20 * MIB,
        history_bytes=(0, 10 * MIB, 20 * MIB),
    )
    report = replace(report, findings=(rising,), history_seconds=(0.0, 1.0, 2.0))

    assert "20.0 MiB of C memory is held. A cache" in told(report)["leak"]


@pytest.mark.parametrize(("held", "named"), [(20, True), (4, False)])
def test_what_holds_most_of_an_unknown_rise_is_named_and_not_blamed(held, named):
    report = replace(a_report(), cause=Cause.UNKNOWN, balance=a_sheet(RSS=22 * MIB))
    site = replace(report.findings[0], verdict=Verdict.BOUNDED, outstanding_bytes=held * MIB)

    answer = answers_to(replace(report, findings=(site,)))[2]

    assert answer.text.startswith("None shown" if named else "None to blame in C")
    assert ("Held by row_dup" in answer.detail) is named
    assert [one.site for one in answer.details if one.site] == [site.site] * named


@pytest.mark.parametrize(
    ("oldest", "said"),
    [(0.9, "no block is older than 900 ms. Work in flight"), (20.0, "A cache or a pool")],
)
def test_blocks_that_are_all_young_are_work_in_flight_and_no_cache(oldest, said):
    report = a_report(cause=Cause.STABLE)
    site = replace(
        report.findings[0],
        verdict=Verdict.BOUNDED,
        outstanding_bytes=20 * MIB,
        oldest_seconds=oldest,
    )

    assert said in told(replace(report, findings=(site,)))["leak"]


def test_what_does_not_keep_growing_has_no_rate():
    sheet = a_sheet(RSS=6 * MIB)

    answers = told(a_bare_report(cause=Cause.STABLE, balance=sheet))

    assert answers["speed"].startswith("It does not keep growing. RSS +6.0 MiB in ")


@pytest.mark.parametrize(("leaks", "named", "end"), [(2, 1, "/s"), (4, 2, "· and 1 site more")])
def test_of_several_leaks_the_next_two_are_named_with_their_rates(leaks, named, end):
    report = many_sites(50 * leaks)

    line = told(report)["line"]

    rates = [format_rate(one.growth_bytes_per_second) for one in report.findings[1 : 1 + named]]
    assert re.findall(r"· then lib_function_\d+ \(part_\d+\.c:\d+\) ([^·]+/s)", line) == rates
    assert line.endswith(end)


def test_each_leak_that_is_named_leads_to_its_site_and_what_to_do_for_them_is_told_below():
    report = many_sites(200)
    (line,) = (one for one in answers_to(report) if one.name == "line")

    linked = [one.site for one in line.details if one.text.startswith("then ")]

    assert (line.site, *linked) == tuple(one.site for one in report.findings[:3])
    assert told(report)["do"].endswith("For 3 sites more, see below.")


def test_advice_that_serves_all_leaks_is_given_once():
    report = a_report()
    again = replace(report.findings[0], site="another")

    assert "see below" not in told(replace(report, findings=(report.findings[0], again)))["do"]


@pytest.mark.parametrize(
    ("rise", "said"),
    [
        (60 * MIB, ""),
        (61 * MIB, "It is a part of what RSS rose by: 20.0 MiB of +61.0 MiB."),
        (300 * MIB, "It is not why RSS rose: 20.0 MiB of +300 MiB."),
    ],
)
def test_a_leak_that_makes_less_than_a_third_of_the_rise_is_told_as_a_part(rise, said):
    report = replace(a_report(), cause=Cause.NATIVE_LEAK, balance=a_sheet(RSS=rise))
    leak = replace(report.findings[0], outstanding_bytes=20 * MIB)

    answer = told(replace(report, findings=(leak,)))["leak"]

    assert answer == f"Yes. C memory accumulates and is not freed. {said}".strip()


def test_blocks_that_were_lost_without_growing_are_told_by_their_size():
    report = a_report()
    lost = replace(report.findings[0], growth_bytes_per_second=0.0, outstanding_bytes=96)

    assert told(replace(report, findings=(lost,)))["speed"].startswith("96 B so far")


def leak_at(report, rate, *stack):
    return replace(report.findings[0], growth_bytes_per_second=rate, stack=frames(*stack))


def test_leaks_of_one_name_are_told_as_one_and_those_of_one_helper_by_who_calls_it():
    report = a_report()
    leaks = (
        leak_at(report, 4096.0, "C regex @libc.so.6", "C match m.c:5", "Go main.f f.go:1"),
        leak_at(report, 2048.0, "C xmalloc x.c:1", "Go main.g f.go:2"),
        leak_at(report, 2048.0, "C nodes @libc.so.6", "C match m.c:5", "Go main.f f.go:1"),
        leak_at(report, 1024.0, "C xmalloc x.c:1", "Go main.h f.go:3"),
    )

    line = told(replace(report, findings=leaks))["line"]

    assert line.endswith(
        "6.0 KiB/s of 9.0 KiB/s · called from main.f (f.go:1) · then xmalloc (x.c:1) 2.0 KiB/s "
        "· then xmalloc (x.c:1) ← main.h (f.go:3) 1.0 KiB/s"
    )


def test_a_leak_that_is_not_resident_says_that_rss_did_not_rise_with_it():
    report = replace(a_report(), cause=Cause.NATIVE_LEAK, balance=a_sheet(RSS=MIB // 4))
    leak = replace(report.findings[0], outstanding_bytes=120 * MIB)

    answer = told(replace(report, findings=(leak,)))["leak"]

    assert answer == "Yes. C memory accumulates and is not freed. RSS did not rise with it."


@pytest.mark.parametrize(
    ("verdict", "owners", "told_so"),
    [
        (Verdict.NATIVE_LEAK, 0, False),
        (Verdict.NATIVE_LEAK, 500, True),
        (Verdict.NATIVE_LEAK, None, True),
        (Verdict.SUSPECT, 500, True),
        (Verdict.SUSPECT, 0, False),
        (Verdict.SUSPECT, None, False),
    ],
)
def test_a_missing_collection_is_told_where_finalizers_may_wait_for_it(verdict, owners, told_so):
    cause = Cause.NATIVE_LEAK if verdict is Verdict.NATIVE_LEAK else Cause.UNKNOWN
    report = replace(a_report(), cause=cause)
    window = replace(report.window, gc_cycles=0, go_owners_change=owners)
    found = replace(report.findings[0], verdict=verdict, outstanding_blocks=900)

    answer = told(replace(report, window=window, findings=(found,)))["leak"]

    assert answer.endswith("what finalizers would free is not known.") == told_so
