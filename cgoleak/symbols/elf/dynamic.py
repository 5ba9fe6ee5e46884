"""What the dynamic loader is told: PT_DYNAMIC, its relocations and its symbols.

Works with section headers stripped: every table is found by its DT_ tag (gABI chapter 5). Addresses
in the tags are the file's own.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from elftools.elf.enums import ENUM_D_TAG_COMMON, ENUM_RELOC_TYPE_AARCH64, ENUM_RELOC_TYPE_x64

from cgoleak.symbols.elf.symbol_table import SYMBOL_BYTES, SymbolTable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

__all__ = ["DynamicTable", "Relocation"]

_DT: Final[Mapping[str, int]] = ENUM_D_TAG_COMMON
_RELATIVE: Final = (
    ENUM_RELOC_TYPE_x64["R_X86_64_RELATIVE"],
    ENUM_RELOC_TYPE_AARCH64["R_AARCH64_RELATIVE"],
)
"""8 on x86-64; 1027 on aarch64, a number that x86-64 does not use."""

_TAG: Final = struct.Struct("<QQ")
_RELA: Final = struct.Struct("<QQq")  # r_offset, r_info (symbol << 32 | type), r_addend
_MAX_TABLE_BYTES: Final = 256 << 20
_MAX_STRINGS_BYTES: Final = 64 << 20


class Relocation(NamedTuple):
    """One patch: what the loader stores at ``offset_vaddr``; no name for relative ones."""

    offset_vaddr: int
    type: int
    symbol_name: str
    addend: int


class DynamicTable:
    """The tags of PT_DYNAMIC and the tables behind them; empty for a static file."""

    def __init__(self, raw: bytes | memoryview, view: Callable[[int, int], memoryview]) -> None:
        """Take the segment's bytes, and a way to see up to n bytes of the file at an address."""
        self._view = view
        self._all: list[tuple[int, int]] = []
        for tag, value in _TAG.iter_unpack(raw[: len(raw) // 16 * 16]):
            if tag == _DT["DT_NULL"]:
                break
            self._all.append((tag, value))
        self._first = dict(reversed(self._all))

    @property
    def flags_1(self) -> int:
        """DT_FLAGS_1, or 0."""
        return self._first.get(_DT["DT_FLAGS_1"], 0)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Names of the libraries asked for, in order."""
        return tuple(self._string(value) for tag, value in self._all if tag == _DT["DT_NEEDED"])

    @property
    def soname(self) -> str | None:
        """DT_SONAME, or None."""
        offset = self._first.get(_DT["DT_SONAME"])
        return None if offset is None else self._string(offset)

    @cached_property
    def symbols(self) -> SymbolTable:
        """The dynamic symbols, as many as the hash tables know of."""
        start = self._first.get(_DT["DT_SYMTAB"])
        if start is None:
            return SymbolTable(b"", b"")
        count = self._symbol_count()
        return SymbolTable(self._view(start, count * SYMBOL_BYTES), self._strings)

    def relocations(self, wanted: Container[str] | None = None) -> Iterator[Relocation]:
        """Yield DT_RELA, then DT_JMPREL, or only the wanted symbols' ones; 10k take some 15 ms."""
        names: dict[int, str | None] = {0: "" if wanted is None else None}
        symbol_name = self._symbol_name
        for table in self._tables():
            for offset, info, addend in _RELA.iter_unpack(table):
                index = info >> 32
                if index not in names:
                    found = symbol_name(index)
                    names[index] = found if wanted is None or found in wanted else None
                if (name := names[index]) is not None:
                    yield Relocation(offset, info & 0xFFFF_FFFF, name, addend)

    @cached_property
    def relative(self) -> dict[int, int]:
        """Address to addend of the relative relocations: a PIE's pointers, less the bias."""
        return {
            offset: addend
            for table in self._tables()
            for offset, info, addend in _RELA.iter_unpack(table)
            if info in _RELATIVE
        }

    def _tables(self) -> Iterator[memoryview]:
        """Yield the bytes of the tables; DT_JMPREL may be a part of DT_RELA (older linkers)."""
        rela = self._first.get(_DT["DT_RELA"], 0)
        rela_size = min(self._first.get(_DT["DT_RELASZ"], 0), _MAX_TABLE_BYTES)
        jumps = self._first.get(_DT["DT_JMPREL"], 0)
        jumps_size = min(self._first.get(_DT["DT_PLTRELSZ"], 0), _MAX_TABLE_BYTES)
        yield self._rows(rela, rela_size)
        if not rela <= jumps < rela + rela_size:
            yield self._rows(jumps, jumps_size)

    def _rows(self, start: int, size: int) -> memoryview:
        found = self._view(start, size)
        return found[: len(found) // _RELA.size * _RELA.size]

    def _symbol_name(self, index: int) -> str:
        """Name a symbol by its place in DT_SYMTAB, whose length is not told anywhere."""
        start = self._first.get(_DT["DT_SYMTAB"])
        if start is None:
            return ""
        raw = self._view(start + index * SYMBOL_BYTES, 4)
        return self._string(int.from_bytes(raw, "little")) if len(raw) == 4 else ""

    @cached_property
    def _strings(self) -> bytes:
        start = self._first.get(_DT["DT_STRTAB"], 0)
        size = min(self._first.get(_DT["DT_STRSZ"], 0), _MAX_STRINGS_BYTES)
        return bytes(self._view(start, size))

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        return self._strings[offset:end].decode("utf-8", "replace") if end >= 0 else ""

    def _symbol_count(self) -> int:
        """Take the count from DT_HASH (nchain), else walk DT_GNU_HASH to its last chain's end."""
        if (start := self._first.get(_DT["DT_HASH"])) is not None:
            head = self._view(start, 8)
            return min(int.from_bytes(head[4:8], "little"), _MAX_TABLE_BYTES // SYMBOL_BYTES)
        if (start := self._first.get(_DT["DT_GNU_HASH"])) is None:
            return 0
        words = self._words(start, 4)
        if len(words) < 4:
            return 0
        buckets, first, bloom, _ = words
        table = start + 16 + 8 * bloom
        last = max(self._words(table, buckets), default=0)
        if last < first:
            return first
        chain = self._words(table + 4 * buckets + 4 * (last - first), _MAX_CHAIN)
        for i, word in enumerate(chain):
            if word & 1:  # the end of the chain
                return last + i + 1
        return 0

    def _words(self, start: int, count: int) -> list[int]:
        raw = self._view(start, min(4 * count, _MAX_TABLE_BYTES))
        return raw[: len(raw) // 4 * 4].cast("I").tolist()


_MAX_CHAIN: Final = 4096
"""Symbols that share a bucket; linkers aim at four."""
