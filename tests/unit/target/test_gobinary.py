"""What the target's ELF files say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.errors import NoSuchProcess
from cgoleak.target.gobinary import find_libc, read_binary
from cgoleak.target.kernel.procfs import parse_maps
from support.elfbytes import an_elf
from support.proctree import a_process


def binary_of(tmp_path, content):
    exe = tmp_path / "worker"
    exe.write_bytes(content)
    a_process(tmp_path / "proc", 42, exe=exe)
    return read_binary(42, tmp_path / "proc")


def test_a_dynamic_cgo_program_is_described(tmp_path):
    binary = binary_of(tmp_path, an_elf(sections=(".text", ".symtab", ".debug_info")))

    assert binary.is_go
    assert binary.uses_cgo
    assert binary.go_version == "go1.24.3"
    assert binary.settings == {"CGO_ENABLED": "1"}
    assert binary.arch == "amd64"
    assert binary.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert binary.has_dwarf
    assert not binary.stripped
    assert not binary.position_independent


def test_a_program_without_symtab_is_stripped(tmp_path):
    assert binary_of(tmp_path, an_elf(sections=(".text",), pie=True)).stripped


def test_build_settings_longer_than_one_varint_byte_are_read(tmp_path):
    settings = "build\t-ldflags=" + "x" * 300 + "\nbuild\tCGO_ENABLED=0\n"

    binary = binary_of(tmp_path, an_elf(settings=settings, cgo=False))

    assert binary.settings["CGO_ENABLED"] == "0"
    assert not binary.uses_cgo


def test_a_program_with_go_sections_but_no_build_information_is_go(tmp_path):
    binary = binary_of(tmp_path, an_elf(go_version=None, sections=(".text", ".gopclntab")))

    assert binary.is_go
    assert binary.go_version is None


def test_a_c_program_is_not_go_even_if_it_mentions_cgo(tmp_path):
    binary = binary_of(tmp_path, an_elf(go_version=None, cgo=True))

    assert not binary.is_go
    assert not binary.uses_cgo


@pytest.mark.parametrize(("bits", "machine", "arch"), [(32, 3, "386"), (64, 183, "arm64")])
def test_foreign_machines_are_named(tmp_path, bits, machine, arch):
    binary = binary_of(tmp_path, an_elf(bits=bits, machine=machine))

    assert (binary.arch, binary.bits) == (arch, bits)


def test_a_script_is_no_elf_file(tmp_path):
    binary = binary_of(tmp_path, b"#!/bin/sh\nexit 0\n" * 10)

    assert (binary.arch, binary.is_go) == (None, False)


@pytest.mark.parametrize("size", [0, 3, 16, 63, 64, 100, 180, 200, 260])
def test_a_torn_file_gives_fewer_facts_and_no_exception(tmp_path, size):
    binary = binary_of(tmp_path, an_elf()[:size])

    assert binary.path.endswith("worker")


@settings(max_examples=50)
@given(st.data())
def test_flipped_bytes_never_raise(tmp_path_factory, data):
    content = bytearray(an_elf())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))

    binary = binary_of(tmp_path_factory.mktemp("flip"), bytes(content))

    assert isinstance(binary.is_go, bool)


def test_a_process_that_is_gone_is_said_to_be(tmp_path):
    with pytest.raises(NoSuchProcess):
        read_binary(42, tmp_path)


def libc_of(tmp_path, path, content):
    file = tmp_path / "rootfs" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    folder = a_process(tmp_path / "proc", 42)
    (folder / "root").symlink_to(tmp_path / "rootfs")
    line = f"1000-2000 r-xp 00000000 fe:00 12 /{path}\n".encode()
    return find_libc(42, parse_maps(line), tmp_path / "proc")


GLIBC = b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nCopyright\0"


def test_glibc_gives_its_version_through_the_root_of_the_target(tmp_path):
    libc = libc_of(tmp_path, "lib/libc.so.6", GLIBC)

    assert str(libc) == "glibc 2.36"


def test_the_old_file_name_of_glibc_is_known(tmp_path):
    assert str(libc_of(tmp_path, "lib/libc-2.31.so", GLIBC)) == "glibc 2.36"


def test_musl_is_known_by_its_loader(tmp_path):
    libc = libc_of(tmp_path, "lib/ld-musl-x86_64.so.1", b"musl libc (x86_64)\0" + b"\x001.2.5\0")

    assert str(libc) == "musl 1.2.5"


def test_musl_under_the_name_libc_so_is_known_by_its_content(tmp_path):
    libc = libc_of(tmp_path, "usr/lib/musl/lib/libc.so", b"\x001.2.3\0musl libc (x86_64)\0")

    assert str(libc) == "musl 1.2.3"


def test_a_libc_whose_file_is_gone_has_no_version():
    line = b"1000-2000 r-xp 0 fe:00 12 /gone/libc.so.6 (deleted)\n"

    assert str(find_libc(2**22 + 1, parse_maps(line))) == "glibc"


@pytest.mark.parametrize("name", ["libcrypto.so.3", "libc++.so.1", "libclang.so", "xlibc.so.6"])
def test_other_libraries_are_not_taken_for_a_libc(name):
    line = f"1000-2000 r-xp 0 fe:00 12 /lib/{name}\n".encode()

    assert find_libc(1, parse_maps(line)) is None
