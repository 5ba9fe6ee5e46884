"""One DWARF unit: its entries, read when wanted and stepped over when not.

Bytes of a unit in; attribute values, pieces of code, strings and references out. Conventions:
``dwarf_data``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgoleak.symbols.dwarf.data import (
    AT,
    FIXED_SIZES,
    FORM,
    Abbreviation,
    DamagedDwarf,
    Sections,
    sleb,
    uleb,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Unit"]

_MAX_RANGES: Final = 1 << 14
"""Pieces of code of one function."""
_MAX_UNIT_RANGES: Final = 1 << 20
"""Pieces of code of all functions of a unit."""


_RANGE_KINDS: Final = {1: "x", 2: "xx-", 3: "xun", 4: "uub", 5: "a", 6: "aa-", 7: "aun"}
"""DW_RLE (7.25): x index of an address, a address, u number; b both from the base, n a length."""


def _forms(*names: str) -> frozenset[int]:
    return frozenset(FORM["DW_FORM_" + name] for name in names)


_INDIRECT: Final = FORM["DW_FORM_indirect"]
_LEB: Final = _forms("udata", "sdata", "ref_udata", "strx", "addrx", "loclistx", "rnglistx")
_OFFSETS: Final = _forms("strp", "line_strp", "sec_offset", "ref_addr", "strp_sup") | _forms(
    "GNU_ref_alt", "GNU_strp_alt"
)
_BLOCKS: Final = {
    FORM["DW_FORM_block1"]: 1,
    FORM["DW_FORM_block2"]: 2,
    FORM["DW_FORM_block4"]: 4,
    FORM["DW_FORM_block"]: 0,
    FORM["DW_FORM_exprloc"]: 0,
}
_STRX: Final = _forms("strx", "strx1", "strx2", "strx3", "strx4")
_ADDRESSES: Final = _forms("addr", "addrx", "addrx1", "addrx2", "addrx3", "addrx4")
_LOCAL_REFS: Final = _forms("ref1", "ref2", "ref4", "ref8", "ref_udata")


@dataclass(slots=True)
class Unit:
    """A compilation unit; offsets inside ``data`` are those that DW_FORM_ref4 uses.

    Attributes:
        offset: of the header in ``.debug_info``.
        data: the unit's bytes, header included.
        root: where the first entry is.
        base: DW_AT_low_pc of the root, what range lists count from.
    """

    sections: Sections
    offset: int
    data: bytes
    version: int
    root: int
    offset_size: int
    address_size: int
    abbreviations: Mapping[int, Abbreviation]
    base: int = 0
    str_offsets: int = 0
    addr_base: int = 0
    ranges_base: int = 0
    lists: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    listed: int = 0

    def abbreviation(self, at: int) -> tuple[Abbreviation | None, int]:
        """Return the shape of the entry at ``at`` (None: end of siblings) and where it goes on."""
        code, at = uleb(self.data, at)
        if not code:
            return None, at
        try:
            return self.abbreviations[code], at
        except KeyError:
            raise DamagedDwarf from None

    def attributes(self, shape: Abbreviation, at: int) -> tuple[dict[int, tuple[int, int]], int]:
        """Decode an entry: name to (form, value), and the place after it.

        Values are numbers as they stand: an offset, an index, an address; for a string in place and
        for blocks where it starts.
        """
        found: dict[int, tuple[int, int]] = {}
        for name, form, implicit in shape.attributes:
            if form == _INDIRECT:
                form, at = uleb(self.data, at)  # noqa: PLW2901 (7.5.3: the form is in the data)
            value, at = self._value(form, at, implicit)
            found[name] = (form, value)
        return found, at

    def skip(self, shape: Abbreviation, at: int) -> int:
        """Return the place after an entry's attributes."""
        if shape.fixed_size is not None:
            return at + shape.fixed_size
        data = self.data
        for _, form, _ in shape.attributes:
            size = FIXED_SIZES.get(form)
            if size is not None:
                at += size
            elif form in _LEB:
                while data[at] & 0x80:
                    at += 1
                at += 1
            else:
                _, at = self._value(form, at, 0)
        return at

    def skip_tree(self, shape: Abbreviation, at: int) -> int:
        """Return the place after an entry and all its children; ``at`` is at its attributes."""
        depth = 0
        while True:
            sibling = self._sibling(shape, at) if shape.has_sibling else 0
            if sibling > at:
                at = sibling
            else:
                at = self.skip(shape, at)
                depth += shape.has_children
            while depth:
                next_shape, at = self.abbreviation(at)
                if next_shape is not None:
                    shape = next_shape
                    break
                depth -= 1
            if not depth:
                return at

    def ranges(self, attributes: Mapping[int, tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        """Return the pieces of code of an entry (2.17) as (low, high)."""
        if (listed := attributes.get(AT["DW_AT_ranges"])) is not None:
            return self._range_list(*listed)
        low_form, low = attributes.get(AT["DW_AT_low_pc"], (0, 0))
        high_form, high = attributes.get(AT["DW_AT_high_pc"], (0, 0))
        if not low_form or not high_form:
            return ()
        low = self.address(low_form, low)
        high = self.address(high_form, high) if high_form in _ADDRESSES else low + high
        return ((low, high),) if 0 < low < high else ()

    def address(self, form: int, value: int) -> int:
        """Return an address, by way of ``.debug_addr`` for the indexed forms."""
        if form == FORM["DW_FORM_addr"]:
            return value
        at = self.addr_base + value * self.address_size
        return self.sections.word("addr", at, self.address_size)

    def string(self, form: int, value: int) -> str:
        """Return a string attribute; empty for forms that lead into another file."""
        if form == FORM["DW_FORM_string"]:
            end = self.data.find(b"\0", value)
            return self.data[value:end].decode("utf-8", "replace")
        if form == FORM["DW_FORM_strp"]:
            return self.sections.string("str", value)
        if form == FORM["DW_FORM_line_strp"]:
            return self.sections.string("line_str", value)
        if form in _STRX:
            at = self.str_offsets + value * self.offset_size
            return self.sections.string(
                "str", self.sections.word("str_offsets", at, self.offset_size)
            )
        return ""

    def reference(self, form: int, value: int) -> int | None:
        """Return the offset in ``.debug_info`` that a reference means, or None: another file."""
        if form in _LOCAL_REFS:
            return self.offset + value
        return value if form == FORM["DW_FORM_ref_addr"] else None

    def _sibling(self, shape: Abbreviation, at: int) -> int:
        """Return DW_AT_sibling of an entry that has it."""
        attributes, _ = self.attributes(shape, at)
        form, value = attributes[AT["DW_AT_sibling"]]
        return value if form in _LOCAL_REFS else 0

    def _value(self, form: int, at: int, implicit: int) -> tuple[int, int]:
        """Decode one attribute (7.5.6)."""
        data = self.data
        if (size := FIXED_SIZES.get(form)) is not None:
            if size:
                return int.from_bytes(data[at : at + size], "little"), at + size
            return (1 if form == FORM["DW_FORM_flag_present"] else implicit), at
        if form in _LEB:
            return sleb(data, at) if form == FORM["DW_FORM_sdata"] else uleb(data, at)
        if form in _OFFSETS:
            size = self.offset_size
            if form == FORM["DW_FORM_ref_addr"] and self.version < 3:
                size = self.address_size
            return int.from_bytes(data[at : at + size], "little"), at + size
        return self._sized_value(form, at)

    def _sized_value(self, form: int, at: int) -> tuple[int, int]:
        """Return where a string or block starts, and the place after it."""
        if form == FORM["DW_FORM_string"]:
            end = self.data.find(b"\0", at)
            if end < 0:
                raise DamagedDwarf
            return at, end + 1
        count = _BLOCKS.get(form)
        if count is None:
            raise DamagedDwarf
        if not count:
            length, start = uleb(self.data, at)
            return start, start + length
        start = at + count
        return start, start + int.from_bytes(self.data[at:start], "little")

    def _range_list(self, form: int, value: int) -> tuple[tuple[int, int], ...]:
        if value not in self.lists:
            at = value
            if form == FORM["DW_FORM_rnglistx"]:
                entry = self.ranges_base + value * self.offset_size
                at = self.ranges_base
                at += self.sections.word("rnglists", entry, self.offset_size)
            pieces = self._ranges_4(at) if self.version < 5 else self._ranges_5(at)
            self.lists[value] = pieces
            self.listed += len(pieces)
            if self.listed > _MAX_UNIT_RANGES:
                raise DamagedDwarf
        return self.lists[value]

    def _ranges_4(self, at: int) -> tuple[tuple[int, int], ...]:
        """Decode ``.debug_ranges`` (DWARF 4, 2.17.3): pairs from a base; all ones set the base."""
        base, found = self.base, []
        raw = self.sections["ranges"][at : at + 16 * _MAX_RANGES]
        for low, high in struct.iter_unpack("<QQ", raw[: len(raw) // 16 * 16]):
            if low == 0xFFFF_FFFF_FFFF_FFFF:
                base = high
            elif not low and not high:
                break
            elif base + low < base + high:
                found.append((base + low, base + high))
        return tuple(found)

    def _ranges_5(self, at: int) -> tuple[tuple[int, int], ...]:
        """Decode ``.debug_rnglists`` (2.17.3): a kind byte and its one or two values."""
        data = bytes(self.sections["rnglists"][at : at + 16 * _MAX_RANGES])
        base, found, at = self.base, [], 0

        def take(kind: str, at: int) -> tuple[int, int]:
            if kind == "u":
                return uleb(data, at)
            if kind == "x":
                index, at = uleb(data, at)
                return self.address(FORM["DW_FORM_addrx"], index), at
            return int.from_bytes(data[at : at + 8], "little"), at + 8

        while at < len(data) and data[at]:
            kinds = _RANGE_KINDS.get(data[at])
            if kinds is None:
                raise DamagedDwarf
            first, at = take(kinds[0], at + 1)
            if len(kinds) == 1:
                base = first
                continue
            second, at = take(kinds[1], at)
            low = first + (base if kinds[2] == "b" else 0)
            high = second + (base if kinds[2] == "b" else low if kinds[2] == "n" else 0)
            if low < high:
                found.append((low, high))
        return tuple(found)
