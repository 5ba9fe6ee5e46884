"""Where the symbols of a stripped file are.

Three places, in the order of how much they tell: a debug file under its build id, the debug file
that ``.gnu_debuglink`` names, and the symbols packed into the file itself (``.gnu_debugdata``). All
paths are taken under ``root``, so that a container's files are found from outside. Nothing is
fetched from the network: no debuginfod.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.errors import SymbolError
from cgoleak.symbols.elf.compressed import unxz
from cgoleak.symbols.elf.object_file import ObjectFile

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_debug_file", "packed_symbols"]

_MAX_PACKED_BYTES: Final = 64 << 20
_CRC_PIECE: Final = 1 << 20
_DEBUG_ROOT: Final = Path("usr/lib/debug")


def find_debug_file(obj: ObjectFile, path: str, root: Path = Path("/")) -> ObjectFile | None:
    """Find the separate debug file of an ELF file, or None.

    Args:
        obj: the file.
        path: where it is, as its process sees it.
        root: what that process sees as ``/``, such as ``/proc/PID/root``.
    """
    if len(obj.build_id) > 2:
        below = Path(".build-id", obj.build_id[:2], obj.build_id[2:] + ".debug")
        found = _opened(root / _DEBUG_ROOT / below)
        if found is not None and found.build_id == obj.build_id:
            return found
    link = _debug_link(obj)
    if link is None:
        return None
    name, checksum = link
    for candidate in _places(name, path, root):
        found = _opened(candidate)
        if found is not None and _checksum(found) == checksum:
            return found
    return None


def packed_symbols(obj: ObjectFile) -> ObjectFile | None:
    """Return the small ELF file inside ``.gnu_debugdata`` (xz; functions that .dynsym lacks)."""
    packed = obj.section_data(".gnu_debugdata")
    content = None if packed is None else unxz(bytes(packed), limit=_MAX_PACKED_BYTES)
    if not content:
        return None
    try:
        return ObjectFile(content, f"{obj.name} (.gnu_debugdata)")
    except SymbolError:
        return None


def _debug_link(obj: ObjectFile) -> tuple[str, int] | None:
    """Decode ``.gnu_debuglink``: a file name, zeros to a multiple of four, a CRC32 of that file."""
    raw = bytes(obj.section_data(".gnu_debuglink") or b"")
    name = raw.split(b"\0", 1)[0]
    at = (len(name) + 4) & ~3
    if not name or b"/" in name or name in (b".", b"..") or len(raw) < at + 4:
        return None
    return name.decode("utf-8", "surrogateescape"), int.from_bytes(raw[at : at + 4], "little")


def _places(name: str, path: str, root: Path) -> Iterator[Path]:
    """Yield where gdb looks for a linked debug file (its manual, "Separate Debug Files")."""
    directory = Path(path).parent
    beside = Path(*directory.parts[1:]) if directory.is_absolute() else directory
    yield root / beside / name
    yield root / beside / ".debug" / name
    yield root / _DEBUG_ROOT / beside / name


def _opened(path: Path) -> ObjectFile | None:
    try:
        return ObjectFile.open(path) if path.is_file() else None
    except (SymbolError, OSError):
        return None


def _checksum(obj: ObjectFile) -> int:
    crc = 0
    for at in range(0, obj.size, _CRC_PIECE):
        crc = zlib.crc32(obj.at_offset(at, _CRC_PIECE), crc)
    return crc
