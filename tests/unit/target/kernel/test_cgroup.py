"""What memory cgroups of both versions say of a process."""

from __future__ import annotations

import pytest

from cgoleak.target.kernel.cgroup import Room, oom_kills, room

MIB = 1 << 20


class Tree:
    """A mount point of cgroups, and one process."""

    def __init__(self, path):
        self.cgroups = path / "cgroups"
        self.proc = path / "proc"

    def process(self, memberships):
        (self.proc / "42").mkdir(parents=True)
        (self.proc / "42" / "cgroup").write_text(memberships)

    def v1(self, group, limit, used, inactive=0):
        files = {"limit_in_bytes": limit, "usage_in_bytes": used}
        stat = f"inactive_file 1\ntotal_inactive_file {inactive}\n"
        self._write(self.cgroups / "memory" / group, files | {"stat": stat})

    def v2(self, group, limit, used, inactive=0, mount="."):
        files = {"max": limit, "current": used, "stat": f"anon 5\ninactive_file {inactive}\n"}
        self._write(self.cgroups / mount / group, files)

    def _write(self, folder, files):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / f"memory.{name}").write_text(f"{text}\n")

    def room(self):
        return room(42, self.proc, self.cgroups)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.mark.parametrize("mount", [".", "unified"])
def test_room_is_what_is_left_below_the_limit_of_version_2(tree, mount):
    tree.process("0::/pod/box\n")
    tree.v2("pod/box", 64 * MIB, 50 * MIB, mount=mount)

    assert tree.room() == Room(64 * MIB, 50 * MIB, "/pod/box")
    assert tree.room().left_bytes == 14 * MIB


def test_room_is_what_is_left_below_the_limit_of_version_1(tree):
    tree.process("9:cpu,cpuacct:/x\n4:memory:/box\n0::/\n")
    tree.v1("box", 64 * MIB, 50 * MIB)

    assert tree.room() == Room(64 * MIB, 50 * MIB, "/box")


def test_file_pages_that_the_kernel_can_drop_count_as_room(tree):
    tree.process("0::/box\n")
    tree.v2("box", 64 * MIB, 60 * MIB, inactive=40 * MIB)

    assert tree.room().left_bytes == 44 * MIB


def test_the_narrowest_limit_around_the_process_counts(tree):
    tree.process("0::/pod/box\n")
    tree.v2("pod/box", 64 * MIB, 10 * MIB)
    tree.v2("pod", 100 * MIB, 90 * MIB)

    assert tree.room() == Room(100 * MIB, 90 * MIB, "/pod")


@pytest.mark.parametrize(
    "memberships", ["0::/box\n", "0::/elsewhere\n", "", "4:memory:/x\n", "::\0\n"]
)
def test_without_a_limit_or_without_a_sight_of_it_nothing_is_said(tree, memberships):
    tree.process(memberships)
    tree.v2("box", "max", 10 * MIB)

    assert tree.room() is None


def test_a_process_that_is_gone_has_no_room(tree):
    assert tree.room() is None


def test_a_group_that_is_above_its_limit_has_none_left():
    """The limit may have been lowered while it was in use."""
    assert Room(10, 12, "/box").left_bytes == 0


def test_both_versions_of_cgroups_count_oom_kills(tmp_path):
    (tmp_path / "memory" / "a").mkdir(parents=True)
    (tmp_path / "memory" / "a" / "memory.oom_control").write_text("under_oom 0\noom_kill 7\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "memory.events").write_text("oom 2\noom_kill 1\noom_group_kill 0\n")

    assert oom_kills(b"4:memory:/a\n0::/\n", tmp_path) == 7
    assert oom_kills(b"3:cpu,cpuacct:/\n0::/b\n", tmp_path) == 1
    assert oom_kills(b"0::/c\n", tmp_path) is None
    assert oom_kills(b"\xff:\n::\n0::/\0\n", tmp_path) is None
