"""DWARF line programs: address to file and line.

One program of ``.debug_line`` in, a ``LineTable`` out (6.2 of DWARF 5; versions 2 to 5). Rows are
kept as plain lists per sequence: 766k rows as objects take pyelftools 18 s.
"""

from __future__ import annotations

import posixpath
import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.symbols.dwarf.data import DamagedDwarf, Sections, sleb, uleb

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LineTable", "read_lines"]

_MAX_FILES: Final = 1 << 16
_MAX_OVERLAP: Final = 8
"""Sequences that begin nearer are looked past for one that holds the address."""
_DW_LNCT_PATH: Final = 1
_DW_LNCT_DIRECTORY: Final = 2


class _Sequence(NamedTuple):
    """Rows of one piece of code by address; each holds until the next, the last until ``end``."""

    start: int
    end: int
    addresses: list[int]
    places: list[tuple[int, int]]
    """File number and line."""


@dataclass(frozen=True, slots=True)
class LineTable:
    """The lines of a unit; ``files`` by the number that the program and DW_AT_call_file use."""

    files: tuple[str | None, ...]
    sequences: tuple[_Sequence, ...]
    starts: tuple[int, ...]

    def file(self, number: int) -> str | None:
        """Return the path of a file by its number."""
        return self.files[number] if 0 <= number < len(self.files) else None

    def at(self, vaddr: int) -> tuple[str | None, int | None]:
        """Return file and line of an address; (None, None) if no row holds it."""
        last = bisect_right(self.starts, vaddr) - 1
        for i in range(last, max(-1, last - _MAX_OVERLAP), -1):
            sequence = self.sequences[i]
            if vaddr < sequence.end:
                number, line = sequence.places[bisect_right(sequence.addresses, vaddr) - 1]
                return self.file(number), line or None
        return None, None


def read_lines(sections: Sections, offset: int, directory: str) -> LineTable:
    """Decode the program at an offset of ``.debug_line``.

    Args:
        sections: of the file.
        offset: DW_AT_stmt_list of the unit.
        directory: DW_AT_comp_dir, for names that are relative.

    Raises:
        DamagedDwarf: it cannot be decoded; or another of ``DAMAGE``.
    """
    section = sections["line"]
    (length,) = struct.unpack_from("<I", section, offset)
    start, offset_size = offset + 4, 4
    if length == 0xFFFF_FFFF:
        (length,) = struct.unpack_from("<Q", section, offset + 4)
        start, offset_size = offset + 12, 8
    program = _Program(bytes(section[start : start + length]), offset_size, sections, directory)
    files = tuple(program.files())
    found = sorted(program.sequences(), key=lambda sequence: sequence.start)
    return LineTable(files, tuple(found), tuple(sequence.start for sequence in found))


