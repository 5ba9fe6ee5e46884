"""One ELF file: what is mapped where, its sections, symbols and relocations.

A path or bytes in, values out. Every address here is the file's own virtual address; the load
bias of a process is the caller's business. ELF64 little endian only: x86-64 and aarch64 are what
cgoleak measures, other machines are opened so that they can be named in a refusal.

Segments rule. Section headers are a comfort that a stripped file lacks and a broken file lies
about, so that a file whose section headers make no sense is read without them. The structures are
pyelftools' (``headers``); hot tables are decoded in bulk in ``symbol_table`` and ``dynamic``, since
an object per row costs 45 µs.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elftools.elf.enums import ENUM_E_MACHINE, ENUM_E_TYPE

from cgoleak.errors import SymbolError
from cgoleak.symbols.elf.compressed import MAX_SECTION_BYTES, inflate
from cgoleak.symbols.elf.dynamic import DynamicTable, Relocation
from cgoleak.symbols.elf.frame_header import eh_frame_pointer
from cgoleak.symbols.elf.headers import FileHeader, Section, Segment, read_sections, read_segments
from cgoleak.symbols.elf.notes import gnu_build_id
from cgoleak.symbols.elf.symbol_table import FunctionSymbol, SymbolTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "EM_AARCH64",
    "EM_X86_64",
    "FunctionSymbol",
    "ObjectFile",
    "Relocation",
    "Section",
    "Segment",
]

EM_X86_64: Final[int] = ENUM_E_MACHINE["EM_X86_64"]
EM_AARCH64: Final[int] = ENUM_E_MACHINE["EM_AARCH64"]
_ARCH: Final[Mapping[int, str]] = {EM_X86_64: "x86_64", EM_AARCH64: "aarch64"}

_ET_EXEC: Final[int] = ENUM_E_TYPE["ET_EXEC"]
_ET_DYN: Final[int] = ENUM_E_TYPE["ET_DYN"]
_SHF_COMPRESSED: Final = 0x800
_DF_1_PIE: Final = 0x0800_0000

_CACHED_FILES: Final = 64


class ObjectFile:
    """An ELF file, opened once and kept; everything beyond the headers is read when asked for.

    Attributes:
        name: path it was opened from, or what the caller called the bytes.
        type: ``e_type``: 2 executable at fixed addresses, 3 shared object or PIE.
        machine: ``e_machine``, see ``arch``.
        entry: address of the first instruction.
        segments: all program headers, in the file's order.
        sections: by name; the first of a name wins. Empty if the headers are stripped or broken.
    """

    def __init__(self, data: bytes | mmap.mmap, name: str = "<bytes>") -> None:
        """Read the headers.

        Raises:
            SymbolError: not ELF, not 64-bit little endian, or headers that cannot be read.
        """
        self.name = name
        self._data = data
        self._view = memoryview(data)
        header = FileHeader.of(self._view, name)
        self.type = header.type
        self.machine = header.machine
        self.entry = header.entry
        self.segments = read_segments(self._view, header)
        if not self.segments and not header.section_offset:
            raise SymbolError(
                f"cannot read {name}: it has neither segments nor sections",
                cause="the ELF header is damaged, or the file was cut short",
                fix="give the file that was linked",
            )
        self.sections: Mapping[str, Section] = read_sections(self._view, header)
        self._loads = tuple(s for s in self.segments if s.type == "PT_LOAD" and s.filesz)

    @classmethod
    def open(cls, path: str | Path) -> ObjectFile:
        """Map a file, or return the one that is mapped already.

        The same device, inode, size and time of change mean the same content, whatever the path
        (``/proc/PID/root/…``, ``/proc/PID/exe``, bind mounts).

        Raises:
            SymbolError: the file cannot be opened, or is not an ELF file that can be read.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                stat = path.stat()
                key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if (known := _opened.get(key)) is not None:
                    _opened.move_to_end(key)
                    return known
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as exc:  # ValueError: an empty file cannot be mapped
            raise SymbolError(
                f"cannot open {path}",
                cause=str(exc),
                fix="check that the file is there and that this user may read it",
            ) from exc
        opened = _opened[key] = cls(data, str(path))
        if len(_opened) > _CACHED_FILES:
            _opened.popitem(last=False)
        return opened

    @property
    def arch(self) -> str:
        """``x86_64``, ``aarch64``, or ``machine-N``."""
        return _ARCH.get(self.machine, f"machine-{self.machine}")

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return len(self._view)

    @cached_property
    def build_id(self) -> str:
        """The GNU build id in lower-case hex, or the empty string."""
        section = self.section_data(".note.gnu.build-id")
        if section and (found := gnu_build_id(bytes(section))):
            return found
        for segment in self.segments:
            if segment.type == "PT_NOTE":
                note = bytes(self.at_offset(segment.offset, min(segment.filesz, 1 << 16)))
                if found := gnu_build_id(note):
                    return found
        return ""

    @cached_property
    def interpreter(self) -> str | None:
        """Path of the dynamic loader (PT_INTERP), or None: static, or a plain library."""
        for segment in self.segments:
            if segment.type == "PT_INTERP":
                raw = bytes(self.at_offset(segment.offset, min(segment.filesz, 4096)))
                return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
        return None

    @property
    def has_interpreter(self) -> bool:
        """True if the kernel starts this file through a dynamic loader."""
        return self.interpreter is not None

    @property
    def is_static_program(self) -> bool:
        """True for a program (not a library) that needs no loader: its libraries are in it."""
        return not self.has_interpreter and (self.type == _ET_EXEC or self.is_pie)

    @property
    def is_pie(self) -> bool:
        """True for a program (not a library) that may be loaded anywhere.

        ``libc.so.6`` has PT_INTERP too: it can be run; its DT_SONAME tells that it is a library.
        """
        if self.type != _ET_DYN:
            return False
        if self.dynamic.flags_1 & _DF_1_PIE:
            return True
        return self.has_interpreter and self.dynamic.soname is None

    @property
    def is_stripped(self) -> bool:
        """True if there is no ``.symtab``."""
        return not self.section_data(".symtab")

    def at_offset(self, offset: int, size: int) -> memoryview:
        """Return up to ``size`` bytes of the file at ``offset``; empty past its end."""
        if offset < 0 or size <= 0:
            return self._view[:0]
        return self._view[offset : offset + size]

    def view(self, vaddr: int, size: int) -> memoryview:
        """Return up to ``size`` bytes at an address; less at the end of what is in the file."""
        for segment in self._loads:
            inside = vaddr - segment.vaddr
            if 0 <= inside < segment.filesz:
                return self.at_offset(segment.offset + inside, min(size, segment.filesz - inside))
        return self._view[:0]

    def read(self, vaddr: int, size: int) -> bytes | None:
        """Return exactly ``size`` bytes at an address, or None (``.bss`` is not in the file)."""
        found = self.view(vaddr, size)
        return bytes(found) if len(found) == size else None

    def section_data(self, name: str) -> memoryview | None:
        """Return the content of a section, decompressed, or None if it is not in this file.

        None also stands for content that cannot be used: past the end of the file, a compression
        that Python lacks, or more than ``MAX_SECTION_BYTES`` when decompressed.
        """
        section = self.sections.get(name)
        if section is None or section.type == "SHT_NOBITS" or not section.size:
            return None
        raw = self.at_offset(section.offset, section.size)
        if len(raw) != section.size:
            return None
        if section.flags & _SHF_COMPRESSED:
            return self._inflated(name, raw)
        return raw

    @cached_property
    def dynamic(self) -> DynamicTable:
        """What PT_DYNAMIC says; empty for a static file."""
        for segment in self.segments:
            if segment.type == "PT_DYNAMIC":
                raw = self.at_offset(segment.offset, min(segment.filesz, 1 << 20))
                return DynamicTable(raw, self.view)
        return DynamicTable(b"", self.view)

    @property
    def needed(self) -> tuple[str, ...]:
        """Libraries asked for (DT_NEEDED), in order."""
        return self.dynamic.needed

    @property
    def soname(self) -> str | None:
        """DT_SONAME, or None."""
        return self.dynamic.soname

    def relocations(self) -> Iterator[Relocation]:
        """Yield what the loader will patch: DT_RELA, then DT_JMPREL; section headers not needed."""
        return self.dynamic.relocations()

    @cached_property
    def symbols(self) -> SymbolTable:
        """``.symtab``, else ``.dynsym``, else the symbols that PT_DYNAMIC points at."""
        for name, names in ((".symtab", ".strtab"), (".dynsym", ".dynstr")):
            entries = self.section_data(name)
            strings = self.section_data(names)
            if entries and strings:
                return SymbolTable(entries, bytes(strings))
        return self.dynamic.symbols

    def function_at(self, vaddr: int) -> FunctionSymbol | None:
        """Return the function whose code holds ``vaddr``."""
        return self.symbols.function_at(vaddr)

    def symbol(self, name: str) -> tuple[int, int] | None:
        """Return value and size of a symbol; an STT_TLS value is an offset in PT_TLS."""
        return self.symbols.find(name)

    @property
    def eh_frame_hdr(self) -> tuple[int, int] | None:
        """Address and size of ``.eh_frame_hdr`` (PT_GNU_EH_FRAME)."""
        for segment in self.segments:
            if segment.type == "PT_GNU_EH_FRAME":
                return segment.vaddr, segment.memsz
        return None

    @cached_property
    def eh_frame(self) -> tuple[int, int] | None:
        """Address and size of ``.eh_frame``.

        Without section headers: from where ``.eh_frame_hdr`` points to the end of that segment's
        file content; the records themselves end with a zero length.
        """
        section = self.sections.get(".eh_frame")
        if section is not None and section.vaddr and section.size:
            return section.vaddr, section.size
        if self.eh_frame_hdr is None:
            return None
        start = eh_frame_pointer(self.view(self.eh_frame_hdr[0], 64), self.eh_frame_hdr[0])
        if start is None or not (rest := len(self.view(start, self.size))):
            return None
        return start, rest

    def _inflated(self, name: str, raw: memoryview) -> memoryview | None:
        """Decompress once; DWARF sections are asked for again and again."""
        if name not in self._inflated_sections:
            self._inflated_sections[name] = inflate(raw, limit=MAX_SECTION_BYTES)
        content = self._inflated_sections[name]
        return None if content is None else memoryview(content)

    @cached_property
    def _inflated_sections(self) -> dict[str, bytes | None]:
        return {}


_opened: OrderedDict[tuple[int, int, int, int], ObjectFile] = OrderedDict()
"""Files that are mapped, least recently used first."""
