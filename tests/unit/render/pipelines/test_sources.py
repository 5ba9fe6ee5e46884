"""Paths as a repository has them."""

from __future__ import annotations

import pytest

from cgoleak.cli.sourcetree import source_tree
from cgoleak.render.pipelines.sources import SourceTree, main_frame
from support.builders import frames

TREE = SourceTree("/repo", (("example.org/m", "go"),))


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("/repo/a/b.go", "a/b.go"),
        ("/repo/a/../b.c", "b.c"),
        ("/repo/../etc/passwd", None),
        ("/repository/a.go", None),
        ("example.org/m/x/y.go", "go/x/y.go"),
        ("example.org/mm/y.go", None),
        ("runtime/proc.go", None),
        ("", None),
        (None, None),
    ],
)
def test_a_path_is_told_below_the_root_or_not_at_all(file, found):
    assert TREE.relative(file) == found


def test_the_innermost_go_frame_of_the_repository_is_annotated():
    stack = frames("C leaf /repo/leaf.c:1", "Go lib.F /mod/lib.go:2", "Go m.G /repo/m.go:3")

    assert main_frame(stack, TREE) is stack[2]
    assert main_frame(stack[:2], TREE) is stack[0]
    assert main_frame(stack[1:2], TREE) is None


def test_the_repository_and_its_module_are_found(tmp_path):
    (tmp_path / ".git").mkdir()
    package = tmp_path / "go" / "pkg"
    package.mkdir(parents=True)
    (tmp_path / "go" / "go.mod").write_text("// ours\nmodule example.org/m // why\n")

    assert source_tree(package) == SourceTree(str(tmp_path.resolve()), (("example.org/m", "go"),))
