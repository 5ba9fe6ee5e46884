from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import pytest

from cgoleak.errors import SymbolError
from cgoleak.symbols.elf.object_file import EM_AARCH64, EM_X86_64, ObjectFile
from cgoleak.symbols.elf.symbol_table import SymbolTable
from support.elf_build import LIBRARY_C, build, require, run, without_section_headers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native


def relocations_by_readelf(path: Path) -> set[tuple[int, str]]:
    """(offset, symbol) of everything that readelf lists for the dynamic tables."""
    found = set()
    for line in run("readelf", "-rW", "--use-dynamic", path).splitlines():
        row = re.match(r"([0-9a-f]{8,})\s+[0-9a-f]+\s+R_\w+\s+(?:[0-9a-f]+\s+(\S+))?", line)
        if row:
            name = (row[2] or "").split("@")[0]
            found.add((int(row[1], 16), name if not name.isdigit() else ""))
    return found


def test_functions_are_found_by_any_address_inside_them(library: Path) -> None:
    obj = ObjectFile.open(library)
    for line in run("nm", "-S", "--defined-only", library).splitlines():
        row = re.match(r"([0-9a-f]+) ([0-9a-f]+) [tT] (keep|library_\w+)$", line)
        if row is None:
            continue
        start, size = int(row[1], 16), int(row[2], 16)

        assert obj.function_at(start) == (row[3], start, size)
        assert obj.function_at(start + size - 1) == (row[3], start, size)
        assert obj.symbol(row[3]) == (start, size)


def test_an_address_between_functions_belongs_to_none(library: Path) -> None:
    obj = ObjectFile.open(library)
    unused = obj.symbol("library_unused")
    assert unused is not None
    start, size = unused

    assert obj.function_at(start + size) is None  # the first byte of the padding behind it
    assert obj.function_at(0) is None


def test_data_and_thread_local_symbols_have_value_and_size(library: Path) -> None:
    obj = ObjectFile.open(library)
    counter, per_thread = obj.symbol("shared_counter"), obj.symbol("per_thread")

    assert counter is not None
    assert counter[1] == 4
    assert obj.read(*counter) == b"\x03\0\0\0"
    assert per_thread == (0, 4)
    assert obj.symbol("malloc") is None
    assert obj.symbol("counter") is None


def test_relocations_are_those_of_readelf_with_and_without_section_headers(library: Path) -> None:
    require("readelf")
    whole = ObjectFile.open(library)
    bare = ObjectFile(without_section_headers(library.read_bytes()))

    found = {(r.offset_vaddr, r.symbol_name) for r in whole.relocations()}

    assert {"malloc", "strlen", "free"} <= {name for _, name in found}
    assert {pair for pair in relocations_by_readelf(library) if pair[1]} <= found
    assert list(bare.relocations()) == list(whole.relocations())


def test_dynamic_symbols_are_found_without_section_headers(library: Path) -> None:
    whole = ObjectFile.open(library)
    bare = ObjectFile(without_section_headers(library.read_bytes()))
    assert not bare.sections
    entry = whole.symbol("library_entry")
    assert entry is not None

    assert bare.symbol("library_entry") == entry
    assert bare.function_at(entry[0] + 1) == ("library_entry", *entry)
    assert bare.symbol("keep") is None  # static: in .symtab only
    assert bare.is_stripped


def test_the_unwind_tables_are_found_with_and_without_section_headers(library: Path) -> None:
    whole = ObjectFile.open(library)
    bare = ObjectFile(without_section_headers(library.read_bytes()))
    assert whole.eh_frame_hdr is not None
    assert whole.eh_frame is not None

    assert bare.eh_frame_hdr == whole.eh_frame_hdr
    assert bare.eh_frame is not None
    assert bare.eh_frame[0] == whole.eh_frame[0]
    assert bare.eh_frame[1] >= whole.eh_frame[1]


def test_build_id_needed_and_soname_are_read(tmp_path: Path) -> None:
    flags = ("-shared", "-fPIC", "-Wl,--build-id=0x00c0ffee", "-Wl,-soname,libnamed.so.3")
    path = build(tmp_path, "libnamed.so", LIBRARY_C, *flags)

    obj = ObjectFile.open(path)

    assert obj.build_id == "00c0ffee"
    assert obj.soname == "libnamed.so.3"
    assert obj.needed[0].startswith("libc.")
    assert not obj.is_pie
    assert not obj.has_interpreter
    assert ObjectFile(without_section_headers(path.read_bytes())).build_id == "00c0ffee"


