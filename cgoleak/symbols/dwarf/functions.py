"""The functions of one DWARF unit, and what was inlined into them.

A decoded unit in, frames of an address out. gcc moves cold parts of a function away (``.cold``) and
splits others (``.part.0``): the entry then has several pieces, or an origin that has the name.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from elftools.dwarf.enums import ENUM_DW_TAG

from cgoleak.symbols.dwarf.data import AT, DAMAGE, DamagedDwarf
from cgoleak.symbols.dwarf.line_program import LineTable, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cgoleak.symbols.dwarf.data import Abbreviation
    from cgoleak.symbols.dwarf.unit import Unit

__all__ = ["DebugFrame", "FunctionsOfUnit", "Origin"]

_TAG: Final[Mapping[str, int]] = ENUM_DW_TAG
_SUBPROGRAM: Final = _TAG["DW_TAG_subprogram"]
_INLINED: Final = _TAG["DW_TAG_inlined_subroutine"]
_SCOPES: Final = frozenset((_TAG["DW_TAG_namespace"], _TAG["DW_TAG_module"]))
_LINKAGE_NAMES: Final = (AT["DW_AT_linkage_name"], AT["DW_AT_MIPS_linkage_name"])
_NAME: Final = AT["DW_AT_name"]
_ORIGINS: Final = (AT["DW_AT_abstract_origin"], AT["DW_AT_specification"])
_CPP: Final = frozenset({0x04, 0x19, 0x1A, 0x21, 0x2A, 0x2B, 0x3A})
"""DW_LANG_C_plus_plus (7.12), and _03, _11, _14, _17, _20, _23."""
_MAX_ORIGINS: Final = 8
_MAX_OVERLAP: Final = 16
_MAX_ENTRIES: Final = 1 << 20
"""Entries that are looked at in one unit."""

_Attributes = dict[int, tuple[int, int]]
"""Name to (form, value)."""


class DebugFrame(NamedTuple):
    """A C or C++ function at an address; the name as the linker knows it if that is recorded."""

    function: str | None
    file: str | None
    line: int | None
    inlined: bool
    is_cpp: bool


class Origin(NamedTuple):
    """An entry that another one refers to, and the unit that it is in."""

    unit: Unit
    attributes: _Attributes


class _Inlined(NamedTuple):
    """A call merged into its caller; entries nearer the leaf are ``depth`` levels further in."""

    depth: int
    ranges: tuple[tuple[int, int], ...]
    attributes: _Attributes


class FunctionsOfUnit:
    """A unit's functions by address; each is read to its leaves when first asked for."""

    def __init__(self, unit: Unit, follow: Callable[[int], Origin | None]) -> None:
        """Decode the root entry; ``follow`` finds an entry by its offset in ``.debug_info``."""
        self.unit = unit
        self._follow = follow
        shape, at = unit.abbreviation(unit.root)
        if shape is None:
            raise DamagedDwarf
        self._has_children = shape.has_children
        self._root, self._children = unit.attributes(shape, at)
        unit.str_offsets = self._number("DW_AT_str_offsets_base")
        unit.addr_base = self._number("DW_AT_addr_base")
        unit.ranges_base = self._number("DW_AT_rnglists_base")
        form, low = self._root.get(AT["DW_AT_low_pc"], (0, 0))
        unit.base = unit.address(form, low) if form else 0
        self.language = self._number("DW_AT_language")
        self._inlined: dict[int, list[_Inlined]] = {}

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return the unit's pieces of code as (low, high)."""
        return self.unit.ranges(self._root)

    def frames(self, vaddr: int) -> tuple[DebugFrame, ...]:
        """Return the frames at an address, innermost first; empty if the unit does not know it."""
        file, line = self._lines.at(vaddr) if self._lines else (None, None)
        entry = self._entry_at(vaddr)
        if entry is None and file is None:
            return ()
        is_cpp = self.language in _CPP
        frames: list[DebugFrame] = []
        for call in self._calls_at(entry, vaddr):
            name = self._name(call.attributes)
            frames.append(DebugFrame(name, file, line, inlined=True, is_cpp=is_cpp))
            _, number = call.attributes.get(AT["DW_AT_call_file"], (0, -1))
            _, called = call.attributes.get(AT["DW_AT_call_line"], (0, 0))
            file, line = self._lines.file(number) if self._lines else None, called or None
        name = None if entry is None else self._name(self._attributes(entry))
        frames.append(DebugFrame(name, file, line, inlined=False, is_cpp=is_cpp))
        return tuple(frames)

    def _entry_at(self, vaddr: int) -> int | None:
        """Return where the function that holds an address is described."""
        starts, pieces = self._functions
        last = bisect_right(starts, vaddr) - 1
        for low, high, at in pieces[max(0, last - _MAX_OVERLAP) : last + 1][::-1]:
            if low <= vaddr < high:
                return at
        return None

    @cached_property
    def _functions(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Pieces of code by address: (low, high, place of the entry)."""
        unit = self.unit
        pieces: list[tuple[int, int, int]] = []
        at, depth = self._children, int(self._has_children)
        for _ in range(_MAX_ENTRIES):
            if not depth or at >= len(unit.data):
                break
            entry = at
            shape, at = unit.abbreviation(at)
            if shape is None:
                depth -= 1
            elif shape.tag in _SCOPES:
                at = unit.skip(shape, at)
                depth += shape.has_children
            else:
                if shape.tag == _SUBPROGRAM:
                    attributes, _ = unit.attributes(shape, at)
                    pieces += [(low, high, entry) for low, high in unit.ranges(attributes)]
                at = unit.skip_tree(shape, at)
        pieces.sort()
        return [low for low, _, _ in pieces], pieces

    def _calls_at(self, entry: int | None, vaddr: int) -> list[_Inlined]:
        """Return the inlined calls that hold an address, innermost first."""
        if entry is None:
            return []
        if entry not in self._inlined:
            self._inlined[entry] = list(self._inlined_in(entry))
        found = [
            call
            for call in self._inlined[entry]
            if any(low <= vaddr < high for low, high in call.ranges)
        ]
        return sorted(found, key=lambda call: -call.depth)

    def _inlined_in(self, entry: int) -> Iterator[_Inlined]:
        """Read a function to its leaves; nested functions have pieces of their own."""
        unit = self.unit
        shape, at = self._shape(entry)
        at = unit.skip(shape, at)
        depth = int(shape.has_children)
        for _ in range(_MAX_ENTRIES):
            if not depth:
                return
            inner, at = unit.abbreviation(at)
            if inner is None:
                depth -= 1
                continue
            if inner.tag == _SUBPROGRAM:
                at = unit.skip_tree(inner, at)
                continue
            if inner.tag == _INLINED:
                attributes, at = unit.attributes(inner, at)
                yield _Inlined(depth, unit.ranges(attributes), attributes)
            else:
                at = unit.skip(inner, at)
            depth += inner.has_children

    def _name(self, attributes: _Attributes) -> str | None:
        """Return the linker's name if there is one, else the plain one, by way of the origins."""
        unit, plain = self.unit, None
        for _ in range(_MAX_ORIGINS):
            for key in _LINKAGE_NAMES:
                if key in attributes and (name := unit.string(*attributes[key])):
                    return name
            if plain is None and _NAME in attributes:
                plain = unit.string(*attributes[_NAME]) or None
            reference = next((attributes[key] for key in _ORIGINS if key in attributes), None)
            offset = None if reference is None else unit.reference(*reference)
            origin = None if offset is None else self._follow(offset)
            if origin is None:
                break
            unit, attributes = origin
        return plain

    @cached_property
    def _lines(self) -> LineTable | None:
        """The unit's line table, or None if it has none that can be read."""
        if AT["DW_AT_stmt_list"] not in self._root:
            return None
        directory = self.unit.string(*self._root.get(AT["DW_AT_comp_dir"], (0, 0)))
        offset = self._number("DW_AT_stmt_list")
        try:
            return read_lines(self.unit.sections, offset, directory)
        except DAMAGE:
            return None

    def _shape(self, entry: int) -> tuple[Abbreviation, int]:
        shape, at = self.unit.abbreviation(entry)
        if shape is None:
            raise DamagedDwarf
        return shape, at

    def _attributes(self, entry: int) -> _Attributes:
        return self.unit.attributes(*self._shape(entry))[0]

    def _number(self, name: str) -> int:
        return self._root.get(AT[name], (0, 0))[1]
