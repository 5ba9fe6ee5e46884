"""Files whose bytes were flipped or cut off: SymbolError or less, never anything else, and soon."""

from __future__ import annotations

import random
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgoleak.errors import SymbolError
from cgoleak.model.capture import Module
from cgoleak.model.ids import Address
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.symbols.go.buildinfo import read_build_info
from cgoleak.symbols.go.pclntab import GoTable
from cgoleak.symbols.resolver import Resolver
from support.elf_build import PROGRAM_CPP, build, build_library
from support.go_build import STRIPPED_PIE, build_worker, go_programs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native

SECONDS = 5.0
"""The time a damaged file may take, on a loaded machine; an idle one needs less than one."""

RUNS = settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Original(bytes):
    """A whole file; its repr stays short when Hypothesis tells of a failure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<file of {len(self)} bytes>"


@pytest.fixture(scope="module", params=["c", "c++", "go"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(built(request.param, tmp_path_factory))


def built(kind: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder: Path = tmp_path_factory.mktemp("damage")
    if kind == "c":
        return build_library(folder, "liball.so", "-O2", "-g", "-gdwarf-5").read_bytes()
    if kind == "c++":
        return build(folder, "program++", PROGRAM_CPP, "-O2", "-g", "-gdwarf-4").read_bytes()
    if not go_programs() or shutil.which("gcc") is None:
        pytest.skip("there is no Go, or no gcc")
    return build_worker(folder, go_programs()[0], *STRIPPED_PIE).read_bytes()


def use_all(content: bytes) -> None:
    """Ask everything that can be asked of a file."""
    try:
        obj = ObjectFile(content)
    except SymbolError:
        return
    assert isinstance(obj.build_id, str)
    assert obj.interpreter is None or isinstance(obj.interpreter, str)
    seen = [obj.is_pie, obj.needed, obj.soname, obj.eh_frame, obj.eh_frame_hdr]
    seen += [sum(1 for _ in obj.relocations()), sum(1 for _ in obj.symbols.functions())]
    seen += [obj.symbol("main"), obj.read(0x1000, 64), read_build_info(obj)]
    table = GoTable.from_object(obj)
    spots = [s.vaddr + step * 97 for s in obj.segments if s.is_executable for step in range(200)]
    if table is not None:
        seen += [table.entries("runtime.goexit"), sum(1 for _ in table.functions())]
        spots += list(range(table.text_range()[0], table.text_range()[0] + 40_000, 199))
    module = Module("/damaged/file", "", 0, Address(0), Address(1 << 64))
    resolver = Resolver([module], lambda _: obj)
    for spot in spots:
        assert resolver.frames(Address(spot + 1)) or spot + 1 >= 1 << 64
    assert len(resolver.notices) <= 3


def in_time(content: bytes) -> None:
    begin = time.process_time()
    use_all(content)
    assert time.process_time() - begin < SECONDS


@RUNS
@given(seed=st.integers(0, 1 << 32), count=st.sampled_from([1, 8, 200, 5000]))
def test_flipped_bytes_are_survived(original: Original, seed: int, count: int) -> None:
    rng = random.Random(seed)
    content = bytearray(original)
    for _ in range(count):
        content[rng.randrange(len(content))] = rng.choice(
            (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
        )

    in_time(bytes(content))


@RUNS
@given(seed=st.integers(0, 1 << 32), count=st.integers(1, 12))
def test_flipped_bytes_of_the_headers_are_survived(
    original: Original, seed: int, count: int
) -> None:
    rng = random.Random(seed)
    content = bytearray(original)
    section_headers = int.from_bytes(content[0x28:0x30], "little")
    for _ in range(count):
        start, size = rng.choice([(16, 48), (64, 800), (section_headers, 2500)])
        content[min(start + rng.randrange(size), len(content) - 1)] = rng.choice((0, 0x7F, 0xFF))

    in_time(bytes(content))


@RUNS
@given(
    seed=st.integers(0, 1 << 32),
    section=st.sampled_from(
        [
            ".debug_info",
            ".debug_abbrev",
            ".debug_line",
            ".debug_ranges",
            ".debug_rnglists",
            ".debug_aranges",
            ".symtab",
            ".dynamic",
            ".gopclntab",
            ".rela.dyn",
            ".go.buildinfo",
        ]
    ),
)
def test_flipped_bytes_of_one_table_are_survived(
    original: Original, seed: int, section: str
) -> None:
    found = ObjectFile(original).sections.get(section)
    if found is None or not found.size:
        return
    rng = random.Random(seed)
    content = bytearray(original)
    for _ in range(rng.choice((1, 20, 500))):
        place = found.offset + rng.randrange(min(found.size, rng.choice((64, found.size))))
        content[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))

    in_time(bytes(content))


@RUNS
@given(share=st.floats(0, 1))
def test_files_cut_short_are_survived(original: Original, share: float) -> None:
    in_time(original[: int(len(original) * share)])


@RUNS
@given(content=st.binary(max_size=400))
def test_bytes_that_begin_like_elf_are_survived(content: bytes) -> None:
    in_time(b"\x7fELF\x02\x01\x01" + bytes(9) + content)
