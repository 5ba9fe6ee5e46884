"""Getters of C libraries, as their compilers wrote them."""

from __future__ import annotations

import ctypes.util
import subprocess

import pytest

from cgoleak.symbols.code.getters import Field, field_read
from cgoleak.symbols.elf.object_file import ObjectFile
from support.native_build import tool

GLIBC_2_36 = "8b470883e00189063 1c0c3".replace(" ", "")
MUSL_1_2_3 = "8b4718890631c0c3"
GETTER = "int get(const int *from, int *to) { %s; return 0; }"


@pytest.mark.parametrize(
    ("code", "field"),
    [
        (GLIBC_2_36, Field(8, 1)),
        (MUSL_1_2_3, Field(24, 0xFFFFFFFF)),
        ("f30f1efa" + GLIBC_2_36, Field(8, 1)),
        ("8b07890631c0c3", Field(0, 0xFFFFFFFF)),
    ],
)
def test_the_getters_of_libraries_are_understood(code, field):
    assert field_read(bytes.fromhex(code)) == field


@pytest.mark.parametrize(
    "code",
    [
        "",
        "c3",
        "8b470831c0c3",  # stores nothing
        "8b47088906",  # does not end
        "8b470848890631c0c3",  # stores more than it has read
        "8b0d001020008b4708890631c0c3",  # reads something else first
        "e9fbffffff",  # leads elsewhere
        "8b4708238f0000000089063 1c0c3".replace(" ", ""),  # a mask from memory
        "ff",
    ],
)
def test_code_that_does_anything_else_is_not(code):
    assert field_read(bytes.fromhex(code)) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [("*to = from[3]", Field(12, 0xFFFFFFFF)), ("*to = from[2] & 4", Field(8, 4))],
)
def test_what_the_compiler_makes_of_such_a_function_is_understood(tmp_path, body, field):
    (tmp_path / "get.c").write_text(GETTER % body)
    library = tmp_path / "libget.so"
    command = [tool("cc"), "-O2", "-fPIC", "-shared", "-o", library, tmp_path / "get.c"]
    subprocess.run(command, check=True, timeout=60)
    obj = ObjectFile.open(library)
    found = obj.dynamic.symbols.find("get")

    assert found is not None
    assert field_read(obj.read(found[0], 16)) == field


@pytest.mark.skipif(ctypes.util.find_library("c") is None, reason="no C library")
def test_this_machines_attribute_of_detached_threads_is_found():
    loaded = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(64)
    loaded.pthread_attr_init(attributes)
    before = bytes(attributes)
    loaded.pthread_attr_setdetachstate(attributes, 1)
    code = ctypes.string_at(
        ctypes.cast(loaded.pthread_attr_getdetachstate, ctypes.c_void_p).value, 64
    )

    field = field_read(code)

    assert field is not None
    words = [int.from_bytes(raw[field.at : field.at + 4], "little") for raw in (before, attributes)]
    assert [bool(word & field.mask) for word in words] == [False, True]
