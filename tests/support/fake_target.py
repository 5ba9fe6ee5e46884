"""The edge of the probe's driver: a target's memory and its directory in /proc."""

from __future__ import annotations

import os
import struct
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from support.proctree import a_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region

__all__ = ["a_child", "a_stopped_process", "lines_of", "memory_of", "state_of", "words"]


class _Bytes:
    """Memory that holds what it is given, and nothing between."""

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._pieces = pieces

    def read(self, address: int, size: int) -> bytes | None:
        for start, piece in self._pieces.items():
            if start <= address and address + size <= start + len(piece):
                return piece[address - start : address - start + size]
        return None

    def word(self, address: int) -> int | None:
        raw = self.read(address, 8)
        return None if raw is None else int.from_bytes(raw, "little")


def memory_of(pieces: Mapping[int, bytes | int]) -> Memory:
    """Give a reader of these bytes, or words, each at its address."""
    held = {
        at: piece.to_bytes(8, "little") if isinstance(piece, int) else piece
        for at, piece in pieces.items()
    }
    return cast("Memory", _Bytes(held))


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def lines_of(*regions: Region) -> str:
    """Write regions as ``/proc/PID/maps`` does."""
    return "".join(
        f"{r.start:x}-{r.end:x} {r.perms} {r.offset:08x} {r.device} {r.inode} {r.path}"
        f"{' (deleted)' if r.deleted else ''}\n"
        for r in regions
    )


def a_stopped_process(
    root: Path, pid: int, *, syscall: str, stack_at: int = 0x10000, stack: bytes = b""
) -> Path:
    """Make the directory of a stopped process; its memory ends with its stack."""
    folder = a_process(root, pid, state="T (stopped)", readable_memory=False)
    (folder / "syscall").write_text(syscall)
    with (folder / "mem").open("wb") as file:
        file.seek(stack_at)
        file.write(stack)
    return folder


@contextmanager
def a_child(*command: str, stdout: int | None = None) -> Iterator[int]:
    """Start a child, wait until it runs that program, and end it whatever state it is in."""
    actions = [] if stdout is None else [(os.POSIX_SPAWN_DUP2, stdout, 1)]
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    try:
        _until_exec(pid)
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _until_exec(pid: int) -> None:
    ours = Path("/proc/self/exe").readlink()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/exe").readlink() == ours:
        assert time.monotonic() < deadline


def state_of(pid: int) -> str:
    """Give the letter of its state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
