"""Which process is watched, and which one took its place after it ended.

A process is known by pid and start time, since pids are used again. It is followed by what a
supervisor leaves as it was: the executable (a replaced file keeps its name, and an upgrade in
another directory its base name and arguments), the parent, and the cgroup.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.errors import CgoleakError, NoSuchProcess, NotPermitted
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Subject", "find_running", "find_successor", "same_program", "subject_of"]

_ANCESTORS: Final = 16
_INIT: Final = 1


class Ancestor(NamedTuple):
    """A process above the watched one; pid and start time, so that a pid is not mistaken."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Subject:
    """One process with what its successor will share.

    Attributes:
        start_ticks: start time in clock ticks since boot; with the pid, its identity.
        exe: path of the executable in the process's own root.
        command: its arguments.
        ancestors: parent first; init is left out, since it is everybody's.
        cgroup: where it is in the unified hierarchy, or in that of the memory controller; empty
            for the root, which says nothing.
    """

    pid: int
    start_ticks: int
    exe: str
    command: tuple[str, ...]
    ancestors: tuple[Ancestor, ...] = ()
    cgroup: str = ""


def subject_of(pid: int, root: Path = PROC) -> Subject:
    """Describe a living process.

    Raises:
        NoSuchProcess: it is gone, or a zombie.
        NotPermitted: we may not look.
    """
    first = procfs.stat(pid, root)
    exe = procfs.exe_path(pid, root)
    if exe is None or first.state in {"Z", "X"}:
        raise NoSuchProcess(
            f"process {pid} has ended",
            cause="it runs no program any more",
            fix="list the Go processes with: cgoleak ps",
        )
    return Subject(
        pid=pid,
        start_ticks=first.start_ticks,
        exe=exe,
        command=procfs.command_line(pid, root),
        ancestors=tuple(_ancestors(first.ppid, root)),
        cgroup=_cgroup(pid, root),
    )


def find_running(
    matches: Callable[[str], bool], root: Path = PROC, *, without: frozenset[int] = frozenset()
) -> tuple[Subject, ...]:
    """List the processes whose executable ``matches``, in order of their start."""
    found = []
    for pid in procfs.pids(root):
        if pid in without or pid == os.getpid():
            continue
        try:
            exe = procfs.exe_path(pid, root)
            if exe is not None and matches(exe):
                found.append(subject_of(pid, root))
        except CgoleakError:
            continue  # it ended meanwhile, or is none of ours
    return tuple(sorted(found, key=lambda one: (one.start_ticks, one.pid)))


def same_program(path: Path) -> Callable[[str], bool]:
    """Give a test for the executables that ``--exe PATH`` means.

    A symbolic link may point elsewhere by the next restart, so that it is followed anew each time.
    """

    def matches(exe: str) -> bool:
        return exe in {str(path), os.path.abspath(path), os.path.realpath(path)}  # noqa: PTH100

    return matches


def find_successor(
    old: Subject,
    seen_ticks: int,
    root: Path = PROC,
    *,
    named: Path | None = None,
    patient: bool = False,
) -> Subject | None:
    """Find who took the place of a process that has ended; None if nobody has yet.

    Args:
        old: the one that ended.
        seen_ticks: when it was last seen alive; whoever started before ran beside it.
        root: of /proc.
        named: the program that the user named: it is followed whoever starts it.
        patient: as long as the old one's parent lives, wait for its next child and take no other.
    """
    only_siblings = patient and _is_alive(old.ancestors, root)
    base = os.path.basename(old.exe)  # noqa: PTH119 - a path in the target
    wanted = same_program(named) if named is not None else None

    def may_be(exe: str) -> bool:
        return os.path.basename(exe) == base or (wanted is not None and wanted(exe))  # noqa: PTH119

    ranked = []
    for one in find_running(may_be, root):
        rank = _kinship(old, one)
        if rank is None and wanted is not None and wanted(one.exe):
            rank = _STRANGER
        is_same = one.exe == old.exe or one.command[1:] == old.command[1:]
        if one.start_ticks < seen_ticks or rank is None or not (is_same or wanted):
            continue
        if only_siblings and rank:
            continue
        if (one.pid, one.start_ticks) != (old.pid, old.start_ticks):
            ranked.append((rank, one.start_ticks, one.pid, one))
    return min(ranked)[3] if ranked else None


_STRANGER: Final = 99


def _kinship(old: Subject, new: Subject) -> int | None:
    """Rank how near two processes are, 0 the nearest; None if nothing connects them.

    The same parent; the same cgroup (a service of systemd, whose parent is init); a common
    supervisor further up; neighbouring cgroups (containers of one pod).
    """
    if old.ancestors and new.ancestors and old.ancestors[0] == new.ancestors[0]:
        return 0
    if old.cgroup and old.cgroup == new.cgroup:
        return 1
    above = set(old.ancestors)
    for distance, ancestor in enumerate(new.ancestors):
        if ancestor in above:
            return 2 + distance
    folder = old.cgroup.rpartition("/")[0]
    if folder and folder == new.cgroup.rpartition("/")[0]:
        return 2 + _ANCESTORS
    return None


def _is_alive(ancestors: tuple[Ancestor, ...], root: Path) -> bool:
    """Tell whether the parent is still there; init is not among the ancestors."""
    if not ancestors:
        return False
    try:
        return procfs.stat(ancestors[0].pid, root).start_ticks == ancestors[0].start_ticks
    except (NoSuchProcess, NotPermitted):
        return False


def _ancestors(ppid: int, root: Path) -> Iterator[Ancestor]:
    for _ in range(_ANCESTORS):
        if ppid <= _INIT:
            return
        try:
            above = procfs.stat(ppid, root)
        except (NoSuchProcess, NotPermitted):
            return
        yield Ancestor(ppid, above.start_ticks)
        ppid = above.ppid


def _cgroup(pid: int, root: Path) -> str:
    """Give the path in the memory or unified hierarchy; empty for the root or where hidden."""
    try:
        lines = procfs.process_file(pid, "cgroup", root).split(b"\n")
    except CgoleakError:
        return ""
    found = {}
    for line in lines:
        _, colon, rest = line.partition(b":")
        if not colon:
            continue
        controllers, _, path = rest.partition(b":")
        for name in controllers.split(b","):
            found[name] = os.fsdecode(path)
    path_found = found.get(b"memory") or found.get(b"") or ""
    return path_found.rstrip("/")
