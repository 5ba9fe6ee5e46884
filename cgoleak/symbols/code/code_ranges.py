"""Where each function's code begins and ends: ``.eh_frame`` and ``.symtab`` → ranges.

Compilers describe every function in the first, and so does assembly that unwinds; of a library that
was built without (musl), the symbol table of a static program tells alone. A range begins at an
instruction, which is what a disassembler must know to begin with. Records: LSB core specification
4.1, 10.6.1; encodings: 10.5.1.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from heapq import merge
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["CodeRange", "code_ranges"]

_FORMATS: Final = {0x00: "<Q", 0x03: "<I", 0x04: "<Q", 0x0B: "<i", 0x0C: "<q"}
"""Low four bits of a pointer's encoding: absptr, udata4, udata8, sdata4, sdata8."""
_PCREL: Final = 0x10
_MOST_LEB: Final = 10


class CodeRange(NamedTuple):
    """A function, or the part of one that the compiler has put elsewhere: [start, end)."""

    start: int
    end: int


def code_ranges(obj: ObjectFile) -> tuple[CodeRange, ...]:
    """Return the ranges of a file, ascending, none over another; empty if it tells of none.

    A table in which ranges overlap is none that a linker made, and is not believed. Functions that
    the unwind table does not tell of come from the symbol table.
    """
    described, named = (
        sorted({r for r in found if r.start < r.end and _is_code(obj, r)})
        for found in (_described(obj), _named(obj))
    )
    if not described or _overlap(described):
        return () if _overlap(named) else tuple(named)
    return tuple(merge(described, _between(described, named)))


def _overlap(ranges: Iterable[CodeRange]) -> bool:
    return any(a.end > b.start for a, b in pairwise(ranges))


def _between(kept: Sequence[CodeRange], others: Iterable[CodeRange]) -> Iterator[CodeRange]:
    """Yield those that lie over none that is kept, nor over one before; both ascending."""
    starts = [one.start for one in kept]
    end = 0
    for other in others:
        at = bisect_right(starts, other.start)
        low = max(end, kept[at - 1].end if at else 0)
        high = kept[at].start if at < len(kept) else other.end
        if low <= other.start and other.end <= high:
            yield other
            end = other.end


def _named(obj: ObjectFile) -> Iterator[CodeRange]:
    """Yield the functions of the symbol table; of several names of one place the longest."""
    longest: dict[int, int] = {}
    for function in obj.symbols.functions():
        longest[function.start] = max(longest.get(function.start, 0), function.size)
    for start, size in longest.items():
        yield CodeRange(start, start + size)


def _is_code(obj: ObjectFile, found: CodeRange) -> bool:
    return any(
        s.type == "PT_LOAD"
        and s.is_executable
        and s.vaddr <= found.start
        and found.end <= s.vaddr + s.filesz
        for s in obj.segments
    )


def _described(obj: ObjectFile) -> Iterator[CodeRange]:
    """Yield the range of each FDE; what cannot be read is left out."""
    if obj.eh_frame is None:
        return
    base, size = obj.eh_frame
    table = obj.view(base, size)
    encodings: dict[int, int | None] = {}
    at = 0
    while at + 8 <= len(table):
        (length,) = struct.unpack_from("<I", table, at)
        body, wide = at + 4, length == 0xFFFFFFFF
        if wide:
            (length,) = struct.unpack_from("<Q", table, body)
            body += 8
        if length == 0 or body + length > len(table):
            return
        if length >= 4:
            (pointer,) = struct.unpack_from("<I", table, body)
            if pointer == 0:
                encodings[at] = _pointer_encoding(table[body + 4 : body + length])
            else:
                encoding = encodings.get(body - pointer)
                found = _range_of(table, body + 4, body + length, base, encoding)
                if found is not None:
                    yield found
        at = body + length


def _range_of(
    table: memoryview, at: int, end: int, base: int, encoding: int | None
) -> CodeRange | None:
    layout = None if encoding is None else _FORMATS.get(encoding & 0x0F)
    if encoding is None or layout is None or encoding & 0xF0 not in (0, _PCREL):
        return None
    size = struct.calcsize(layout)
    if at + 2 * size > end:
        return None
    (start,) = struct.unpack_from(layout, table, at)
    (length,) = struct.unpack_from(layout, table, at + size)
    if encoding & 0xF0 == _PCREL:
        start += base + at
    return CodeRange(start, start + length)


def _pointer_encoding(cie: memoryview) -> int | None:
    """Return how the FDEs of a CIE write addresses; ``cie`` begins at its version."""
    version = cie[0] if cie else 0
    name, terminated, _ = bytes(cie[1:]).partition(b"\0")
    if version not in (1, 3) or not terminated or name[:1] not in (b"", b"z"):
        return None
    at = 2 + len(name)
    # Alignment of code and of data, then the return address's register.
    for _ in range(2 if version == 1 else 3):
        at = _after_leb(cie, at)
    at = _after_leb(cie, at + (version == 1))
    before, found, _ = name[1:].partition(b"R")
    for letter in before.decode("latin-1"):
        layout = _FORMATS.get(cie[at] & 0x0F) if at < len(cie) else None
        if letter == "P" and layout is not None:
            at += 1 + struct.calcsize(layout)  # the personality routine, by its own encoding
        elif letter == "L":
            at += 1
        elif letter not in "SB":
            return None
    if not found:
        return 0
    return cie[at] if at < len(cie) else None


def _after_leb(data: memoryview, at: int) -> int:
    for _ in range(_MOST_LEB):
        if at >= len(data) or not data[at] & 0x80:
            break
        at += 1
    return at + 1
