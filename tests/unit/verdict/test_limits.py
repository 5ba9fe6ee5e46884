"""The policy file: what it says, what it means, and what is told where it is wrong."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.errors import PolicyError
from cgoleak.verdict.limits import KEYS, Limits, parse_limits


def read(text: str, **more) -> Limits | None:
    return parse_limits(text, name="cgoleak.toml", **more)


def test_an_empty_file_means_the_defaults():
    assert read("") == Limits()
    assert not Limits().has_limits


def test_every_key_is_read():
    limits = read(
        """
        suspect = "fail"
        min_age = "2s"
        min_gc_cycles = 3
        max_bytes = "64 KiB"
        max_blocks = 10
        max_growth = "1 KiB/s"
        max_bytes_per_iteration = 16
        max_blocks_per_iteration = 0.5
        per = 1000
        suppressions = ["lsan.supp", "more.supp"]
        baseline = "cgoleak-baseline.json"
        tolerance = 0.2
        """
    )

    assert limits == Limits(
        suspect="fail",
        min_age_seconds=2.0,
        min_gc_cycles=3,
        max_bytes=65536,
        max_blocks=10,
        max_growth=1024.0,
        max_bytes_per_iteration=16,
        max_blocks_per_iteration=0.5,
        per=1000,
        suppressions=("lsan.supp", "more.supp"),
        baseline="cgoleak-baseline.json",
        tolerance=0.2,
    )


def test_a_shared_file_has_a_table_for_us():
    text = '[tool.other]\nx = 1\n[tool.cgoleak]\nsuspect = "fail"\n'

    assert read(text, table=("tool", "cgoleak")) == Limits(suspect="fail")
    assert read("[tool.other]\n", table=("tool", "cgoleak")) is None


@pytest.mark.parametrize(
    ("key", "meant"), [("max_byte", "max_bytes"), ("supressions", "suppressions"), ("Per", "per")]
)
def test_a_misspelled_key_is_an_error_that_knows_what_was_meant(key, meant):
    with pytest.raises(PolicyError) as caught:
        read(f"{key} = 1")

    assert f"there is no key '{key}'" in caught.value.what
    assert caught.value.fix == f"did you mean {meant!r}?"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        'suspect = "maybe"',
        "per = 0",
        "per = true",
        'max_bytes = "64 lights"',
        'max_bytes = "64 KiB/s"',
        "max_blocks = -1",
        "max_blocks = 1.5",
        "tolerance = nan",
        "max_growth = inf",
        "min_age = []",
        "suppressions = [1]",
        'baseline = ""',
        "x = [",
    ],
)
def test_a_wrong_value_is_an_error(text):
    with pytest.raises(PolicyError, match=r"cgoleak\.toml"):
        read(text)


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=40))
def test_no_text_of_a_file_raises_anything_else(key, text):
    with contextlib.suppress(PolicyError):
        read(f"{key} = {text}")
