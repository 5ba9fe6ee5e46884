"""Lines of source: only on request, only from the directory that was named."""

from __future__ import annotations

import pytest

from cgoleak.render.html.sourcelines import excerpts_of
from support.builders import frames
from support.reports import a_finding, a_report
from support.scenario_reports import rendered

STACK = frames(
    "C make /build/app/src/make.c:3",
    "bridge _cgo_1_Cfunc_make",
    "Go main.run /build/app/run.go:2",
)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "app"
    (root / "src").mkdir(parents=True)
    (root / "src" / "make.c").write_text("one\ntwo\n\tp = malloc(</script>);\nfour\nfive\nsix\n")
    (root / "run.go").write_text("package main\nC.make()\n")
    (tmp_path / "secret.go").write_text("secret\n" * 9)
    return root


def test_the_lines_of_the_allocation_and_of_its_go_caller_are_found(folder):
    c, go = excerpts_of(STACK, folder)

    assert c.place == "src/make.c:3"
    assert [number for number, _, _ in c.lines] == [1, 2, 3, 4, 5]
    assert [text for _, text, this in c.lines if this] == ["    p = malloc(</script>);"]
    assert go.lines[-1] == (2, "C.make()", True)


def test_the_page_has_them_only_on_request(folder):
    report = a_report(findings=(a_finding(stack=STACK),))

    assert b"malloc(" not in rendered(report)
    page = rendered(report, source=folder)
    assert b"p = malloc(&lt;/script&gt;);" in page


@pytest.mark.parametrize(
    "file", ["../secret.go", "/../secret.go", "/app/../../secret.go", "link.go", "src", "\0"]
)
def test_nothing_outside_the_directory_is_read(folder, file):
    (folder / "link.go").symlink_to(folder.parent / "secret.go")

    [frame] = frames("Go main.f x.go:1")
    stolen = type(frame)(frame.lang, frame.function, file, 1, None)
    assert excerpts_of([stolen], folder) == ()


def test_a_line_beyond_the_end_is_of_another_version(folder):
    assert excerpts_of(frames("Go main.f run.go:90"), folder) == ()
