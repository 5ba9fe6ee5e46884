"""Small ELF files made by hand: just the headers that say what a program is."""

from __future__ import annotations

import struct

_NAMES = {"interp": b"/lib64/ld-linux-x86-64.so.2\0"}


def an_elf(
    *,
    machine: int = 62,
    bits: int = 64,
    dynamic: bool = True,
    go_version: str | None = "go1.24.3",
    settings: str = "build\tCGO_ENABLED=1\n",
    cgo: bool = True,
    sections: tuple[str, ...] = (".text", ".symtab"),
    pie: bool = False,
) -> bytes:
    """Build a little-endian ELF file with PT_INTERP, build information and section names."""
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    if bits == 32:
        return ident + struct.pack("<HH", 2, machine) + bytes(64)
    interp = _NAMES["interp"]
    data = b""
    if go_version is not None:
        text = settings.encode()
        module = b"m" * 16 + text + b"m" * 16
        data = b"\xff Go buildinf:\x08\x02" + bytes(16)
        data += bytes([len(go_version)]) + go_version.encode()
        data += _varint(len(module)) + module
    code = b"runtime/cgo.\0" if cgo else b"runtime.main\0"
    segments_at = 64
    count = 1 + int(dynamic)
    interp_at = segments_at + 56 * count
    data_at = (interp_at + len(interp) + 15) & ~15
    names = b"\0" + b"".join(name.encode() + b"\0" for name in sections)
    names_at = data_at + len(data) + len(code)
    table_at = names_at + len(names)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH",
        3 if pie else 2,
        machine,
        1,
        0,
        segments_at,
        table_at,
        0,
        64,
        56,
        count,
        64,
        len(sections) + 2,
        1,
    )
    segments = struct.pack("<IIQQQQQQ", 1, 6, data_at, 0, 0, len(data), len(data), 16)
    if dynamic:
        segments += struct.pack("<IIQQQQQQ", 3, 4, interp_at, 0, 0, len(interp), len(interp), 1)
    rows = bytes(64) + struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, names_at, len(names), 0, 0, 0, 0)
    for name in sections:
        where = names.index(b"\0" + name.encode() + b"\0") + 1
        rows += struct.pack("<IIQQQQIIQQ", where, 1, 0, 0, data_at, 16, 0, 0, 0, 0)
    body = header + segments + interp
    return body.ljust(data_at, b"\0") + data + code + names + rows


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
