"""The resident copy of the probe in the target: found by its mapping's name, read from outside."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.probe.wire.layout import MAGIC, VERSION, Header, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgoleak.probe.wire.artifact import Artifact
    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region

__all__ = [
    "IMAGE_NAME",
    "TABLES_NAME",
    "Resident",
    "find_residents",
    "is_measuring",
    "may_leave_by_itself",
]

IMAGE_NAME: Final = "/memfd:cgoleak-probe"
TABLES_NAME: Final = "/memfd:cgoleak-tables"


@dataclass(frozen=True, slots=True)
class Resident:
    """One copy, ours or of another build.

    Attributes:
        header_at: address of its header; 0 if it is of another build and cannot be read.
        same_build: its code is the code of this package.
    """

    image_start: int
    header_at: int
    same_build: bool

    def header(self, memory: Memory) -> Header | None:
        """Read the header as it is now; None if the copy is gone."""
        raw = memory.read(self.header_at, ctypes.sizeof(Header)) if self.header_at else None
        return None if raw is None else Header.from_buffer_copy(raw)


def find_residents(
    regions: Iterable[Region], memory: Memory, artifact: Artifact
) -> tuple[Resident, ...]:
    """Return every copy in a memory map, lowest address first."""
    found = []
    for region in regions:
        if region.path != IMAGE_NAME or region.offset:
            continue
        at = region.start + artifact.header_vaddr
        raw = memory.read(at, ctypes.sizeof(Header))
        header = Header.from_buffer_copy(raw) if raw else None
        ours = (
            header is not None
            and header.magic == MAGIC
            and header.version == VERSION
            and header.build == artifact.build
            and header.image_start == region.start
        )
        found.append(Resident(region.start, at if ours else 0, ours))
    return tuple(found)


def is_measuring(header: Header, pid_in_namespace: int) -> bool:
    """Tell whether a controller holds it; a forked child has its parent's header, and none."""
    return header.state not in (State.IDLE, State.FAILED) and header.owner_pid == pid_in_namespace


def may_leave_by_itself(header: Header) -> bool:
    """Tell whether one that measures may have no controller: it waits for one, or is leaving.

    It keeps the write end of its command pipe until a controller has taken it (``cg_control``).
    """
    return bool(header.state != State.RUNNING or header.command_fd >= 0)
