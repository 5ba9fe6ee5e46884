"""A file → its functions' bounds; a table that lies is not believed."""

from __future__ import annotations

import struct
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.symbols.code.code_ranges import code_ranges
from cgoleak.symbols.elf.object_file import ObjectFile
from support.elf_build import build, build_library, without_section_headers

SOURCE = "int twice(int a) { return a * 2; }\nint main(int c, char **v) { return twice(c); }\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("ranges")).read_bytes()


def test_every_function_has_the_bounds_that_its_symbol_says(library):
    obj = ObjectFile(library)
    ranges = code_ranges(obj)

    for name in ("library_entry", "library_unused"):
        start, size = obj.symbol(name)
        (found,) = (span for span in ranges if span.start == start)
        assert found.end == start + size


def test_a_stripped_file_tells_the_same(library):
    assert code_ranges(ObjectFile(without_section_headers(library))) == code_ranges(
        ObjectFile(library)
    )


def test_without_unwind_tables_symbols_tell(tmp_path):
    flags = ("-O1", "-fno-asynchronous-unwind-tables", "-Wl,--gc-sections", "-nostartfiles")
    path = build(tmp_path, "prog", SOURCE.replace("main", "_start"), *flags)
    obj = ObjectFile.open(path)
    start, size = obj.symbol("twice")

    assert (start, start + size) in code_ranges(obj)


def test_symbols_tell_of_what_the_unwind_table_leaves_out(tmp_path):
    plain = tmp_path / "plain.o"
    (tmp_path / "plain.c").write_text("int thrice(int a) { return a * 3; }\n")
    flags = ("-c", "-O1", "-fno-asynchronous-unwind-tables")
    subprocess.run(["cc", *flags, tmp_path / "plain.c", "-o", plain], check=True, timeout=60)
    obj = ObjectFile.open(build(tmp_path, "prog", SOURCE, "-O1", "-fno-inline", str(plain)))
    ranges = code_ranges(obj)

    for name in ("twice", "thrice", "main"):
        start, size = obj.symbol(name)
        assert (start, start + size) in ranges
    assert all(a.end <= b.start for a, b in pairwise(ranges))


def overwritten(library, change):
    obj = ObjectFile(library)
    at, size = obj.eh_frame
    offset = obj.sections[".eh_frame"].offset
    content = bytearray(library)
    content[offset : offset + size] = change(bytes(content[offset : offset + size]), at)
    return bytes(content)


def fdes_over(low, high):
    """Make a table of one CIE and two FDEs, the second within the first."""
    cie = struct.pack("<I", 16) + struct.pack("<I", 0) + b"\x01zR\0\x01\x78\x10\x01\x00" + bytes(3)
    rows = b""
    for start in (low, low + 1):
        body = struct.pack("<IQQ", len(cie) + len(rows) + 4, start, high - start) + bytes(4)
        rows += struct.pack("<I", len(body)) + body
    return cie + rows + bytes(4)


def test_ranges_over_one_another_are_not_believed_and_symbols_tell_instead(library):
    obj = ObjectFile(library)
    start, size = obj.symbol("library_entry")

    def change(old, at):
        return fdes_over(start, start + size).ljust(len(old), b"\0")

    found = code_ranges(ObjectFile(overwritten(library, change)))

    assert (start, start + size) in found
    assert (start + 1, start + size) not in found


def test_a_range_outside_the_code_is_left_out(library):
    def change(old, at):
        return fdes_over(0x7000_0000, 0x7000_1000).ljust(len(old), b"\0")

    found = code_ranges(ObjectFile(overwritten(library, change)))

    assert all(span.end < 0x7000_0000 for span in found)


def test_a_file_that_tells_of_nothing_has_none():
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x1000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 256, 256, 0x1000)

    assert code_ranges(ObjectFile(head.ljust(256, b"\xc3"))) == ()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_gives_ranges_in_the_code_or_none(library, data):
    def change(old, at):
        changed = bytearray(old)
        for _ in range(data.draw(st.integers(1, 12))):
            place = data.draw(st.integers(0, len(old) - 1))
            changed[place] = data.draw(st.integers(0, 255))
        return bytes(changed)

    obj = ObjectFile(overwritten(library, change))
    loads = [(s.vaddr, s.vaddr + s.filesz) for s in obj.segments if s.is_executable]

    found = code_ranges(obj)

    assert all(any(a <= r.start < r.end <= b for a, b in loads) for r in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
