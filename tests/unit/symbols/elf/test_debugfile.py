from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest

from cgoleak.symbols.elf.debugfile import find_debug_file, packed_symbols
from cgoleak.symbols.elf.object_file import ObjectFile
from support.elf_build import build_library, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native

INSIDE = "/opt/app/liball.so"
"""Where the stripped library is in the container whose root the tests make."""


class SplitLibrary:
    """A library stripped into a root folder, and its debug file beside the root."""

    def __init__(self, folder: Path, *, linked: bool) -> None:
        whole = build_library(folder)
        self.root = folder / "root"
        self.path = self.root / INSIDE[1:]
        self.path.parent.mkdir(parents=True)
        self.debug = folder / "liball.so.debug"
        run("objcopy", "--only-keep-debug", whole, self.debug)
        run("strip", "-o", self.path, whole)
        if linked:
            run("objcopy", f"--add-gnu-debuglink={self.debug}", self.path)
        self.obj = ObjectFile.open(self.path)

    def place(self, relative: str, content: bytes | None = None) -> None:
        target = self.root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.debug.read_bytes() if content is None else content)

    def find(self) -> ObjectFile | None:
        return find_debug_file(self.obj, INSIDE, self.root)


@pytest.mark.parametrize(
    "place",
    [
        "opt/app/liball.so.debug",
        "opt/app/.debug/liball.so.debug",
        "usr/lib/debug/opt/app/liball.so.debug",
    ],
)
def test_a_linked_debug_file_is_found_where_gdb_finds_it(tmp_path: Path, place: str) -> None:
    split = SplitLibrary(tmp_path, linked=True)
    assert split.find() is None
    split.place(place)

    found = split.find()

    assert found is not None
    assert found.symbol("keep") is not None
    assert split.obj.symbol("keep") is None


def test_a_linked_debug_file_of_another_build_is_refused(tmp_path: Path) -> None:
    split = SplitLibrary(tmp_path, linked=True)
    changed = bytearray(split.debug.read_bytes())
    changed[-1] ^= 1
    split.place("opt/app/liball.so.debug", bytes(changed))

    assert split.find() is None


def test_a_debug_file_is_found_by_its_build_id(tmp_path: Path) -> None:
    split = SplitLibrary(tmp_path, linked=False)
    build_id = split.obj.build_id
    assert len(build_id) == 40
    split.place(f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")

    found = split.find()

    assert found is not None
    assert found.build_id == build_id


def test_a_file_under_the_wrong_build_id_is_refused(tmp_path: Path) -> None:
    split = SplitLibrary(tmp_path, linked=False)
    other = tmp_path / "other"
    other.mkdir()
    content = build_library(other, "libother.so", "-O1", "-g").read_bytes()
    build_id = split.obj.build_id
    split.place(f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug", content)

    assert split.find() is None


def packed_into(path: Path, packed: bytes) -> ObjectFile:
    payload = path.with_suffix(".xz")
    payload.write_bytes(packed)
    target = path.with_name("packed.so")
    run("objcopy", f"--add-section=.gnu_debugdata={payload}", path, target)
    return ObjectFile(target.read_bytes())


def test_symbols_packed_into_the_file_are_read(tmp_path: Path) -> None:
    split = SplitLibrary(tmp_path, linked=False)
    small = tmp_path / "small"
    run("objcopy", "-S", "--keep-symbol=keep", tmp_path / "liball.so", small)
    run("objcopy", "--only-keep-debug", tmp_path / "liball.so", small)

    obj = packed_into(split.path, lzma.compress(small.read_bytes()))
    found = packed_symbols(obj)

    assert found is not None
    assert found.symbol("keep") is not None


@pytest.mark.parametrize(
    "packed", [b"nonsense", lzma.compress(b"not ELF"), lzma.compress(bytes(99))[:40]]
)
def test_packed_symbols_that_are_damaged_are_none(tmp_path: Path, packed: bytes) -> None:
    split = SplitLibrary(tmp_path, linked=False)

    assert packed_symbols(packed_into(split.path, packed)) is None
    assert packed_symbols(split.obj) is None


def test_packed_symbols_that_unpack_to_a_flood_are_none(tmp_path: Path) -> None:
    split = SplitLibrary(tmp_path, linked=False)
    flood = lzma.compress(bytes(65 << 20), preset=0)

    assert packed_symbols(packed_into(split.path, flood)) is None
