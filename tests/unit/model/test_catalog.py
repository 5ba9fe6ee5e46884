"""The words for verdicts, causes and notices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cgoleak
from cgoleak.model.catalog import CAUSES, NOTICES, TERMS, VERDICTS, explain, similar_words
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.sheetwords import PLAIN_WORDS

PACKAGE = Path(cgoleak.__file__).parent
NOTICE_CODE = re.compile(
    r'"((?:capture|go|pairs|probe|symbols|target|verdict|watch)\.[a-z]+[a-z-]+)"'
)
FILE_NAMES = {"go.mod", "go.sum", "go.work"}


def test_every_verdict_and_every_cause_has_its_words():
    assert set(VERDICTS) == set(Verdict)
    assert set(CAUSES) == set(Cause)


def test_every_notice_code_in_the_package_can_be_explained():
    used = {
        code
        for path in PACKAGE.rglob("*.py")
        if path.name != "catalog.py"
        for code in NOTICE_CODE.findall(path.read_text("utf-8"))
    } - FILE_NAMES

    assert "capture.unfinished" in used
    assert used <= set(NOTICES), f"not in model/catalog.py: {sorted(used - set(NOTICES))}"


def test_a_word_that_is_both_verdict_and_cause_has_two_explanations():
    assert explain("native-leak") == (
        VERDICTS[Verdict.NATIVE_LEAK],
        CAUSES[Cause.NATIVE_LEAK],
    )


@pytest.mark.parametrize("word", ["NATIVE LEAK", "Native_Leak", " native-leak "])
def test_words_are_found_however_they_are_written(word):
    assert explain(word) == explain("native-leak")


@pytest.mark.parametrize("line", PLAIN_WORDS)
def test_every_line_of_the_sheet_is_explained(line):
    (entry,) = explain(line)

    assert entry.label == line


def test_an_unknown_word_has_no_explanation_but_similar_ones():
    assert explain("native-leek") == ()
    assert "native-leak" in similar_words("native-leek")


def test_nothing_claims_more_certainty_than_growth_and_age_give():
    entries = [*VERDICTS.values(), *CAUSES.values(), *NOTICES.values(), *TERMS.values()]

    assert not [entry for entry in entries if "definitely" in entry.meaning.lower()]
