from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgoleak.symbols.elf.object_file import Segment
from cgoleak.target.go.layout import AMD64, ARM64
from cgoleak.target.go.tls import GSlot, decode_g_slot, place_in_tls

NOPS = b"\x90" * 9


def tls(memsz: int, align: int, vaddr: int = 0x1000) -> Segment:
    return Segment("PT_TLS", 4, vaddr, vaddr, 0, memsz, align)


def test_an_executable_has_the_offset_in_the_load() -> None:
    # stackcheck of an executable: mov rax, fs:[-8]
    code = NOPS + bytes.fromhex("64488b0425 f8ffffff 48394008")

    assert decode_g_slot(code, 0x1000) == GSlot(offset=-8)


def test_a_pie_has_the_offset_in_the_move_before_the_load() -> None:
    # mov rcx, -0x70; mov rdi, fs:[rcx]
    code = NOPS + bytes.fromhex("48c7c1 90ffffff 64488b39")

    assert decode_g_slot(code, 0x1000) == GSlot(offset=-0x70)


def test_a_shared_object_has_the_place_where_the_loader_stores_the_offset() -> None:
    # mov rcx, [rip+0x2000]; mov rax, fs:[rcx]
    code = NOPS + bytes.fromhex("488b0d 00200000 64488b01")

    assert decode_g_slot(code, 0x1000) == GSlot(got=0x1000 + len(NOPS) + 7 + 0x2000)


def test_a_store_to_g_is_not_a_load() -> None:
    assert decode_g_slot(bytes.fromhex("64488934 25f8ffffff"), 0) is None


def test_arm64_has_the_offset_in_a_move_after_the_thread_pointer() -> None:
    code = struct.pack("<3I", 0xD53BD040, 0xD2800000 | 0x10 << 5 | 27, 0xF87B681C)

    assert decode_g_slot(code, 0, ARM64) == GSlot(offset=16)


def test_arm64_pie_has_the_offset_in_two_moves() -> None:
    high, low = 0xD2A00000 | 1 << 5 | 27, 0xF2800000 | 0x234 << 5 | 27
    code = struct.pack("<4I", 0xD53BD040, high, low, 0xF87B681C)

    assert decode_g_slot(code, 0, ARM64) == GSlot(offset=0x10234)


def test_arm64_shared_object_has_the_place_of_the_offset() -> None:
    page, load = 0x90000000 | 2 << 5 | 27, 0xF9400000 | 3 << 10 | 27 << 5 | 27
    code = struct.pack("<3I", 0xD53BD040, page, load)

    # The page is counted from that of the ADRP, in units of 4 KiB; the low two bits are elsewhere.
    assert decode_g_slot(code, 0x40FFC, ARM64) == GSlot(got=0x41000 + (8 << 12) + 24)


@pytest.mark.parametrize(
    ("value", "segment", "offset"),
    [
        (0, tls(8, 8), -8),
        (104, tls(112, 8), -8),
        (0, tls(112, 8), -112),
        (0, tls(104, 64), -128),
        (0, tls(8, 8, vaddr=0x1004), -12),
    ],
)
def test_on_amd64_the_tls_segment_ends_at_the_thread_pointer(
    value: int, segment: Segment, offset: int
) -> None:
    assert place_in_tls(value, segment, AMD64) == offset


def test_on_arm64_the_tls_segment_begins_after_two_words() -> None:
    assert place_in_tls(0, tls(8, 8), ARM64) == 16
    assert place_in_tls(8, tls(16, 64), ARM64) == 72


@given(st.binary(max_size=256), st.integers(0, 2**47), st.sampled_from([AMD64, ARM64]))
def test_any_bytes_give_a_place_or_none(code: bytes, address: int, machine: str) -> None:
    slot = decode_g_slot(code, address, machine)

    assert slot is None or (slot.offset is None) != (slot.got is None)
