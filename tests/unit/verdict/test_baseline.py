"""The baseline: a file that a person reviews, and that a stranger may have written."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.errors import PolicyError
from cgoleak.model.report import Verdict
from cgoleak.verdict.baseline import Baseline, parse_baseline
from support.reports import a_finding


def two_sites() -> Baseline:
    findings = (
        a_finding(site="bbbbbb", outstanding_bytes=10, outstanding_blocks=1),
        a_finding(Verdict.SUSPECT, site="aaaaaa", suppression="leak:ctx_new"),
    )
    return Baseline().with_program("algo/algo.test", findings, per=100)


def test_what_is_written_is_read_back():
    baseline = two_sites()

    assert parse_baseline(baseline.text(), name="b.json") == baseline


def test_the_file_is_sorted_and_says_what_each_site_is():
    text = two_sites().text()

    assert text.index("aaaaaa") < text.index("bbbbbb")
    assert '"function": "ctx_new"' in text
    assert text.endswith("}\n")


def test_writing_one_program_leaves_the_others_alone():
    both = two_sites().with_program("worker", (a_finding(site="cccccc"),), per=None)

    assert set(both.of("worker")) == {"cccccc"}
    assert both.of("algo/algo.test") == two_sites().of("algo/algo.test")


def test_a_program_without_leaks_leaves_the_file():
    assert two_sites().with_program("algo/algo.test", (), per=None) == Baseline()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"schema": "cgoleak.baseline/2", "programs": {}}',
        '{"schema": "cgoleak.baseline/1"}',
        '{"schema": "cgoleak.baseline/1", "programs": {"p": {"s": {}}}}',
        (
            '{"schema": "cgoleak.baseline/1", "programs": {"p": {"s": {"function": "f", '
            '"verdict": "v", "bytes": -1, "blocks": 1}}}}'
        ),
        (
            '{"schema": "cgoleak.baseline/1", "programs": {"p": {"s": {"function": "f", '
            '"verdict": "v", "bytes": 1, "blocks": true}}}}'
        ),
        (
            '{"schema": "cgoleak.baseline/1", "programs": {"p": {"s": {"function": "f", '
            '"verdict": "v", "bytes": 1, "blocks": 1, "per": 0}}}}'
        ),
        "[" * 100_000,
    ],
)
def test_another_file_is_refused_with_status_2(text):
    with pytest.raises(PolicyError, match=r"b\.json is not a baseline") as caught:
        parse_baseline(text, name="b.json")
    assert caught.value.exit_code == 2


@given(st.data())
def test_flipped_characters_raise_nothing_else(data):
    text = list(two_sites().text())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.characters())
    with contextlib.suppress(PolicyError):
        parse_baseline("".join(text), name="b.json")
