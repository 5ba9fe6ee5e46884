"""Where a Go module keeps its pc/line table, and the parts of it.

File or memory in, ``GoImage`` out. Three things differ between releases and ways of linking
(``runtime/symtab.go`` type pcHeader and moduledata of the release named):

* The place: section ``.gopclntab``; before 1.26 a PIE that the C linker made has it inside
  ``.data.rel.ro``, so that it is searched for.
* The text base: ``pcHeader.textStart`` up to 1.25, in a PIE by way of a relocation; 0 from 1.26,
  when ``moduledata.text`` is all there is.
* The base of the inline trees, ``moduledata.gofunc``, at 0x130 (1.18), 0x140 (1.20), 0x158 (1.27).
  It is found by trying: only the right base makes records whose names begin where names begin.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import le
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["GoImage", "locate_in_file", "locate_in_memory"]

_MAGIC_118: Final = 0xFFFF_FFF0
_MAGIC_120: Final = 0xFFFF_FFF1
_HEADER: Final = struct.Struct("<IHBB8Q")
"""pcHeader: magic, 0, minLC, ptrSize, nfunc, nfiles, textStart, offsets of names, units, files,
values and functions."""
_STARTS: Final = tuple(
    struct.pack("<IHBB", magic, 0, quantum, 8)
    for magic in (_MAGIC_120, _MAGIC_118)
    for quantum in (1, 4)
)
_MODULEDATA_TEXT: Final = 0xB0
_GOFUNC_OFFSETS: Final = (0x130, 0x140, 0x158, *range(0x118, 0x1C0, 8))
"""Known places first, then any other for the releases to come."""
_MAX_FUNCTIONS: Final = 4 << 20
_MAX_PART_BYTES: Final = 512 << 20
_MAX_CANDIDATES: Final = 64
_SCAN_BYTES: Final = 1 << 20
_MAX_SCAN_BYTES: Final = 1 << 32
"""Of one region: read-only data of a Go module take some ten MiB."""
_RECORD_BYTES: Final = 1 << 12
"""More than the last function record can take: 44 bytes, and 4 for each of its few tables."""


@dataclass(frozen=True, slots=True)
class GoImage:
    """The parts of one module's table.

    Attributes:
        text: what function offsets are counted from.
        quantum: unit of pc steps: 1 on amd64, 4 on arm64.
        is_118: the layout of Go 1.18 and 1.19.
        functab: pairs of function offset and place in ``funcs``, then the end of the last function.
        names: function names, NUL after each.
        units: per compilation unit the offsets of its files (u32).
        files: file names, NUL after each.
        values: the pc-value tables.
        funcs: the function records, behind the functab.
        gofunc: addresses that may be the base of the inline trees, likeliest first.
        view: up to n bytes at an address.
    """

    text: int
    quantum: int
    is_118: bool
    functab: list[int]
    names: bytes
    units: bytes
    files: bytes
    values: bytes
    funcs: bytes
    gofunc: tuple[int, ...]
    view: Callable[[int, int], bytes]


def locate_in_file(obj: ObjectFile) -> GoImage | None:
    """Find the table in an ELF file; None if there is none that makes sense."""
    relative = obj.dynamic.relative
    source = _Source(
        view=lambda addr, size: bytes(obj.view(addr, size)),
        regions=tuple(
            (s.vaddr, s.vaddr + min(s.filesz, obj.size))
            for s in obj.segments
            if s.type == "PT_LOAD" and not s.is_executable
        ),
        relocated=relative,
    )
    known = [
        section.vaddr
        for name in (".gopclntab", ".data.rel.ro.gopclntab")
        if (section := obj.sections.get(name)) is not None
    ]
    modules = [obj.sections[".go.module"].vaddr] if ".go.module" in obj.sections else []
    return _locate(source, known, modules)


def locate_in_memory(
    read: Callable[[int, int], bytes | None], regions: Iterable[tuple[int, int]]
) -> GoImage | None:
    """Find the table in a process; None if there is none that makes sense."""
    spans = tuple(sorted(regions))

    def view(addr: int, size: int) -> bytes:
        for start, end in spans:
            if start <= addr < end:
                return read(addr, min(size, end - addr)) or b""
        return b""

    return _locate(_Source(view=view, regions=spans, relocated={}), [], [])


@dataclass(frozen=True, slots=True)
class _Source:
    """Where bytes come from; ``relocated`` are pointers that the loader would write."""

    view: Callable[[int, int], bytes]
    regions: tuple[tuple[int, int], ...]
    relocated: Mapping[int, int]

    def pointer(self, addr: int) -> int:
        """Return the pointer at an address as the program would see it, less the bias, or 0."""
        if (addend := self.relocated.get(addr)) is not None:
            return addend
        raw = self.view(addr, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else 0

    def find(self, wanted: bytes) -> Iterator[int]:
        """Yield the 8-byte aligned addresses where some bytes stand, in pieces of one MiB."""
        for start, end in self.regions:
            for base in range(start & ~7, min(end, start + _MAX_SCAN_BYTES), _SCAN_BYTES):
                piece = self.view(base, _SCAN_BYTES + len(wanted) - 1)
                at = piece.find(wanted)
                while at >= 0:
                    if not (base + at) & 7:
                        yield base + at
                    at = piece.find(wanted, at + 1)


def _locate(source: _Source, known: list[int], modules: list[int]) -> GoImage | None:
    """Try the known places, then search."""
    for header in known:
        if (image := _read(source, header, modules)) is not None:
            return image
    for start in _STARTS:
        for header in islice(source.find(start), _MAX_CANDIDATES):
            if (image := _read(source, header, modules)) is not None:
                return image
    return None


def _read(source: _Source, header: int, modules: list[int]) -> GoImage | None:
    """Read the table whose pcHeader is at an address, or None if it does not hold together."""
    raw = source.view(header, _HEADER.size)
    if len(raw) < _HEADER.size or raw[:8] not in _STARTS:
        return None
    magic, _, quantum, _, count, _, text, *offsets = _HEADER.unpack(raw)
    in_order = all(low <= high for low, high in pairwise([_HEADER.size, *offsets]))
    if not 0 < count <= _MAX_FUNCTIONS or not in_order or offsets[-1] > _MAX_PART_BYTES:
        return None
    functab = _functab(source, header + offsets[4], count)
    if not functab:
        return None
    module = _moduledata(source, header, header + offsets[0], modules)
    text = source.pointer(header + 24) or (module and source.pointer(module + _MODULEDATA_TEXT))
    if not text:
        return None
    names, units, files, values = (
        source.view(header + low, high - low) for low, high in pairwise(offsets)
    )
    return GoImage(
        text=text,
        quantum=quantum,
        is_118=magic == _MAGIC_118,
        functab=functab,
        names=names,
        units=units,
        files=files,
        values=values,
        funcs=source.view(header + offsets[4], max(functab[1::2]) + _RECORD_BYTES),
        gofunc=tuple(_gofunc_candidates(source, module)),
        view=source.view,
    )


def _functab(source: _Source, start: int, count: int) -> list[int]:
    """Read ``count`` pairs and the end; empty if cut short or not ascending."""
    size = 8 * count + 4
    raw = source.view(start, size)
    if len(raw) < size:
        return []
    words = memoryview(raw).cast("I").tolist()
    starts = words[0::2]
    return words if all(map(le, starts, starts[1:])) else []


def _moduledata(source: _Source, header: int, names: int, known: list[int]) -> int | None:
    """Find ``runtime.firstmoduledata``: it begins with pointers to the header and to the names."""
    for at in known:
        if source.pointer(at) == header:
            return at
    for at, addend in source.relocated.items():
        if addend == header and source.relocated.get(at + 8) == names:
            return at
    return next(source.find(struct.pack("<QQ", header, names)), None)


def _gofunc_candidates(source: _Source, module: int | None) -> Iterator[int]:
    if module is not None:
        for offset in _GOFUNC_OFFSETS:
            if base := source.pointer(module + offset):
                yield base
