"""Annotations and step summary of GitHub Actions: limits, and nobody forges a command."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest

from cgoleak.model.report import Verdict
from cgoleak.render.pipelines.github import GithubRenderer
from cgoleak.render.pipelines.sources import SourceTree
from cgoleak.render.pipelines.stepsummary import step_summary
from support.gates import checked, hostile_report
from support.reports import a_finding

TREE = SourceTree("/src/thumbnailer")
COMMAND = re.compile(r"::(error|warning)( [^:]*)?::")


def lines(report, tree: SourceTree = TREE) -> list[str]:
    out = io.BytesIO()
    GithubRenderer(tree=tree).render(report, out)
    return out.getvalue().decode().splitlines()


def test_a_leak_is_an_error_at_its_go_line():
    error, warning, summary = lines(checked())

    assert error.startswith("::error file=encode.go,line=88,title=cgoleak native-leak::NATIVE LEAK")
    assert "png_row.c:41" in error
    assert "%0A" in error
    assert warning.startswith("::warning file=store.go,line=31,")
    assert (
        summary == "cgoleak: thumbs/thumbs.test: over policy (1 site over policy, 1 suspect site)"
    )


@pytest.mark.parametrize("verdict", [Verdict.NATIVE_LEAK, Verdict.SUSPECT])
def test_no_more_than_ten_of_a_kind_are_told_and_the_rest_is_counted(verdict):
    found = lines(checked([a_finding(verdict, site=f"{number:06x}") for number in range(40)]))
    commands = [line for line in found if line.startswith("::")]

    assert len(commands) == 10
    assert commands[-1].endswith("::31 more sites: see the step summary")


def test_a_clean_run_annotates_nothing():
    assert lines(checked([])) == ["cgoleak: thumbs/thumbs.test: within policy, no leak found"]


def test_hostile_names_forge_no_command_and_no_property():
    found = lines(hostile_report(), SourceTree("/repo"))

    assert len(found) == 11
    for line in found[:-1]:
        command = COMMAND.match(line)
        assert command is not None, line
        keys = [pair.partition("=")[0] for pair in (command[2] or "").strip().split(",")]
        assert set(keys) <= {"file", "line", "title"}
        assert len(keys) == len(set(keys))
    assert not found[-1].startswith("::")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not attrs


def test_the_summary_has_a_table_and_each_stack():
    text = step_summary(checked()).decode()

    assert text.startswith("### ❌ cgoleak: <code>thumbs/thumbs.test</code>")
    assert "| ❌ | native-leak | 18.2 MiB | 18 640 |" in text
    assert text.count("<details>") == 2


def test_hostile_names_make_no_html_and_no_markdown():
    text = step_summary(hostile_report()).decode()
    tags = Tags()
    tags.feed(text)

    assert tags.seen == {"code", "details", "summary", "pre"}
    rows = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert {line.count("|") for line in rows} == {6}
    assert "**bold**" not in text
    assert "](javascript" not in text


@pytest.mark.parametrize("room", [300_000, 10_000, 100, -5])
def test_the_summary_keeps_to_its_room(room):
    many = [a_finding(site=f"{number:06x}") for number in range(1_000)]
    raw = step_summary(checked(many), room=room)

    assert len(raw) <= max(0, room)
    if room >= 10_000:
        assert b"more do not fit here" in raw