def test_programs_tell_whether_they_are_movable(tmp_path: Path) -> None:
    main = "int main(void) { return 0; }"
    fixed = ObjectFile.open(build(tmp_path, "fixed", main, "-no-pie"))
    movable = ObjectFile.open(build(tmp_path, "movable", main, "-pie"))
    static = ObjectFile.open(build(tmp_path, "static", main, "-static"))

    assert [fixed.is_pie, movable.is_pie, static.is_pie] == [False, True, False]
    assert [o.has_interpreter for o in (fixed, movable, static)] == [True, True, False]
    assert movable.arch in ("x86_64", "aarch64")


def test_a_library_for_another_machine_is_read_all_the_same(tmp_path: Path) -> None:
    require("aarch64-linux-gnu-gcc")
    path = tmp_path / "libarm.so"
    (tmp_path / "arm.c").write_text("int answer(void) { return 42; }")
    run("aarch64-linux-gnu-gcc", "-shared", "-nostdlib", "-o", path, tmp_path / "arm.c")

    obj = ObjectFile.open(path)

    assert (obj.machine, obj.arch) == (EM_AARCH64, "aarch64")
    assert obj.machine != EM_X86_64
    assert obj.symbol("answer") is not None


def test_memory_that_is_not_in_the_file_reads_as_none(library: Path) -> None:
    obj = ObjectFile.open(library)
    last = max(s.vaddr + s.filesz for s in obj.segments if s.type == "PT_LOAD")

    assert obj.read(0, 4) == b"\x7fELF"
    assert obj.read(last, 1) is None
    assert obj.read(last - 2, 4) is None
    assert obj.read(1 << 63, 1) is None


def test_the_same_file_is_opened_once_and_a_changed_one_anew(library: Path, tmp_path: Path) -> None:
    link, copy = tmp_path / "link.so", tmp_path / "copy.so"
    link.symlink_to(library)
    copy.write_bytes(library.read_bytes())
    first = ObjectFile.open(copy)

    assert ObjectFile.open(link) is ObjectFile.open(library)
    assert ObjectFile.open(copy) is first
    copy.unlink()
    copy.write_bytes(library.read_bytes() + b"\0")
    assert ObjectFile.open(copy) is not first


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot open"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF\x01\x01" + bytes(60), "not a 64-bit"),
        (b"\x7fELF\x02\x01\x01" + bytes(20), "cut short"),
        (b"\x7fELF\x02\x01\x01" + bytes(57), "neither segments nor sections"),
    ],
)
def test_what_is_not_a_readable_elf_file_is_refused_with_cause_and_fix(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(SymbolError, match=said) as caught:
        ObjectFile.open(path)

    assert caught.value.cause
    assert caught.value.fix


def test_a_missing_file_is_refused_with_cause_and_fix(tmp_path: Path) -> None:
    with pytest.raises(SymbolError, match="cannot open") as caught:
        ObjectFile.open(tmp_path / "gone")

    assert "No such file" in str(caught.value.cause)


def test_functions_are_found_by_their_name_or_by_the_file_that_they_are_local_to():
    """Local symbols stand behind their file's; global ones behind all of them."""
    strings = b"\0a.cgo2.c\0inner\0b.c\0other\0_cgo_0a_Cfunc_make\0make\0"
    kinds = [
        ("a.cgo2.c", 4, 0, 0xFFF1, 0),
        ("inner", 2, 0, 1, 0x100),
        ("b.c", 4, 0, 0xFFF1, 0),
        ("other", 2, 0, 1, 0x200),
        ("_cgo_0a_Cfunc_make", 2, 1, 1, 0x300),
        ("make", 2, 1, 1, 0x400),
    ]
    entries = bytes(24) + b"".join(
        struct.pack(
            "<IBBHQQ",
            strings.index(b"\0" + name.encode() + b"\0") + 1,
            binding << 4 | kind,
            0,
            section,
            value,
            16,
        )
        for name, kind, binding, section, value in kinds
    )

    found = SymbolTable(entries, strings).functions_of(
        re.compile("_cgo_[0-9a-f]+_C2?func_"), re.compile(r".*\.cgo2\.c")
    )

    assert found == {0x100, 0x300}
