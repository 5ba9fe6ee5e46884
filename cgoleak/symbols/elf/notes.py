"""ELF notes: the GNU build id."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["gnu_build_id"]

_HEADER: Final = struct.Struct("<III")  # n_namesz, n_descsz, n_type
_NT_GNU_BUILD_ID: Final = 3
_MAX_NOTES: Final = 64


def gnu_build_id(notes: bytes) -> str:
    """Find the build id among notes (``elf.h``: name ``GNU``, type 3); hex, or the empty string."""
    at = 0
    for _ in range(_MAX_NOTES):
        if at + _HEADER.size > len(notes):
            break
        name_size, size, kind = _HEADER.unpack_from(notes, at)
        start = at + _HEADER.size + _aligned(name_size)
        name = notes[at + _HEADER.size : at + _HEADER.size + name_size]
        content = notes[start : start + size]
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and len(content) == size:
            return content.hex()
        at = start + _aligned(size)
    return ""


def _aligned(size: int) -> int:
    return (size + 3) & ~3
