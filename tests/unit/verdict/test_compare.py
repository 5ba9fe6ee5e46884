"""Two reports: what became of each site."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.report import Verdict
from cgoleak.model.words import words_in
from cgoleak.verdict.compare import compare
from support.reports import a_finding, a_report


def report_with(*findings, seconds=60.0):
    report = a_report(findings=findings)
    return replace(report, window=replace(report.window, seconds=seconds))


def site(key, size, *, growth=0.0, verdict=Verdict.NATIVE_LEAK):
    return a_finding(verdict, site=key, outstanding_bytes=size, growth=growth)


def changes(base, new):
    return {one.site: one.change.value for one in compare(base, new).sites}


def test_each_site_is_gained_grown_shrunk_gone_or_the_same():
    base = report_with(site("a", 10_000), site("b", 90_000), site("c", 50_000), site("d", 1 << 20))
    new = report_with(site("a", 90_000), site("b", 10_000), site("e", 5), site("d", (1 << 20) + 9))

    assert changes(base, new) == {
        "a": "grown", "b": "shrunk", "c": "gone", "d": "same", "e": "gained",
    }  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [(100, 4000), (1_000_000, 1_090_000), (0, 0)])
def test_little_is_no_change(before, after):
    assert changes(report_with(site("a", before)), report_with(site("a", after))) == {"a": "same"}


def test_windows_of_different_length_are_compared_by_rate():
    base = report_with(site("leak", 1 << 20, growth=100_000), site("cache", 1 << 20), seconds=10)
    new = report_with(site("leak", 6 << 20, growth=100_500), site("cache", 4 << 20), seconds=60)

    difference = compare(base, new)

    assert difference.rates
    assert {one.change.value for one in difference.sites} == {"same"}
    assert "since the windows differ (10 s and 60 s)" in difference.summary


def test_a_leak_that_grows_faster_is_grown_also_over_a_longer_window():
    base = report_with(site("leak", 1 << 20, growth=100_000), seconds=10)
    new = report_with(site("leak", 1 << 20, growth=300_000), seconds=60)

    assert changes(base, new) == {"leak": "grown"}


def test_the_worst_comes_first():
    base = report_with(site("gone", 1 << 30), site("grown", 1))
    new = report_with(
        site("grown", 1 << 25),
        site("cache", 1 << 28, verdict=Verdict.BOUNDED),
        site("small", 1 << 20),
        site("large", 1 << 21),
    )

    assert [one.site for one in compare(base, new).sites] == [
        "large", "small", "cache", "grown", "gone",
    ]  # fmt: skip


def test_the_sentence_counts_and_adds_up():
    base = report_with(site("a", 10_000), site("c", 2 << 20))
    new = report_with(site("a", 10_000), site("b", 1 << 20, growth=1024.0))

    assert compare(base, new).summary == (
        "It leaks 1.0 KiB/s now, nothing before; 1 site gained (+1.0 MiB), 1 gone (-2.0 MiB)."
    )


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.0, 0.0, "No site changed."),
        (1024.0, 1024.0, "It leaks 1.0 KiB/s now, 1.0 KiB/s before; no site changed."),
        (1024.0, 0.0, "No leak now, 1.0 KiB/s before; no site changed."),
        (0.0, 1024.0, "It leaks 1.0 KiB/s now, nothing before; no site changed."),
    ],
)
def test_the_sentence_begins_with_whether_it_leaks(before, after, said):
    base, new = (report_with(site("a", 10_000, growth=rate)) for rate in (before, after))

    assert compare(base, new).summary == said


def test_the_sentence_is_told_in_chinese_part_by_part():
    base = report_with(site("a", 10_000), site("c", 2 << 20))
    new = report_with(site("a", 10_000), site("b", 1 << 20, growth=1024.0))

    assert words_in("zh")(compare(base, new).summary) == (
        "现在泄漏 1.0 KiB/s，之前没有泄漏；新增 1 个位置（+1.0 MiB），消失 1（-2.0 MiB）。"  # noqa: RUF001
    )


def test_a_report_compared_with_itself_has_no_change():
    report = a_report()

    difference = compare(report, report)

    assert difference.summary.endswith("; no site changed.")
    assert {one.change.value for one in difference.sites} == {"same"}


SITES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1 << 30), max_size=6)


@given(SITES, SITES)
def test_the_changes_add_up_to_the_difference_of_the_totals(before, after):
    base = report_with(*(site(key, size) for key, size in before.items()))
    new = report_with(*(site(key, size) for key, size in after.items()))

    difference = compare(base, new)

    moved = sum(one.change_bytes for one in difference.sites)
    assert moved == sum(after.values()) - sum(before.values())
    assert len(difference.sites) == len(before.keys() | after.keys())
