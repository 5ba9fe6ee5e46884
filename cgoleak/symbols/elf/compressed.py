"""Compressed content, decompressed within a limit.

SHF_COMPRESSED sections (gABI chapter 4, "Section Compression"): a 24-byte header with the method,
then the data. Only zlib (method 1) is in Python before 3.14; zstd (2) is answered with None.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from typing import Final

__all__ = ["MAX_SECTION_BYTES", "inflate", "unxz"]

MAX_SECTION_BYTES: Final = 512 << 20
"""More debug information than this in one section is not decompressed: it has to fit in memory."""
_ELFCOMPRESS_ZLIB: Final = 1
_HEADER: Final = struct.Struct("<IIQQ")  # ch_type, ch_reserved, ch_size, ch_addralign


def inflate(section: memoryview, *, limit: int) -> bytes | None:
    """Return the content of an SHF_COMPRESSED section, or None if it is damaged or too large."""
    if len(section) < _HEADER.size:
        return None
    method, _, size, _ = _HEADER.unpack_from(section)
    if method != _ELFCOMPRESS_ZLIB or size > limit:
        return None
    try:
        content = zlib.decompressobj().decompress(section[_HEADER.size :], size + 1)
    except zlib.error:
        return None
    return content if len(content) == size else None


def unxz(packed: bytes, *, limit: int) -> bytes | None:
    """Return what an xz stream holds, or None if it is damaged or over ``limit`` bytes."""
    try:
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=128 << 20)
        content = unpacker.decompress(packed, max_length=limit + 1)
    except lzma.LZMAError:
        return None
    return content if unpacker.eof and len(content) <= limit else None
