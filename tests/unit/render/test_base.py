"""The list of formats."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import PurePath

import pytest

from cgoleak.render.base import RENDERERS, format_by_name, format_by_suffix
from support.reports import a_report


@pytest.mark.parametrize("known", RENDERERS, ids=lambda known: known.name)
def test_every_format_can_be_made_and_writes_the_same_bytes_twice(known):
    first, second = io.BytesIO(), io.BytesIO()

    known.make(top=3, width=None, unknown_option=1).render(a_report(), first)
    known.make(top=3).render(a_report(), second)

    assert first.getvalue() == second.getvalue()
    if known.name != "pprof":
        assert first.getvalue().endswith(b"\n")


def test_names_and_suffixes_are_unique():
    assert len({known.name for known in RENDERERS}) == len(RENDERERS)
    assert len({known.suffix for known in RENDERERS}) == len(RENDERERS)


def test_the_suffix_picks_the_format():
    assert format_by_suffix(PurePath("out/leak.json")) is format_by_name("json")


@pytest.mark.parametrize("name", ["leak", "leak.xyz", ".json", "json"])
def test_a_name_without_a_known_suffix_picks_none(name):
    assert format_by_suffix(PurePath(name)) is None


def test_the_list_of_formats_is_known_without_importing_rich():
    code = "import sys, cgoleak.render.base; print('rich' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert answer.stdout == b"False\n"
