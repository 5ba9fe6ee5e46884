"""A /proc of a few processes that come and go, each with a parent, a cgroup and a start time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Lineage"]


class Lineage:
    """Files below ``root`` as ``target.succession`` and ``target.ending`` read them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.cgroups = root / "cgroups"
        self.kernel_log = root / "kmsg"
        self.kernel_log.touch()

    def start(
        self,
        pid: int,
        exe: str = "/srv/worker",
        *,
        parent: int = 1,
        at: int = 1000,
        arguments: tuple[str, ...] = ("--port", "8080"),
        cgroup: str = "/",
    ) -> None:
        """Start a process ``at`` so many ticks after boot."""
        folder = self.root / str(pid)
        folder.mkdir()
        (folder / "exe").symlink_to(exe)
        (folder / "cmdline").write_bytes("\0".join((exe, *arguments, "")).encode())
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
        self._stat(pid, "S", parent, at, 0)

    def end(self, pid: int) -> None:
        """Have it reaped."""
        (self.root / str(pid) / "stat").write_text("")  # whoever holds it open reads nothing now
        shutil.rmtree(self.root / str(pid))

    def die(self, pid: int, status: int, *, parent: int = 1, at: int = 1000) -> None:
        """Make it a zombie with this wait status."""
        (self.root / str(pid) / "exe").unlink()
        self._stat(pid, "Z", parent, at, status)

    def count_oom_kills(self, cgroup: str, number: int) -> None:
        folder = self.cgroups / cgroup.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.events").write_text(f"low 0\nhigh 9\noom 4\noom_kill {number}\n")

    def log(self, line: str) -> None:
        """Have the kernel say something."""
        with self.kernel_log.open("a") as log:
            log.write(f"4,100,200,-;{line}\n")

    def _stat(self, pid: int, state: str, parent: int, at: int, status: int) -> None:
        # Fields 5 to 21, start time, 23 to 51, exit code: proc_pid_stat(5).
        words = [str(pid), "(a (b) c)", state, str(parent), *["0"] * 17, str(at), *["0"] * 29]
        (self.root / str(pid) / "stat").write_text(" ".join([*words, str(status)]) + "\n")
