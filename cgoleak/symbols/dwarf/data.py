"""DWARF's raw material: sections, numbers, abbreviations, unit headers.

Versions 2 to 5, 32- and 64-bit offsets, 8-byte addresses. Numbers in brackets are sections of the
DWARF 5 standard; the names of its constants come from pyelftools. Entries are not decoded by it:
520k of them take it 13 s, since it makes an object of each and looks at every attribute.

Damaged data raise one of ``DAMAGE``; none of these leaves the package.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from elftools.dwarf.enums import ENUM_DW_AT, ENUM_DW_FORM, ENUM_DW_UT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "AT",
    "DAMAGE",
    "FIXED_SIZES",
    "FORM",
    "Abbreviation",
    "DamagedDwarf",
    "Sections",
    "UnitHeader",
    "read_abbreviations",
    "read_units",
    "sleb",
    "uleb",
]

AT: Final[Mapping[str, int]] = ENUM_DW_AT
FORM: Final[Mapping[str, int]] = ENUM_DW_FORM
_UT: Final[Mapping[str, int]] = ENUM_DW_UT

_MAX_UNITS: Final = 50_000
_MAX_STRING_BYTES: Final = 1 << 16
FIXED_SIZES: Final[dict[int, int]] = {
    FORM["DW_FORM_" + name]: size
    for size, names in {
        0: "flag_present implicit_const",
        1: "data1 flag ref1 strx1 addrx1",
        2: "data2 ref2 strx2 addrx2",
        3: "strx3 addrx3",
        4: "data4 ref4 strx4 addrx4 ref_sup4",
        8: "data8 ref8 ref_sig8 addr ref_sup8",
        16: "data16",
    }.items()
    for name in names.split()
}
"""Length in bytes of the forms that have one (7.5.6)."""


class DamagedDwarf(Exception):
    """The debug information contradicts itself or is cut short."""


DAMAGE: Final = (DamagedDwarf, IndexError, struct.error, OverflowError)
"""What decoding may raise on damaged data; caught where a unit or a table can be given up."""


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """Decode an unsigned LEB128 (7.6); return it and the place after it."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 70:
            raise DamagedDwarf


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """Decode a signed LEB128 (7.6); return it and the place after it."""
    value, end = uleb(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), end


class Sections:
    """The debug sections of one file, each fetched when first used; empty if it is missing."""

    def __init__(self, fetch: Callable[[str], memoryview | None]) -> None:
        self._fetch = fetch
        self._known: dict[str, memoryview] = {}

    def __getitem__(self, name: str) -> memoryview:
        if name not in self._known:
            self._known[name] = self._fetch(".debug_" + name) or memoryview(b"")
        return self._known[name]

    def string(self, section: str, at: int) -> str:
        """Return the string at an offset of a section, or the empty string."""
        view = self[section]
        size = 128
        while True:
            raw = bytes(view[at : at + size])
            end = raw.find(b"\0")
            if end >= 0:
                return raw[:end].decode("utf-8", "replace")
            if len(raw) < size or size > _MAX_STRING_BYTES:
                return ""
            size *= 8

    def word(self, section: str, at: int, size: int) -> int:
        """Return an unsigned number of ``size`` bytes."""
        raw = self[section][at : at + size]
        if len(raw) < size:
            raise DamagedDwarf
        return int.from_bytes(raw, "little")


class Abbreviation(NamedTuple):
    """The shape of an entry (7.5.3): tag, and per attribute its name, form and implicit value."""

    tag: int
    has_children: bool
    attributes: tuple[tuple[int, int, int], ...]
    fixed_size: int | None
    """Length in bytes if every form has one."""
    has_sibling: bool


def read_abbreviations(section: memoryview, at: int) -> dict[int, Abbreviation]:
    """Decode one table of ``.debug_abbrev`` (7.5.3)."""
    data = bytes(section[at : at + (1 << 20)])
    found: dict[int, Abbreviation] = {}
    at = 0
    while True:
        code, at = uleb(data, at)
        if not code:
            return found
        tag, at = uleb(data, at)
        has_children = bool(data[at])
        at += 1
        attributes = []
        while True:
            name, at = uleb(data, at)
            form, at = uleb(data, at)
            implicit = 0
            if form == FORM["DW_FORM_implicit_const"]:
                implicit, at = sleb(data, at)
            if not name and not form:
                break
            attributes.append((name, form, implicit))
        sizes = [FIXED_SIZES.get(form) for _, form, _ in attributes]
        found[code] = Abbreviation(
            tag=tag,
            has_children=has_children,
            attributes=tuple(attributes),
            fixed_size=None if None in sizes else sum(size or 0 for size in sizes),
            has_sibling=any(name == AT["DW_AT_sibling"] for name, _, _ in attributes),
        )


class UnitHeader(NamedTuple):
    """What ``.debug_info`` says before the first entry of a unit; offsets in the section."""

    offset: int
    end: int
    version: int
    root: int
    abbreviations: int
    offset_size: int
    address_size: int


def read_units(section: memoryview) -> list[UnitHeader]:
    """Decode the unit headers (7.5.1), as far as they make sense; type units are left out."""
    found: list[UnitHeader] = []
    at = 0
    while at + 12 <= len(section) and len(found) < _MAX_UNITS:
        (length,) = struct.unpack_from("<I", section, at)
        start, offset_size = at + 4, 4
        if length == 0xFFFF_FFFF:
            (length,) = struct.unpack_from("<Q", section, at + 4)
            start, offset_size = at + 12, 8
        end = start + length
        if end > len(section) or length < 8 + offset_size:
            break
        (version,) = struct.unpack_from("<H", section, start)
        kind, root = _UT["DW_UT_compile"], start + 3 + offset_size
        if version >= 5:
            kind, address_size = section[start + 2], section[start + 3]
            table, root = start + 4, start + 4 + offset_size
        else:
            table, address_size = start + 2, section[start + 2 + offset_size]
        if 2 <= version <= 5 and address_size == 8 and kind in _WANTED_KINDS:
            abbreviations = int.from_bytes(section[table : table + offset_size], "little")
            found.append(
                UnitHeader(at, end, version, root, abbreviations, offset_size, address_size)
            )
        at = end
    return found


_WANTED_KINDS: Final = (_UT["DW_UT_compile"], _UT["DW_UT_partial"])
