"""C and C++ source lines and inlined calls from DWARF.

An address in, frames out, innermost first. Only the unit that holds the address is decoded, only
its functions are looked at, and of those only the one that holds the address is read to the leaves.
Units of the Go compiler are passed over: ``gopclntab`` serves those, in stripped binaries too.

Debug information that is damaged gives fewer frames or none; nothing is raised. Not followed: the
supplementary file of dwz (DW_FORM_GNU_*_alt) and split units (``.dwo``).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cgoleak.symbols.dwarf.data import (
    DAMAGE,
    Abbreviation,
    Sections,
    UnitHeader,
    read_abbreviations,
    read_units,
)
from cgoleak.symbols.dwarf.functions import DebugFrame, FunctionsOfUnit, Origin
from cgoleak.symbols.dwarf.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["DebugFrame", "DebugInfo"]

_GO: Final = 0x16
"""DW_LANG_Go (7.12)."""
_MAX_OVERLAP: Final = 16
"""Pieces of code that begin nearer are looked past for one that holds the address."""
_Piece = tuple[int, int, int]
"""(low, high, offset of the unit)"""


class DebugInfo:
    """The debug information of one file; cached per unit and per function."""

    def __init__(self, obj: ObjectFile) -> None:
        self._sections = Sections(obj.section_data)
        self._units: dict[int, FunctionsOfUnit | None] = {}
        self._abbreviations: dict[int, Mapping[int, Abbreviation]] = {}

    def __bool__(self) -> bool:
        return bool(self._headers)

    def frames(self, vaddr: int) -> tuple[DebugFrame, ...]:
        """Return the frames at an address of the file, innermost first; empty if none are known.

        For a return address, ask for the byte before it. The outermost frame has no name where the
        unit knows the line only (assembly, line tables without entries).
        """
        for unit in self._units_at(vaddr):
            try:
                if found := unit.frames(vaddr):
                    return found
            except DAMAGE:
                continue
        return ()

    @cached_property
    def _headers(self) -> list[UnitHeader]:
        return read_units(self._sections["info"])

    @cached_property
    def _offsets(self) -> list[int]:
        return [header.offset for header in self._headers]

    def _units_at(self, vaddr: int) -> Iterator[FunctionsOfUnit]:
        """Yield the units that may hold an address: by ``.debug_aranges``, then by their roots."""
        seen: set[int] = set()
        for pieces in self._near(vaddr):
            for low, high, offset in pieces:
                if low <= vaddr < high and offset not in seen:
                    seen.add(offset)
                    if (unit := self._unit(offset)) is not None:
                        yield unit

    def _near(self, vaddr: int) -> Iterator[list[_Piece]]:
        """Yield the pieces that begin at or shortly before an address, nearest first."""
        starts, pieces = self._listed
        last = bisect_right(starts, vaddr)
        yield pieces[max(0, last - _MAX_OVERLAP) : last][::-1]
        starts, pieces = self._unlisted
        last = bisect_right(starts, vaddr)
        yield pieces[max(0, last - _MAX_OVERLAP) : last][::-1]

    @cached_property
    def _listed(self) -> tuple[list[int], list[_Piece]]:
        """Pieces of code by ``.debug_aranges`` (6.1.2); clang and Go do not write it."""
        return _by_start(_address_ranges(self._sections["aranges"]))

    @cached_property
    def _unlisted(self) -> tuple[list[int], list[_Piece]]:
        """Pieces of code of the units that ``.debug_aranges`` leaves out."""
        listed = {offset for _, _, offset in self._listed[1]}
        pieces: list[_Piece] = []
        for offset in self._offsets:
            if offset in listed or (unit := self._unit(offset)) is None:
                continue
            try:
                pieces += [(low, high, offset) for low, high in unit.ranges()]
            except DAMAGE:
                continue
        return _by_start(pieces)

    def _unit(self, offset: int) -> FunctionsOfUnit | None:
        """Decode the head of a unit, once; None for a damaged one and for Go's."""
        if offset not in self._units:
            try:
                unit = self._decoded(offset)
            except DAMAGE:
                unit = None
            self._units[offset] = None if unit is None or unit.language == _GO else unit
        return self._units[offset]

    def _decoded(self, offset: int) -> FunctionsOfUnit | None:
        i = bisect_right(self._offsets, offset) - 1
        if i < 0 or self._offsets[i] != offset:
            return None
        header = self._headers[i]
        if header.abbreviations not in self._abbreviations:
            self._abbreviations[header.abbreviations] = read_abbreviations(
                self._sections["abbrev"], header.abbreviations
            )
        unit = Unit(
            sections=self._sections,
            offset=offset,
            data=bytes(self._sections["info"][offset : header.end]),
            version=header.version,
            root=header.root - offset,
            offset_size=header.offset_size,
            address_size=header.address_size,
            abbreviations=self._abbreviations[header.abbreviations],
        )
        return FunctionsOfUnit(unit, self._origin)

    def _origin(self, offset: int) -> Origin | None:
        """Decode the entry at an offset of ``.debug_info``, in whatever unit it is."""
        i = bisect_right(self._offsets, offset) - 1
        if i < 0 or (holder := self._unit(self._offsets[i])) is None:
            return None
        unit = holder.unit
        shape, at = unit.abbreviation(offset - unit.offset)
        return None if shape is None else Origin(unit, unit.attributes(shape, at)[0])


def _by_start(pieces: Iterable[_Piece]) -> tuple[list[int], list[_Piece]]:
    ordered = sorted(pieces)
    return [low for low, _, _ in ordered], ordered


def _address_ranges(section: memoryview) -> list[_Piece]:
    """Decode ``.debug_aranges`` (6.1.2) as far as it makes sense."""
    found: list[_Piece] = []
    at = 0
    while at + 12 <= len(section):
        (length,) = struct.unpack_from("<I", section, at)
        end = at + 4 + length
        version, offset, address_size, selector_size = struct.unpack_from("<HIBB", section, at + 4)
        if length == 0xFFFF_FFFF or end > len(section) or version != 2:
            break  # 64-bit tables are not written by gcc or clang for files under 4 GiB
        if address_size == 8 and not selector_size:
            first = at + 16  # the header, padded to twice the size of an address
            rows = section[first:end]
            for low, size in struct.iter_unpack("<QQ", rows[: len(rows) // 16 * 16]):
                if low and size:
                    found.append((low, low + size, offset))
        at = end
    return found
