"""All that is known of one file's code: Go's table, symbols, debug information.

A file's address in, frames out, innermost first. What the file lacks is looked for beside it
(``debugfile``), but not before an address in C code asks for it.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Frame
from cgoleak.symbols.demangle import demangle
from cgoleak.symbols.dwarf.source_lines import DebugInfo
from cgoleak.symbols.elf.debugfile import find_debug_file, packed_symbols
from cgoleak.symbols.go.pclntab import GoTable
from cgoleak.symbols.language import language_of_c, language_of_go

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgoleak.symbols.dwarf.source_lines import DebugFrame
    from cgoleak.symbols.elf.object_file import FunctionSymbol, ObjectFile
    from cgoleak.symbols.elf.symbol_table import SymbolTable
    from cgoleak.symbols.go.pclntab import GoFrame

__all__ = ["ModuleSymbols"]

_CLONE: Final = re.compile(
    r"(?:\.(?:part|cold|constprop|isra|lto_priv|localalias|llvm)(?:\.\d+)?)+$"
)
"""What gcc and clang add to the name of a piece or copy of a function."""


class ModuleSymbols:
    """The names of one file, shared by all addresses in it."""

    def __init__(self, obj: ObjectFile, path: str, root: Path) -> None:
        """Take the file, its path in the process, and what the process sees as ``/``."""
        self._obj = obj
        self._path = path
        self._root = root
        self._name = path.rpartition("/")[2]

    @property
    def has_symbols(self) -> bool:
        """True if there is a full symbol table, here or in a debug file."""
        return not self._obj.is_stripped or (
            self._debug_file is not None and not self._debug_file.is_stripped
        )

    def frames(self, vaddr: int) -> tuple[Frame, ...]:
        """Return the frames at an address of the file; empty if it has no name for it."""
        if self._go is not None:
            start, end = self._go.text_range()
            if start <= vaddr < end:
                found = self._go.lookup(vaddr)
                if not _is_c(found):
                    return tuple(self._go_frame(frame) for frame in found if frame.function)
                return self._c_frames(vaddr) or (self._frame(found[-1].function),)
        return self._c_frames(vaddr)

    def _go_frame(self, frame: GoFrame) -> Frame:
        return Frame(
            lang=language_of_go(frame.function),
            function=frame.function,
            file=frame.file,
            line=frame.line,
            module=self._name,
            inlined=frame.inlined,
        )

    def _c_frames(self, vaddr: int) -> tuple[Frame, ...]:
        symbol = self._symbol_at(vaddr)
        linked = None if symbol is None else _CLONE.sub("", symbol.name)
        debug = self._debug_info.frames(vaddr)
        if not debug:
            return () if linked is None else (self._frame(linked),)
        frames = []
        for frame in debug:
            name = frame.function
            if not frame.inlined and _is_better(linked, name):
                name = linked
            if name is not None:
                frames.append(self._frame(name, frame))
        return tuple(frames)

    def _frame(self, name: str, debug: DebugFrame | None = None) -> Frame:
        """Make a frame of a linker's name and what the debug information says."""
        file = None if debug is None else debug.file
        is_cpp = debug is not None and debug.is_cpp
        return Frame(
            lang=language_of_c(name, file, is_cpp=is_cpp, is_export=name in self._exports),
            function=demangle(name),
            file=file,
            line=None if debug is None else debug.line,
            module=self._name,
            inlined=debug is not None and debug.inlined,
        )

    def _symbol_at(self, vaddr: int) -> FunctionSymbol | None:
        for table in self._tables:
            if (found := table.function_at(vaddr)) is not None:
                return found
        return None

    @cached_property
    def _go(self) -> GoTable | None:
        return GoTable.from_object(self._obj)

    @cached_property
    def _exports(self) -> frozenset[str]:
        """Names of the C functions that ``//export`` made."""
        return frozenset() if self._go is None else self._go.exported_to_c()

    @cached_property
    def _tables(self) -> tuple[SymbolTable, ...]:
        """Symbol tables, the fullest first."""
        return tuple(table for table in self._all_tables() if table)

    def _all_tables(self) -> Iterator[SymbolTable]:
        if self._obj.is_stripped:
            if self._debug_file is not None:
                yield self._debug_file.symbols
            packed = packed_symbols(self._obj)
            if packed is not None:
                yield packed.symbols
        yield self._obj.symbols

    @cached_property
    def _debug_file(self) -> ObjectFile | None:
        return find_debug_file(self._obj, self._path, self._root)

    @cached_property
    def _debug_info(self) -> DebugInfo:
        """The debug information of the file, else of its debug file (which may be empty)."""
        own = DebugInfo(self._obj)
        if own or self._debug_file is None:
            return own
        return DebugInfo(self._debug_file)


def _is_c(frames: tuple[GoFrame, ...]) -> bool:
    """Tell whether Go's linker took in a C object (``runtime/cgo``, ``-linkmode=internal``).

    Its table then names the C functions as well, without package and file.
    """
    return bool(frames) and frames[-1].file is None and frames[-1].function.isidentifier()


def _is_better(linked: str | None, recorded: str | None) -> bool:
    """Tell whether the symbol's name says more: there is no other, or it alone is mangled.

    gcc records no linkage name for C++ functions with local types in their name.
    """
    if linked is None:
        return False
    return recorded is None or (linked.startswith("_Z") and not recorded.startswith("_Z"))
