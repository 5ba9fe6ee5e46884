"""Which process took another's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgoleak.errors import NoSuchProcess
from cgoleak.target.succession import find_running, find_successor, same_program, subject_of
from support.lineage import Lineage

SUPERVISOR = 50


@pytest.fixture
def proc(tmp_path):
    tree = Lineage(tmp_path)
    tree.start(1, "/sbin/init", at=0)
    tree.start(SUPERVISOR, "/usr/bin/supervisor", at=100)
    tree.start(60, "/usr/bin/supervisor", at=110)
    tree.start(200, parent=SUPERVISOR, at=500)
    return tree


def followed(proc, old=None, *, seen=1000, named=None, patient=False):
    """Pid of the successor of 200, which ended after ``seen`` ticks."""
    found = find_successor(old or OLD[proc], seen, proc.root, named=named, patient=patient)
    return found and found.pid


OLD = {}


@pytest.fixture(autouse=True)
def _ended(proc):
    OLD[proc] = subject_of(200, proc.root)
    proc.end(200)
    yield
    del OLD[proc]


def test_nobody_follows_until_something_is_started(proc):
    assert followed(proc) is None


def test_the_next_child_of_the_same_parent_follows(proc):
    proc.start(300, parent=SUPERVISOR, at=1001)

    assert followed(proc) == 300


def test_one_that_ran_beside_it_is_no_successor(proc):
    proc.start(150, parent=SUPERVISOR, at=999)

    assert followed(proc) is None


def test_another_program_of_the_same_parent_is_no_successor(proc):
    proc.start(300, "/usr/bin/logrotate", parent=SUPERVISOR, at=1001)

    assert followed(proc) is None


def test_a_stranger_that_runs_the_same_program_is_no_successor(proc):
    proc.start(300, parent=60, at=1001)

    assert followed(proc) is None


def test_of_several_the_child_of_the_same_parent_follows(proc):
    old = OLD[proc]
    proc.start(290, parent=1, at=1001, cgroup="/")
    proc.start(300, parent=60, at=1001)
    proc.start(310, parent=SUPERVISOR, at=1050)

    assert followed(proc, old) == 310


def test_a_replaced_executable_is_still_the_same_program(proc):
    proc.start(300, "/srv/worker (deleted)", parent=SUPERVISOR, at=1001)

    assert followed(proc) == 300


def test_an_upgrade_in_another_directory_is_known_by_name_and_arguments(proc):
    proc.start(300, "/srv/releases/8/worker", parent=SUPERVISOR, at=1001)

    assert followed(proc) == 300


def test_the_same_name_with_other_arguments_is_another_service(proc):
    proc.start(300, "/opt/worker", parent=SUPERVISOR, at=1001, arguments=("--port", "9"))

    assert followed(proc) is None


def test_a_service_of_init_is_known_by_its_cgroup(proc):
    proc.start(210, at=500, cgroup="/system.slice/worker.service")
    old = subject_of(210, proc.root)
    proc.end(210)
    proc.start(300, at=1001, cgroup="/system.slice/worker.service")

    assert followed(proc, old) == 300


def test_a_container_of_the_same_pod_follows(proc):
    proc.start(210, at=500, cgroup="/kubepods/pod7/aaaa")
    old = subject_of(210, proc.root)
    proc.end(210)
    proc.start(290, at=1001, cgroup="/kubepods/pod8/cccc")
    proc.start(300, at=1002, cgroup="/kubepods/pod7/bbbb")

    assert followed(proc, old) == 300


def test_a_grandchild_of_the_supervisor_follows(proc):
    proc.start(290, "/bin/sh", parent=SUPERVISOR, at=1000)
    proc.start(300, parent=290, at=1001)

    assert followed(proc) == 300


def test_with_patience_the_next_child_of_a_living_parent_is_waited_for(proc):
    proc.start(290, "/bin/sh", parent=SUPERVISOR, at=1000)
    proc.start(300, parent=290, at=1001)

    assert followed(proc, patient=True) is None
    proc.end(SUPERVISOR)
    proc.start(SUPERVISOR, "/usr/bin/supervisor", at=1000)  # another one, with its pid
    assert followed(proc, patient=True) is None  # no kin any more
    proc.start(310, parent=SUPERVISOR, at=1005, cgroup="/")
    assert followed(proc, patient=True) is None


def test_a_named_program_is_followed_whoever_starts_it(proc):
    proc.start(300, parent=60, at=1001)

    assert followed(proc, named=Path("/srv/worker")) == 300


def test_a_symbolic_link_is_followed_to_where_it_points_now(proc, tmp_path):
    link = tmp_path / "current"
    old, new = tmp_path / "v1", tmp_path / "v2"
    old.touch()
    new.touch()
    link.symlink_to(old)
    matches = same_program(link)
    assert matches(str(old))

    link.unlink()
    link.symlink_to(new)

    assert matches(str(new))
    assert not matches(str(old))


def test_running_processes_of_a_program_come_in_order_of_their_start(proc):
    proc.start(400, at=700)
    proc.start(401, "/srv/other", at=600)
    proc.start(402, "/srv/worker (deleted)", at=650)
    proc.start(403, at=800)
    proc.die(403, 0)

    found = find_running(same_program(Path("/srv/worker")), proc.root)

    assert [one.pid for one in found] == [402, 400]


def test_a_zombie_is_not_watched(proc):
    proc.start(400)
    proc.die(400, 0)

    with pytest.raises(NoSuchProcess):
        subject_of(400, proc.root)
