"""What a small getter reads: machine code → which bits behind its first argument.

Structures such as ``pthread_attr_t`` are known to their C library alone, and each has its own. What
it offers to ask one field, ``pthread_attr_getdetachstate``, says in a few instructions where that
field is: load, perhaps a mask, store to where the second argument points, return.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Field", "field_read"]

_LONGEST: Final = 64
_LOAD: Final = re.compile(r"(e[a-d]x), dword ptr \[rdi(?: \+ (0x[0-9a-f]+|\d+))?\]")
_ALL: Final = 0xFFFFFFFF


class Field(NamedTuple):
    """Bits of a 32-bit word: where it lies in the structure, and which they are."""

    at: int
    mask: int


def field_read(code: bytes) -> Field | None:
    """Tell what x86-64 code reads that is such a getter; None if it does anything else besides."""
    register, at, mask, stored = "", 0, _ALL, False
    for mnemonic, operands in _instructions(code[:_LONGEST]):
        load = _LOAD.fullmatch(operands) if mnemonic == "mov" else None
        if mnemonic in {"endbr64", "nop"}:
            continue
        if load is not None and not register:
            register, at = load[1], int(load[2] or "0", 0)
        elif mnemonic == "and" and register and operands.startswith(f"{register}, ") and not stored:
            word = operands.partition(", ")[2]
            if not re.fullmatch(r"0x[0-9a-f]+|\d+", word):
                return None
            mask &= int(word, 0)
        elif mnemonic == "mov" and operands == f"dword ptr [rsi], {register}":
            stored = True
        elif mnemonic == "xor" and operands == "eax, eax" and (stored or register != "eax"):
            continue
        else:
            return Field(at, mask) if mnemonic == "ret" and stored else None
    return None


def _instructions(code: bytes) -> Iterator[tuple[str, str]]:
    import capstone  # type: ignore[import-untyped]  # noqa: PLC0415  (few measurements need it)

    machine: Any = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    for _, _, mnemonic, operands in machine.disasm_lite(code, 0):
        yield mnemonic, operands
