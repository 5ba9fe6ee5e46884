"""What the memory cgroup of a process says: how much room is left, and whom the OOM killer took.

pid → ``Room``, the narrowest of its cgroup and those around it: a limit counts for all below it.
Both versions of cgroups, as Linux documents them (Documentation/admin-guide/cgroup-v2.rst,
``memory.max``; cgroup-v1/memory.rst, ``memory.limit_in_bytes``).

From inside a container the files of others are often not to be seen; then nothing is said.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CGROUPS", "ENTER_BYTES", "STAY_BYTES", "Room", "oom_kills", "room"]

CGROUPS: Final = Path("/sys/fs/cgroup")
ENTER_BYTES: Final = 16 << 20
"""With less room no process is entered. An attach takes one or two MiB, then 16 bytes a block."""
STAY_BYTES: Final = 8 << 20
"""With less room a process is left, before the kernel kills it for our pages."""


@dataclass(frozen=True, slots=True)
class Room:
    """What may be used and what is; bytes.

    Attributes:
        used_bytes: without file pages that the kernel can drop at once (``inactive_file``).
        group: its name below the mount point.
    """

    limit_bytes: int
    used_bytes: int
    group: str

    @property
    def left_bytes(self) -> int:
        """What the kernel gives before it kills; never below 0."""
        return max(0, self.limit_bytes - self.used_bytes)


class _Files(NamedTuple):
    """How one version of cgroups names them."""

    limit: str
    used: str
    inactive: bytes
    kills: str


_V1: Final = _Files(
    "memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file", "memory.oom_control"
)
_V2: Final = _Files("memory.max", "memory.current", b"inactive_file", "memory.events")


def room(pid: int, root: Path = PROC, cgroups: Path = CGROUPS) -> Room | None:
    """Return the room of the narrowest limit that a process is under; None if none is known."""
    found = (
        each
        for base, inside, files in _groups(_read(root / str(pid) / "cgroup"), cgroups)
        for group in (inside, *inside.parents)
        if (each := _room_of(base, group, files)) is not None
    )
    return min(found, key=lambda each: each.left_bytes, default=None)


def oom_kills(memberships: bytes, cgroups: Path = CGROUPS) -> int | None:
    """Read how many processes of a memory cgroup an OOM killer took; None if it does not say.

    ``memberships`` is the text of ``/proc/PID/cgroup``.
    """
    for base, inside, files in _groups(memberships, cgroups):
        kills = _fields(base / inside / files.kills).get(b"oom_kill")
        if kills is not None:
            return kills
    return None


def _groups(memberships: bytes, cgroups: Path) -> Iterator[tuple[Path, Path, _Files]]:
    """Yield where a process's group may be: the mount point, the group below it, its files."""
    for line in memberships.split(b"\n"):
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        inside = Path(os.fsdecode(path).lstrip("/"))
        if b"memory" in controllers.split(b","):
            yield cgroups / "memory", inside, _V1
        elif not controllers and path:
            yield cgroups, inside, _V2
            yield cgroups / "unified", inside, _V2


def _room_of(base: Path, group: Path, files: _Files) -> Room | None:
    limit, used = _read(base / group / files.limit), _read(base / group / files.used)
    if not limit.strip().isdigit() or not used.strip().isdigit():
        return None  # "max", or not there
    inactive = _fields(base / group / "memory.stat").get(files.inactive, 0)
    return Room(int(limit), max(0, int(used) - inactive), f"/{group}" if group.name else "/")


def _fields(file: Path) -> dict[bytes, int]:
    pairs = (line.split() for line in _read(file).split(b"\n"))
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2 and words[1].isdigit()}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError):  # a name with a zero byte
        return b""
