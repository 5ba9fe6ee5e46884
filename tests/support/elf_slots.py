"""Small loadable ELF files made by hand: what they define, and the slots their loader would fill.

Four segments as linkers lay them out, a page each: headers, code, tables, data. Slots lie in data
from its start on, eight bytes each, in the order given.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.probe.calls.modules import LoadedModule
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel.procfs import Region

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ABS64",
    "CODE",
    "DATA",
    "GLOB_DAT",
    "JUMP_SLOT",
    "SlotAsked",
    "an_image",
    "loaded",
    "mappings",
    "slot_at",
]

JUMP_SLOT: Final = "JUMP_SLOT"
GLOB_DAT: Final = "GLOB_DAT"
ABS64: Final = "ABS64"
_TYPES: Final = {
    62: {ABS64: 1, GLOB_DAT: 6, JUMP_SLOT: 7},
    183: {ABS64: 257, GLOB_DAT: 1025, JUMP_SLOT: 1026},
}

CODE: Final = 0x1000
TABLES: Final = 0x2000
DATA: Final = 0x3000
_PAGE: Final = 0x1000
_HEADERS: Final = ((CODE, 5), (TABLES, 4), (DATA, 6))


@dataclass(frozen=True)
class SlotAsked:
    """One relocation: which function, how, and with what addend."""

    function: str
    kind: str = JUMP_SLOT
    addend: int = 0


_ET_EXEC = 2
_INTERP = b"/lib64/ld-linux-x86-64.so.2\0"
_INTERP_AT = 0xF00


def an_image(
    *,
    defines: Mapping[str, int] | None = None,
    slots: Sequence[SlotAsked] = (),
    machine: int = 62,
    type: int = 3,  # noqa: A002  (the field's name)
    base: int = 0,
    relro: bool = False,
) -> bytes:
    """Make a file; ``defines`` gives each function's address, below CODE + one page."""
    defines = defines or {}
    names = list(dict.fromkeys([*defines, *(slot.function for slot in slots)]))
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    symbols = bytes(24)
    for name in names:
        place = strings.index(b"\0" + name.encode() + b"\0") + 1
        value = defines.get(name, 0)
        section = 1 if value else 0
        symbols += struct.pack("<IBBHQQ", place, 0x12, 0, section, value and value + base, 16)
    rows = {True: b"", False: b""}
    for index, slot in enumerate(slots):
        info = names.index(slot.function) + 1 << 32 | _TYPES[machine][slot.kind]
        row = struct.pack("<QQq", slot_at(index) + base, info, slot.addend)
        rows[slot.kind == JUMP_SLOT] += row
    tables = b""
    places = {}
    hash_table = struct.pack("<4I", 1, len(names) + 1, 0, 0)
    contents = {5: strings, 6: symbols, 4: hash_table, 7: rows[False], 23: rows[True]}
    for tag, content in contents.items():
        tables += bytes(-len(tables) % 8)
        places[tag] = TABLES + base + len(tables)
        tables += content
    tables += bytes(-len(tables) % 8)
    dynamic_at = TABLES + len(tables)
    sizes = {10: len(strings), 8: len(rows[False]), 2: len(rows[True]), 0: 0}
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in (places | sizes).items())
    tables += dynamic
    assert len(tables) <= _PAGE
    segments = [(1, 4, 0, _PAGE)]
    segments += [(1, flags, at, _PAGE) for at, flags in _HEADERS]
    segments.append((2, 4, dynamic_at, len(dynamic)))
    if type == _ET_EXEC:
        segments.append((3, 4, _INTERP_AT, len(_INTERP)))
    if relro:
        segments.append((0x6474E552, 4, DATA, _PAGE))
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    numbers = (type, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    head += struct.pack("<HHIQQQIHHHHHH", *numbers)
    for kind, flags, at, size in segments:
        head += struct.pack("<IIQQQQQQ", kind, flags, at, at + base, at + base, size, size, _PAGE)
    code = bytes(_PAGE)
    head = head.ljust(_INTERP_AT, b"\0") + (_INTERP if type == _ET_EXEC else b"")
    return head.ljust(CODE, b"\0") + code + tables.ljust(_PAGE, b"\0") + bytes(_PAGE)


def slot_at(index: int) -> int:
    """Address of a slot in the file, less its base."""
    return DATA + 8 * index


def mappings(
    at: int, path: str, *, inode: int = 7, device: str = "fe:00", data: str = "rw-p"
) -> tuple[Region, ...]:
    """Map such a file's four pages as a loader does."""
    rights = ("r--p", "r-xp", "r--p", data)
    return tuple(
        Region(at + i * _PAGE, at + (i + 1) * _PAGE, perms, i * _PAGE, device, inode, path)
        for i, perms in enumerate(rights)
    )


def loaded(at: int, path: str, image: bytes, *, base: int = 0, data: str = "rw-p") -> LoadedModule:
    """Give the module as it lies in memory: its first page at ``at``."""
    return LoadedModule(path, at - base, mappings(at, path, data=data), ObjectFile(image, path))
