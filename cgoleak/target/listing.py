"""The Go processes of this machine, for ``cgoleak ps``.

``/proc`` → one row per Go process that can be looked into, with the reason if it cannot be
attached to. Processes that end meanwhile are left out; those of other users that we may not look
into are counted, since "no Go process" would be a wrong answer then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgoleak.errors import CgoleakError, NoSuchProcess, NotPermitted
from cgoleak.target.gobinary import read_binary
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import PROC
from cgoleak.target.preflight import require

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GoProcess", "Listing", "list_go_processes"]


@dataclass(frozen=True, slots=True)
class GoProcess:
    """One Go process.

    Attributes:
        name: base name of the executable.
        go_version: None if the build information does not give it.
        cgo: whether C code is linked in.
        rss_bytes: resident memory, or None if it is hidden.
        refusal: why it cannot be attached to, or None if it can.
    """

    pid: int
    name: str
    go_version: str | None
    cgo: bool
    rss_bytes: int | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """Go processes by pid, and how many processes could not be looked into."""

    processes: tuple[GoProcess, ...]
    hidden: int


def list_go_processes(root: Path = PROC) -> Listing:
    """Look at every process once; ourselves excluded."""
    found = []
    hidden = 0
    for pid in procfs.pids(root):
        if pid == os.getpid():
            continue
        try:
            process = _look(pid, root)
        except NoSuchProcess:
            continue
        except NotPermitted:
            hidden += 1
            continue
        if process is not None:
            found.append(process)
    return Listing(processes=tuple(found), hidden=hidden)


def _look(pid: int, root: Path) -> GoProcess | None:
    """Describe one process, or None if it is not Go."""
    binary = read_binary(pid, root)
    if not binary.is_go:
        return None
    memory = procfs.process_memory(pid, root)
    return GoProcess(
        pid=pid,
        name=binary.path.rpartition("/")[2],
        go_version=binary.go_version,
        cgo=binary.uses_cgo,
        rss_bytes=memory.rss if memory else None,
        refusal=_refusal(pid, root),
    )


def _refusal(pid: int, root: Path) -> str | None:
    try:
        require(pid, root)
    except NoSuchProcess:
        raise
    except CgoleakError as error:
        return error.what
    return None
