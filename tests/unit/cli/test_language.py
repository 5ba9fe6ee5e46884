"""``--lang``, and the locale."""

from __future__ import annotations

import pytest

from cgoleak.cli.main import run_command_line
from support.scenario_reports import REPORTS

LEAK = str(REPORTS / "c-leak.json")
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture(autouse=True)
def plain_locale(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def printed(capfdbinary, *arguments):
    assert run_command_line(list(arguments)) == 0
    return capfdbinary.readouterr().out.decode()


def test_the_option_picks_the_language(capfdbinary):
    assert "的速度泄漏 C 内存" in printed(capfdbinary, "report", LEAK, "--lang", "zh")


@pytest.mark.parametrize("name", VARIABLES)
def test_the_locale_picks_the_language(capfdbinary, monkeypatch, name):
    monkeypatch.setenv(name, "zh_CN.UTF-8")

    assert "的速度泄漏 C 内存" in printed(capfdbinary, "report", LEAK)


def test_the_option_counts_before_the_locale_and_lc_all_before_lang(capfdbinary, monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")

    assert "is losing C memory" in printed(capfdbinary, "report", LEAK, "--lang", "en")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "is losing C memory" in printed(capfdbinary, "report", LEAK)


@pytest.mark.parametrize("name", ["json", "folded", "openmetrics", "speedscope"])
def test_formats_for_scripts_are_the_same_in_every_language(capfdbinary, name):
    one = printed(capfdbinary, "report", LEAK, "--format", name)

    assert printed(capfdbinary, "report", LEAK, "--format", name, "--lang", "zh") == one


def test_explanations_are_in_the_language_too(capfdbinary):
    assert "常驻内存" in printed(capfdbinary, "explain", "rss", "--lang", "zh")
