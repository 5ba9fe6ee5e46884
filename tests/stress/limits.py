"""Where there is no room: for large files, in the probe's tables, in the memory cgroup."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgoleak.probe.wire.resident import TABLES_NAME
from cgoleak.target.kernel import cgroup, procfs
from stress.rounds import attached, check_visit, refusal, settled
from stress.target import torture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stress.target import Running

__all__ = ["no_memory_group", "run_full", "run_limited", "run_narrow"]


def run_limited() -> str:
    """Forbid it large files: it is refused untouched, and measured once it may have them."""
    with torture("churn") as running:
        running.next_lines(1)
        before = running.residue()
        limit = resource.prlimit(running.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
        cause = refusal(running)
        assert "RLIMIT_FSIZE" in cause, f"it was not refused: {cause}"
        assert running.numbers()["bad"] == 0
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, limit)
        check_visit(before, running)
        return "refused while it is limited, measured afterwards"


def run_full() -> str:
    """Give it more stacks and mappings than the tables hold: what finds no room is counted."""
    with torture("full") as running:
        running.next_lines(1)
        session = attached(running)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and running.is_alive():
                session.wait_for_event(0.1)
                counters = session.tables.counters(session.tables.counts())
                if counters.dropped_stacks > 1000 and counters.dropped_blocks > 100:
                    break
            farewell = session.detach()
            counts = session.tables.counts()
            counters = session.tables.counters(counts)
            left = sum(size < 4096 for _, size, _ in session.tables.outstanding())
        finally:
            session.close()
        assert farewell.clean, farewell
        assert counters.dropped_stacks > 1000, counters
        assert counters.dropped_blocks > 100, counters
        # Whether or not its stack found room, a block that was freed is not outstanding.
        assert 0 <= left < 50, (left, counters)
        said = running.numbers()
        assert said["bad"] == 0, said
        after = settled(running, lambda r: not (r.tables or r.tracer))
        assert (after.tables, after.tracer, after.foreign) == (0, 0, ())
        return (
            f"{len(counts)} stacks, {counters.dropped_stacks} had no room, nor had"
            f" {counters.dropped_blocks} mappings; {left} blocks outstanding"
        )


class MemoryGroup:
    """A memory cgroup of our own, of either version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        v1 = (folder / "memory.limit_in_bytes").exists()
        self._limit = folder / ("memory.limit_in_bytes" if v1 else "memory.max")

    def add(self, pid: int) -> None:
        """Move a process into it."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def leave(self, pid: int, room_bytes: int) -> None:
        """Set the limit so that this much room is left."""
        self._limit.write_text("-1" if self._limit.name.endswith("bytes") else "max")
        self._limit.write_text(str(1 << 40))
        now = cgroup.room(pid)
        assert now is not None
        self._limit.write_text(str(now.used_bytes + room_bytes))


def _parents() -> tuple[Path, ...]:
    return (cgroup.CGROUPS / "memory", cgroup.CGROUPS / "unified", cgroup.CGROUPS)


@contextmanager
def _memory_group() -> Iterator[MemoryGroup]:
    for parent in _parents():
        folder = parent / f"cgoleak-{os.getpid()}"
        with suppress(OSError):
            folder.mkdir()
            if not any(
                (folder / name).exists() for name in ("memory.max", "memory.limit_in_bytes")
            ):
                folder.rmdir()
                continue
            break
    else:
        raise OSError("no memory cgroup can be made here")
    try:
        yield MemoryGroup(folder)
    finally:
        deadline = time.monotonic() + 5
        while folder.exists() and time.monotonic() < deadline:
            with suppress(OSError):  # until its processes are gone
                folder.rmdir()
            time.sleep(0.05)


def no_memory_group() -> str | None:
    """Say why no memory cgroup can be made, for a reason to skip."""
    try:
        with _memory_group():
            return None
    except OSError as exc:
        return str(exc)


def run_narrow() -> str:
    """Come close to the limit of its memory cgroup: it is refused, or left, and lives."""
    with _memory_group() as group, torture("churn") as running:
        running.next_lines(1)
        group.add(running.pid)
        group.leave(running.pid, cgroup.ENTER_BYTES - (4 << 20))
        cause = refusal(running)
        assert "memory cgroup" in cause, f"it was not refused: {cause}"
        group.leave(running.pid, 64 << 20)
        report, took = _narrowed(running, group)
        assert "probe.memory-limit" in [notice["code"] for notice in report["notices"]]
        assert report["cost"]["events"] > 0
        assert running.numbers()["bad"] == 0
        return f"refused with 12 MiB left; left alone with 5 MiB left, {took:.1f} s later"


def _narrowed(running: Running, group: MemoryGroup) -> tuple[dict[str, Any], float]:
    """Lower the limit while cgoleak measures; give its report, and the seconds that it stayed."""
    with tempfile.TemporaryDirectory(prefix="cgoleak-narrow-") as folder:
        out = Path(folder) / "report.json"
        words = ["attach", str(running.pid), "--duration", "60", "--quiet", "-o", str(out)]
        command = [sys.executable, "-m", "cgoleak", *words]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            _until_hooked(running, process, there=True)
            group.leave(running.pid, cgroup.STAY_BYTES - (3 << 20))
            began = time.monotonic()
            _until_hooked(running, process, there=False)
            took = time.monotonic() - began
            process.wait(60)
        return json.loads(out.read_text()), took


def _until_hooked(running: Running, process: subprocess.Popen[bytes], *, there: bool) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        hooked = any(region.path == TABLES_NAME for region in procfs.maps(running.pid))
        if hooked == there:
            return
        assert process.poll() is None or not there, "it ended before it was hooked"
        time.sleep(0.02)
    raise AssertionError("it is not hooked" if there else "it is hooked still")
