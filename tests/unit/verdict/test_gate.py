"""Report and policy → pass or fail."""

from __future__ import annotations

import pytest

from cgoleak.model.gate import Level
from cgoleak.model.report import Verdict
from cgoleak.verdict.baseline import Baseline
from cgoleak.verdict.gate import decide
from cgoleak.verdict.limits import Limits
from cgoleak.verdict.suppress import Suppression
from support.reports import a_finding, a_report

LEAK = a_finding(site="aaaaaa", outstanding_bytes=1000, outstanding_blocks=10, growth=50.0)


def gate(*findings, limits=None, **more):
    report = a_report(findings=findings)
    return decide(report, limits or Limits(), program="p", **more)


def test_a_leak_fails_and_says_how_much():
    found = gate(LEAK)

    assert not found.passed
    assert [one.site for one in found.violations] == ["aaaaaa"]
    assert "1000 B in 10 blocks" in found.violations[0].text
    assert found.summary == "p: over policy (1 site over policy)"


@pytest.mark.parametrize("verdict", [Verdict.GO_HELD, Verdict.BOUNDED, Verdict.SUPPRESSED])
def test_what_is_no_leak_passes(verdict):
    found = gate(a_finding(verdict))

    assert found.passed
    assert found.violations == ()
    assert found.summary == "p: within policy, no leak found"


def test_a_suspect_warns_and_fails_only_where_the_policy_says_so():
    suspect = a_finding(Verdict.SUSPECT)
    warned = gate(suspect)

    assert warned.passed
    assert [one.level for one in warned.violations] == [Level.WARNING]
    assert not gate(suspect, limits=Limits(suspect="fail")).passed


@pytest.mark.parametrize(
    ("within", "over"),
    [
        (Limits(max_bytes=1000), Limits(max_bytes=999)),
        (Limits(max_blocks=10), Limits(max_blocks=9)),
        (Limits(max_growth=50.0), Limits(max_growth=49.0)),
        (Limits(per=100, max_bytes_per_iteration=10), Limits(per=100, max_bytes_per_iteration=9)),
        (
            Limits(per=100, max_blocks_per_iteration=0.1),
            Limits(per=100, max_blocks_per_iteration=0.09),
        ),
    ],
)
def test_a_limit_tolerates_a_leak_up_to_it(within, over):
    assert gate(LEAK, limits=within).tolerated == ("aaaaaa",)
    assert gate(LEAK, limits=within).passed
    assert not gate(LEAK, limits=over).passed
    assert "allowed are" in gate(LEAK, limits=over).violations[0].text


def test_one_limit_that_is_kept_does_not_excuse_another():
    assert not gate(LEAK, limits=Limits(max_bytes=10_000, max_blocks=1)).passed


def test_iterations_are_counted_by():
    (violation,) = gate(LEAK, limits=Limits(per=4)).violations

    assert violation.bytes_per_iteration == 250.0
    assert "250 B per iteration" in violation.text


def test_a_site_of_the_baseline_passes_until_it_grows():
    baseline = Baseline().with_program("p", (LEAK,), None)
    within = a_finding(site="aaaaaa", outstanding_bytes=1100, outstanding_blocks=11)
    grown = a_finding(site="aaaaaa", outstanding_bytes=1101, outstanding_blocks=10)

    assert gate(LEAK, baseline=baseline).tolerated == ("aaaaaa",)
    assert gate(within, baseline=baseline).passed
    assert [one.baseline for one in gate(grown, baseline=baseline).violations] == ["grown"]
    assert "the baseline has 1000 B" in gate(grown, baseline=baseline).violations[0].text


def test_a_baseline_grows_with_the_iterations():
    baseline = Baseline().with_program("p", (LEAK,), 100)
    twice = a_finding(site="aaaaaa", outstanding_bytes=2000, outstanding_blocks=20)

    assert gate(twice, baseline=baseline, limits=Limits(per=200)).passed
    assert not gate(twice, baseline=baseline, limits=Limits(per=100)).passed


def test_a_new_site_fails_and_a_gone_one_is_noted():
    baseline = Baseline().with_program("p", (LEAK,), None)
    found = gate(a_finding(site="bbbbbb"), baseline=baseline)

    assert [one.baseline for one in found.violations] == ["new"]
    assert found.stale_baseline == ("aaaaaa",)


def test_another_programs_baseline_does_not_count():
    baseline = Baseline().with_program("other", (LEAK,), None)

    assert not gate(LEAK, baseline=baseline).passed


def test_suppressions_that_match_nothing_are_listed():
    used, unused = Suppression("row_dup"), Suppression("gone_long_ago")
    found = gate(a_finding(Verdict.SUPPRESSED), suppressions=(used, unused))

    assert found.unused_suppressions == ("leak:gone_long_ago",)