class _Program:
    """A line program's bytes, from the version on."""

    def __init__(self, data: bytes, offset_size: int, sections: Sections, directory: str) -> None:
        self._data = data
        self._offset_size = offset_size
        self._sections = sections
        self._directory = directory
        (self._version,) = struct.unpack_from("<H", data, 0)
        if not 2 <= self._version <= 5:
            raise DamagedDwarf
        at = 4 if self._version >= 5 else 2  # version 5 adds the sizes of an address and a selector
        header_length = int.from_bytes(data[at : at + offset_size], "little")
        at += offset_size
        self._start = at + header_length
        self._quantum = data[at]
        at += 2 if self._version >= 4 else 1  # maximum_operations_per_instruction: VLIW only
        at += 1  # default_is_stmt: every row counts here
        self._line_base, self._line_range, self._opcode_base = struct.unpack_from("<bBB", data, at)
        if not self._line_range or not self._opcode_base:
            raise DamagedDwarf
        self._arguments = data[at + 3 : at + 2 + self._opcode_base]
        self._tables = at + 2 + self._opcode_base

    def files(self) -> list[str | None]:
        """Decode directories and files (6.2.4) to paths; number 0 is unused before version 5."""
        if self._version < 5:
            return self._files_4()
        rows, at = self._entries(self._tables)
        directories = [self._path(self._directory, row.get(_DW_LNCT_PATH, "")) for row in rows]
        rows, _ = self._entries(at)
        found: list[str | None] = []
        for row in rows:
            number = row.get(_DW_LNCT_DIRECTORY, 0)
            known = isinstance(number, int) and number < len(directories)
            parent = directories[int(number)] if known else self._directory
            found.append(self._path(parent, row.get(_DW_LNCT_PATH, "")))
        return found

    def sequences(self) -> Iterator[_Sequence]:  # noqa: C901, PLR0912 (one state machine)
        """Run the program (6.2.5); sequences at address 0 are code that the linker dropped."""
        data, end = self._data, len(self._data)
        quantum, base, opcode_base = self._quantum, self._line_base, self._opcode_base
        line_range = self._line_range
        const_advance = (255 - opcode_base) // line_range * quantum
        at = self._start
        address, file, line = 0, 1, 1
        addresses: list[int] = []
        places: list[tuple[int, int]] = []
        while at < end:
            opcode = data[at]
            at += 1
            if opcode >= opcode_base:
                opcode -= opcode_base
                address += opcode // line_range * quantum
                line += base + opcode % line_range
                addresses.append(address)
                places.append((file, line))
            elif opcode == 0:  # extended
                length, at = uleb(data, at)
                kind, argument, at = data[at], at + 1, at + length
                if kind == 1:  # DW_LNE_end_sequence
                    if addresses and 0 < addresses[0] < address and addresses == sorted(addresses):
                        yield _Sequence(addresses[0], address, addresses, places)
                    address, file, line, addresses, places = 0, 1, 1, [], []
                elif kind == 2:  # DW_LNE_set_address
                    address = int.from_bytes(data[argument:at], "little")
            elif opcode == 1:  # DW_LNS_copy
                addresses.append(address)
                places.append((file, line))
            elif opcode == 2:  # DW_LNS_advance_pc
                step, at = uleb(data, at)
                address += step * quantum
            elif opcode == 3:  # DW_LNS_advance_line
                step, at = sleb(data, at)
                line += step
            elif opcode == 4:  # DW_LNS_set_file
                file, at = uleb(data, at)
            elif opcode == 8:  # DW_LNS_const_add_pc
                address += const_advance
            elif opcode == 9:  # DW_LNS_fixed_advance_pc
                address += int.from_bytes(data[at : at + 2], "little")
                at += 2
            else:  # column, statement and block marks, and what later versions may add
                for _ in range(self._arguments[opcode - 1]):
                    _, at = uleb(data, at)

    def _files_4(self) -> list[str | None]:
        directories, at = [self._directory], self._tables
        while self._data[at]:
            name, at = self._string(at)
            directories.append(self._path(self._directory, name))
        at += 1
        found: list[str | None] = [None]
        while self._data[at] and len(found) < _MAX_FILES:
            name, at = self._string(at)
            number, at = uleb(self._data, at)
            _, at = uleb(self._data, at)  # time
            _, at = uleb(self._data, at)  # length
            known = number < len(directories)
            found.append(self._path(directories[number] if known else self._directory, name))
        return found

    def _entries(self, at: int) -> tuple[list[dict[int, int | str]], int]:
        """Decode a table of version 5: its own format, then that many rows (6.2.4.1)."""
        data = self._data
        count = data[at]
        at += 1
        shape = []
        for _ in range(count):
            content, at = uleb(data, at)
            form, at = uleb(data, at)
            shape.append((content, form))
        rows, at = uleb(data, at)
        found: list[dict[int, int | str]] = []
        for _ in range(min(rows, _MAX_FILES) if shape else 0):
            row: dict[int, int | str] = {}
            for content, form in shape:
                row[content], at = self._form(form, at)
            found.append(row)
        return found, at

    def _form(self, form: int, at: int) -> tuple[int | str, int]:
        """Decode one of the forms that 6.2.4.1 allows."""
        data = self._data
        if form in (0x0E, 0x1F):  # DW_FORM_strp, DW_FORM_line_strp
            offset = int.from_bytes(data[at : at + self._offset_size], "little")
            section = "str" if form == 0x0E else "line_str"
            return self._sections.string(section, offset), at + self._offset_size
        if form == 0x08:  # DW_FORM_string
            return self._string(at)
        if form == 0x0F:  # DW_FORM_udata
            return uleb(data, at)
        size = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}.get(form)  # DW_FORM_data*
        if size is not None:
            return int.from_bytes(data[at : at + size], "little"), at + size
        if form == 0x09:  # DW_FORM_block
            size, at = uleb(data, at)
            return 0, at + size
        raise DamagedDwarf

    def _string(self, at: int) -> tuple[str, int]:
        end = self._data.find(b"\0", at)
        if end < 0:
            raise DamagedDwarf
        return self._data[at:end].decode("utf-8", "replace"), end + 1

    def _path(self, directory: str, name: int | str) -> str:
        return posixpath.normpath(posixpath.join(directory, str(name)))
