"""The table of kinds: its rows in the README, and how they get there."""

from __future__ import annotations

import pytest

from kinds.kinds import KINDS
from kinds.measuring import Row
from kinds.table import (
    README,
    README_ZH,
    in_chinese,
    names_in,
    refreshed,
    row_line,
    table_in,
)

TEXT = "before\n<!-- kinds: make kinds KINDS=--markdown -->\n<!-- /kinds -->\nafter\n"
FIRST, SECOND = KINDS[0].name, KINDS[1].name


def a_row(name: str, attach: str = "hooked") -> Row:
    return Row(name, attach, "complete", "native-leak", "quiet", "10 rounds, 1 kill")


def test_the_readme_has_a_row_for_every_kind_in_their_order():
    assert names_in(README.read_text("utf-8")) == [kind.name for kind in KINDS]


def test_the_chinese_readme_has_the_same_table():
    chinese = table_in(README_ZH.read_text("utf-8"))

    assert chinese == in_chinese(table_in(README.read_text("utf-8")))


def test_a_cell_with_numbers_keeps_them_in_chinese():
    row = in_chinese("| refused (3) | 10 rounds, 1 kill |")

    assert "拒绝" in row
    assert "10 轮" in row
    assert row.index("3") < row.index("10") < row.index("1 次 SIGKILL")


def test_a_cell_without_chinese_words_is_told():
    with pytest.raises(KeyError, match="nothing like it"):
        in_chinese("| nothing like it |")


def test_rows_are_put_in_the_order_of_the_kinds_and_the_rest_stays():
    text = refreshed(refreshed(TEXT, [a_row(SECOND)]), [a_row(FIRST)])

    assert names_in(text) == [FIRST, SECOND]
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


def test_a_row_that_is_measured_again_replaces_its_own_and_a_skipped_one_none():
    text = refreshed(TEXT, [a_row(FIRST), a_row(SECOND)])

    text = refreshed(text, [a_row(FIRST, "refused (3)"), a_row(SECOND, "skipped: needs x")])

    assert names_in(text) == [FIRST, SECOND]
    assert "refused (3)" in text
    assert "skipped" not in text


def test_what_is_wrong_is_marked():
    assert row_line(a_row("x")).startswith(" ")
    assert row_line(Row("x", wrong=["missed"])).startswith("!")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_whatever_must_be_refused_says_with_which_words(kind):
    assert kind.refusal or not kind.never
