"""Where a thread keeps its ``g``: executable and runtime code → offset from the thread pointer.

The offset is -8 (amd64) or 16 (arm64) in a program without C thread-local variables, and
something else in others. Two independent sources are used. The runtime's TLS symbol is an offset
in the TLS segment, which the psABI places below (amd64) or above (arm64) the thread pointer. The
runtime's own code, which survives ``strip``, has the offset in its instructions, or, in shared
objects, the address of the GOT slot into which the loader writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.target.go.layout import AMD64

if TYPE_CHECKING:
    from cgoleak.symbols.elf.object_file import ObjectFile, Segment

__all__ = ["GSlot", "decode_g_slot", "place_in_tls", "symbol_g_slot"]


@dataclass(frozen=True, slots=True)
class GSlot:
    """Either the offset of ``g`` from the thread pointer, or where the loader stored that offset.

    Attributes:
        offset: signed, in bytes.
        got: address in the file of the 8-byte slot that holds the offset in the running process.
    """

    offset: int | None = None
    got: int | None = None


# get_tls(CX); MOVQ g(CX), R (runtime/go_tls.h), in the three forms of cmd/internal/obj/x86/asm6.go:
# executable: 64 48 8B modrm(00 reg 100) 25 disp32       MOV r64, FS:[disp32]
# PIE:        48 C7 C1 imm32; 64 48 8B modrm(00 reg 001) MOV RCX, imm32; MOV r64, FS:[RCX]
# shared:     48 8B 0D rel32; 64 48 8B modrm(00 reg 001) MOV RCX, [RIP+rel32]; MOV r64, FS:[RCX]
_AMD64_CODE: Final = re.compile(
    rb"\x64\x48\x8b[\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x25(?P<direct>.{4})"
    rb"|\x48\xc7\xc1(?P<immediate>.{4})\x64\x48\x8b[\x01\x09\x11\x19\x21\x29\x31\x39]"
    rb"|\x48\x8b\x0d(?P<got>.{4})\x64\x48\x8b[\x01\x09\x11\x19\x21\x29\x31\x39]",
    re.DOTALL,
)
_MRS_X0_TPIDR: Final = 0xD53BD040
_R27: Final = 27


def symbol_g_slot(exe: ObjectFile, machine: str = AMD64) -> GSlot | None:
    """Compute the offset from the runtime's TLS symbol, for a program (not for a shared object).

    None without the symbol or the segment.
    """
    # arm64 has a runtime.tlsg as well, which nothing uses (runtime/tls_arm64.s, tls_g).
    symbol = exe.symbol("runtime.tlsg" if machine == AMD64 else "runtime.tls_g")
    segment = next((s for s in exe.segments if s.type == "PT_TLS"), None)
    if symbol is None or segment is None:
        return None
    if symbol[0] >= segment.memsz:
        return None
    return GSlot(offset=place_in_tls(symbol[0], segment, machine))


def place_in_tls(value: int, segment: Segment, machine: str) -> int:
    """Give the distance from the thread pointer to an offset in the program's TLS segment.

    amd64 (variant II of the TLS ABI): the segment ends at the thread pointer, moved down so that
    its alignment holds; arm64 (variant I): it begins after a head of 16 bytes, moved up likewise.
    """
    align = max(segment.align, 1)
    if machine == AMD64:
        return value - segment.memsz - -(segment.vaddr + segment.memsz) % align
    return value + 16 + (segment.vaddr - 16) % align


def decode_g_slot(code: bytes, address: int, machine: str = AMD64) -> GSlot | None:
    """Decode the first load of ``g`` in a function's code, or None if there is none.

    ``runtime.stackcheck`` and ``runtime.asmcgocall`` have it on amd64, ``runtime.load_g`` on arm64;
    ``address`` is that of the code in the file.
    """
    if machine != AMD64:
        return _decode_arm64(code, address)
    found = _AMD64_CODE.search(code)
    if found is None:
        return None
    kind = found.lastgroup or ""
    value = int.from_bytes(found[kind], "little", signed=True)
    if kind == "got":
        return GSlot(got=address + found.end(kind) + value)
    return GSlot(offset=value)


def _decode_arm64(code: bytes, address: int) -> GSlot | None:
    """After ``MRS X0,TPIDR_EL0``: MOVZ or MOVN, MOVK into X27; or ADRP X27, LDR X27,[X27,#d]."""
    words = memoryview(code[: len(code) & ~3]).cast("I")
    start = next((i + 1 for i, word in enumerate(words) if word == _MRS_X0_TPIDR), len(words))
    value: int | None = None
    for i in range(start, min(start + 4, len(words))):
        word = words[i]
        shift = 16 * (word >> 21 & 3)
        immediate = word >> 5 & 0xFFFF
        if word & 0x1F != _R27:
            break
        if word & 0x9F000000 == 0x90000000 and i + 1 < len(words):  # ADRP
            return _decode_got(word, words[i + 1], address + 4 * i)
        match word & 0xFF800000:
            case 0xD2800000:  # MOVZ
                value = immediate << shift
            case 0x92800000:  # MOVN
                value = ~(immediate << shift)
            case 0xF2800000 if value is not None:  # MOVK
                value = value & ~(0xFFFF << shift) | immediate << shift
            case _:
                break
    return None if value is None else GSlot(offset=value)


def _decode_got(page: int, load: int, address: int) -> GSlot | None:
    if load & 0xFFC003FF != 0xF9400000 | _R27 << 5 | _R27:  # LDR X27, [X27, #imm12 * 8]
        return None
    offset = (page >> 29 & 3) | (page >> 5 & 0x7FFFF) << 2
    offset -= (offset & 0x100000) << 1
    return GSlot(got=(address & ~0xFFF) + (offset << 12) + (load >> 10 & 0xFFF) * 8)
