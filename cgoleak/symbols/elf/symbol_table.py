"""A symbol table: functions by address, anything by name.

Entries are ``Elf64_Sym``, 24 bytes: name u32, info u8, other u8, section u16, value u64, size u64.
Decoded in bulk and late: 20k symbols take some 15 ms, names only when one is asked for.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SYMBOL_BYTES", "FunctionSymbol", "SymbolTable"]

SYMBOL_BYTES: Final = 24
_ENTRY: Final = struct.Struct("<IBBHQQ")
_STT_FUNC: Final = 2
_STT_FILE: Final = 4
_STT_GNU_IFUNC: Final = 10
_STT_NAMED: Final = frozenset({0, 1, 2, 6, 10})  # NOTYPE, OBJECT, FUNC, TLS, GNU_IFUNC
_SHN_UNDEF: Final = 0
_STB_LOCAL: Final = 0
_MAX_NAME_BYTES: Final = 1 << 20
_MAX_UNSIZED: Final = 4096
_MAX_NESTING: Final = 16
"""How many symbols that begin nearer are looked past for one that still holds the address."""


class FunctionSymbol(NamedTuple):
    """A function: mangled name, address, size in bytes (0 if the file does not say)."""

    name: str
    start: int
    size: int


class SymbolTable:
    """The symbols of one file that are defined in it."""

    def __init__(self, entries: bytes | memoryview, strings: bytes) -> None:
        self._entries = memoryview(entries)[: len(entries) // SYMBOL_BYTES * SYMBOL_BYTES]
        self._strings = strings

    def __bool__(self) -> bool:
        return len(self._entries) > SYMBOL_BYTES  # the first entry is always empty

    def function_at(self, vaddr: int) -> FunctionSymbol | None:
        """Return the function that holds an address.

        A symbol without a size (assembly) reaches to the next one, 4 KiB at most. Of several names
        of the same code the global one with the fewest leading underscores is taken: ``malloc``,
        not ``__libc_malloc``.
        """
        starts, functions = self._functions
        at = bisect_right(starts, vaddr) - 1
        if at < 0:
            return None
        for i in range(at, max(-1, at - _MAX_NESTING), -1):
            start, size, _, _ = functions[i]
            reach = size or (_MAX_UNSIZED if start == starts[at] else 0)
            if vaddr < start + reach:
                return self._best_name(start, size)
        return None

    def functions(self) -> Iterator[FunctionSymbol]:
        """Yield all functions in the order of their addresses, aliases too."""
        for start, size, name, _ in self._functions[1]:
            yield FunctionSymbol(self._name(name), start, size)

    def find(self, name: str) -> tuple[int, int] | None:
        """Return value and size of a symbol by its (mangled) name; global before local."""
        wanted = re.escape(name.encode("utf-8", "surrogateescape")) + rb"\0"
        # A name may be the tail of another one: linkers share the bytes.
        offsets = (match.start() for match in re.finditer(wanted, self._strings))
        found = [entry for offset in offsets for entry in self._by_name.get(offset, ())]
        if not found:
            return None
        value, size, _ = min(found, key=lambda entry: entry[2] == _STB_LOCAL)
        return value, size

    def functions_of(self, name: re.Pattern[str], file: re.Pattern[str]) -> set[int]:
        """Return where functions begin that are named so, or are local to such a source file.

        Local symbols stand behind that of their file (gABI, "Symbol Table", STT_FILE).
        """
        found: set[int] = set()
        inside = False
        for offset, info, _, section, value, _ in _ENTRY.iter_unpack(self._entries):
            if info & 15 == _STT_FILE:
                inside = file.fullmatch(self._name(offset)) is not None
            elif info & 15 == _STT_FUNC and section != _SHN_UNDEF and value:
                is_local = info >> 4 == _STB_LOCAL
                if (is_local and inside) or name.match(self._name(offset)):
                    found.add(value)
        return found

    @cached_property
    def _functions(self) -> tuple[list[int], list[tuple[int, int, int, int]]]:
        """Addresses, and beside them (address, size, name, binding); by address, smallest last."""
        functions = [
            (value, size, name, info >> 4)
            for name, info, _, section, value, size in _ENTRY.iter_unpack(self._entries)
            if info & 15 in (_STT_FUNC, _STT_GNU_IFUNC) and section != _SHN_UNDEF and value
        ]
        functions.sort()
        return [entry[0] for entry in functions], functions

    @cached_property
    def _by_name(self) -> dict[int, list[tuple[int, int, int]]]:
        """Offset of the name to (value, size, binding)."""
        found: dict[int, list[tuple[int, int, int]]] = {}
        for name, info, _, section, value, size in _ENTRY.iter_unpack(self._entries):
            if name and section != _SHN_UNDEF and info & 15 in _STT_NAMED:
                found.setdefault(name, []).append((value, size, info >> 4))
        return found

    def _best_name(self, start: int, size: int) -> FunctionSymbol:
        """Choose among the names of one piece of code."""
        starts, functions = self._functions
        at = bisect_right(starts, start) - 1
        names: list[tuple[bool, int, int, str]] = []
        while at >= 0 and starts[at] == start and len(names) < _MAX_NESTING:
            _, its_size, offset, binding = functions[at]
            if its_size == size:
                name = self._name(offset)
                underscores = len(name) - len(name.lstrip("_"))
                names.append((binding == _STB_LOCAL, underscores, len(name), name))
            at -= 1
        return FunctionSymbol(min(names)[3], start, size)

    def _name(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset, offset + _MAX_NAME_BYTES)
        raw = self._strings[offset:end] if end >= 0 else b""
        return raw.decode("utf-8", "replace").split("@", 1)[0]
