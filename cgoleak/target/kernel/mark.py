"""What tells one program that a process runs from the next, which it becomes by exec.

A process keeps its pid, its start time and often its file through exec. The kernel gives each new
program sixteen random bytes on its stack (getauxval(3), AT_RANDOM; fs/binfmt_elf.c). Go writes
others over them while it starts (runtime/rand.go, ``randinit``, since Go 1.22), so that a program
that is just starting may look like another a moment later.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.target.kernel.memory import Memory

__all__ = ["Mark", "find_mark"]

_AT_RANDOM: Final = 25
"""linux/auxvec.h"""
_BYTES: Final = 16
_PAIR: Final = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where they are, and what they are."""

    address: int
    content: bytes


def find_mark(pid: int, memory: Memory, root: Path = PROC) -> Mark | None:
    """Find the mark of the program whose memory this is; None if it has none, or is gone."""
    try:
        raw = procfs.process_file(pid, "auxv", root)
    except CgoleakError:
        return None
    for key, address in _PAIR.iter_unpack(raw[: len(raw) // _PAIR.size * _PAIR.size]):
        if key == _AT_RANDOM:
            content = memory.read(address, _BYTES)
            return Mark(address, content) if content is not None else None
    return None
