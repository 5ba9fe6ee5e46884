"""The three tables of headers in an ELF file, read with pyelftools' structures.

Bytes in, plain tuples out. A header that is cut short or points outside the file ends its table:
what came before it is still good.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final, NamedTuple

from elftools.common.exceptions import ELFParseError
from elftools.common.utils import struct_parse
from elftools.elf.structs import ELFStructs

from cgoleak.errors import SymbolError

__all__ = ["FileHeader", "Section", "Segment", "read_sections", "read_segments"]

_MAX_SECTIONS: Final = 4096
"""A linked file has some forty; each costs 10 µs, and e_shnum may lie."""
_MAX_SEGMENTS: Final = 64
_MAX_NAME_BYTES: Final = 256

_STRUCTS: Final = ELFStructs(little_endian=True, elfclass=64)
_STRUCTS.create_basic_structs()
_STRUCTS.create_advanced_structs()


class FileHeader(NamedTuple):
    """The fields of the ELF header that are used; offsets and sizes in bytes of the file."""

    type: int
    machine: int
    entry: int
    segment_offset: int
    segment_count: int
    segment_size: int
    section_offset: int
    section_count: int
    section_size: int
    names_index: int

    @classmethod
    def of(cls, view: memoryview, name: str) -> FileHeader:
        """Check the identification and read the rest.

        Raises:
            SymbolError: not an ELF file that cgoleak can read.
        """
        ident = bytes(view[:64])
        if ident[:4] != b"\x7fELF":
            raise SymbolError(
                f"cannot read {name}: not an ELF file",
                cause=f"it starts with {ident[:4].hex(' ') or 'nothing'}",
                fix="give a Linux executable or shared library",
            )
        if ident[4:6] != b"\x02\x01":
            raise SymbolError(
                f"cannot read {name}: not a 64-bit little-endian ELF file",
                cause="cgoleak measures x86-64 and aarch64",
                fix="use a 64-bit build of the target",
            )
        try:
            raw = struct_parse(_STRUCTS.Elf_Ehdr, BytesIO(ident), 0)
        except ELFParseError as exc:
            raise SymbolError(
                f"cannot read {name}: its ELF header is cut short",
                cause=str(exc),
                fix="give the whole file",
            ) from exc
        return cls(
            type=int.from_bytes(ident[16:18], "little"),
            machine=int.from_bytes(ident[18:20], "little"),
            entry=raw["e_entry"],
            segment_offset=raw["e_phoff"],
            segment_count=raw["e_phnum"],
            segment_size=raw["e_phentsize"],
            section_offset=raw["e_shoff"],
            section_count=raw["e_shnum"],
            section_size=raw["e_shentsize"],
            names_index=raw["e_shstrndx"],
        )


class Segment(NamedTuple):
    """A program header; ``flags`` are PF_X 1, PF_W 2, PF_R 4; sizes in bytes."""

    type: str | int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int
    align: int

    @property
    def is_executable(self) -> bool:
        """True if PF_X is set."""
        return bool(self.flags & 1)

    @property
    def is_writable(self) -> bool:
        """True if PF_W is set."""
        return bool(self.flags & 2)


class Section(NamedTuple):
    """A section header; ``vaddr`` is 0 for a section that is not loaded."""

    name: str
    type: str | int
    flags: int
    vaddr: int
    offset: int
    size: int


def read_segments(view: memoryview, header: FileHeader) -> tuple[Segment, ...]:
    """Read the program headers, in the file's order."""
    where = (header.segment_offset, header.segment_count, header.segment_size)
    return tuple(
        Segment(
            type=row["p_type"],
            flags=row["p_flags"],
            offset=row["p_offset"],
            vaddr=row["p_vaddr"],
            filesz=row["p_filesz"],
            memsz=row["p_memsz"],
            align=row["p_align"],
        )
        for row in _rows(view, where, _STRUCTS.Elf_Phdr, _MAX_SEGMENTS)
    )


def read_sections(view: memoryview, header: FileHeader) -> dict[str, Section]:
    """Read the section headers, by name; empty if their names cannot be read."""
    where = (header.section_offset, header.section_count, header.section_size)
    rows = _rows(view, where, _STRUCTS.Elf_Shdr, _MAX_SECTIONS)
    if not 0 < header.names_index < len(rows):
        return {}
    table = rows[header.names_index]
    names = bytes(view[table["sh_offset"] : table["sh_offset"] + table["sh_size"]])
    found: dict[str, Section] = {}
    for row in rows:
        start = row["sh_name"]
        raw = names[start : start + _MAX_NAME_BYTES].split(b"\0", 1)[0]
        if not raw:
            continue
        name = raw.decode("utf-8", "replace")
        found.setdefault(
            name,
            Section(
                name=name,
                type=row["sh_type"],
                flags=row["sh_flags"],
                vaddr=row["sh_addr"],
                offset=row["sh_offset"],
                size=row["sh_size"],
            ),
        )
    return found


def _rows(view: memoryview, where: tuple[int, int, int], layout: Any, limit: int) -> list[Any]:
    """Decode a table of headers given as offset, count and size of a row, as far as it goes."""
    offset, count, size = where
    count = min(count, limit)
    if not offset or size < layout.sizeof():
        return []
    raw = bytes(view[offset : offset + count * size])
    stream = BytesIO(raw)
    try:
        return [struct_parse(layout, stream, i * size) for i in range(len(raw) // size)]
    except ELFParseError:
        return []
