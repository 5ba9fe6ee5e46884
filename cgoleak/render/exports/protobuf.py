"""Writes protocol buffers: the four things that pprof's format needs.

Numbers → bytes, by the wire format (protobuf.dev, "Encoding"): a field is its number and wire type,
then a varint or a length and bytes. Fields that are zero or empty are left out, as proto3 has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["field", "number_field", "numbers_field", "text_field"]

_VARINT: Final = 0
_BYTES: Final = 2
_LARGEST: Final = (1 << 63) - 1
_SMALLEST: Final = -(1 << 63)


def field(number: int, content: bytes) -> bytes:
    """Write a message or a string, even if it is empty."""
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def text_field(number: int, text: str) -> bytes:
    """Write a string, even if it is empty: in a list it takes a place."""
    return field(number, text.encode("utf-8", "replace"))


def number_field(number: int, value: int) -> bytes:
    """Write an int64, uint64 or bool; those that do not fit are cut to what does."""
    return _varint(number << 3 | _VARINT) + _varint(value) if value else b""


def numbers_field(number: int, values: Iterable[int]) -> bytes:
    """Write a list of numbers, packed; zeros keep their places."""
    content = b"".join(map(_varint, values))
    return field(number, content) if content else b""


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; below zero it is the two's complement in 64 bits."""
    left = max(_SMALLEST, min(value, _LARGEST)) & ((1 << 64) - 1)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)
