"""The built probe depends on nothing, and shows only the names that are asked for."""

from __future__ import annotations

import importlib.util
import platform
from typing import TYPE_CHECKING, Any

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from support.native_build import PROBES, compile_driver, tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.native

EXPORTS = {
    "cgoleak_entry",  # called by the injector
    "cgoleak_header_at",  # found by the driver
    "cgoleak_scan_blocks",  # called by the driver, on its own side
    "cgoleak_sum_rows",
    "cgoleak_weighted_rows",
}
WAY_IN = {f"cgoleak_{name}" for name in ("arrive", "borrow")} | {
    f"cgoleak_borrow_{name}" for name in ("apart", "done", "end", "words")
}
"""Places in the code that a borrowed thread is lent; x86-64 alone has it."""
COMPILERS = {
    "cc": platform.machine(),
    "clang": platform.machine(),
    "aarch64-linux-gnu-gcc": "aarch64",
}


def build_hook() -> Any:
    spec = importlib.util.spec_from_file_location("probes_build_hook", PROBES / "build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=COMPILERS)
def probe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ELFFile]:
    compiler = str(request.param)
    out = tmp_path_factory.mktemp("probe") / "probe.so"
    build_hook().build(out, tool(compiler), COMPILERS[compiler])
    with out.open("rb") as stream:
        yield ELFFile(stream)


def dynamic_symbols(probe: ELFFile) -> dict[str, Any]:
    table = probe.get_section_by_name(".dynsym")
    assert isinstance(table, SymbolTableSection)
    return {symbol.name: symbol for symbol in table.iter_symbols() if symbol.name}


def test_it_has_no_relocations(probe: ELFFile) -> None:
    found = [
        s.name
        for s in probe.iter_sections()
        if isinstance(s, RelocationSection) and s.num_relocations()
    ]

    assert found == []
    dynamic = probe.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    tags = {tag.entry.d_tag for tag in dynamic.iter_tags()}
    assert tags.isdisjoint({"DT_REL", "DT_RELA", "DT_RELR", "DT_JMPREL", "DT_TEXTREL"})


def test_it_needs_no_symbol_and_no_library(probe: ELFFile) -> None:
    undefined = [n for n, s in dynamic_symbols(probe).items() if s["st_shndx"] == "SHN_UNDEF"]
    dynamic = probe.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)

    assert undefined == []
    assert [tag.entry.d_tag for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"] == []


def test_it_exports_its_names_and_no_other(probe: ELFFile) -> None:
    names = {
        name
        for name, symbol in dynamic_symbols(probe).items()
        if symbol["st_info"]["bind"] in {"STB_GLOBAL", "STB_WEAK"}
    }

    expected = EXPORTS | WAY_IN if probe["e_machine"] == "EM_X86_64" else EXPORTS
    assert names == expected


def test_it_has_no_thread_local_storage(probe: ELFFile) -> None:
    assert [s for s in probe.iter_segments() if s["p_type"] == "PT_TLS"] == []


def test_no_segment_is_writable_and_executable_and_nor_is_the_stack(probe: ELFFile) -> None:
    flags = {s["p_type"]: s["p_flags"] for s in probe.iter_segments()}
    loaded = [s["p_flags"] for s in probe.iter_segments() if s["p_type"] == "PT_LOAD"]

    assert not flags["PT_GNU_STACK"] & 1
    assert any(flag & 1 for flag in loaded)
    assert [flag for flag in loaded if flag & 1 and flag & 2] == []


def test_it_runs_no_code_when_it_is_loaded(probe: ELFFile) -> None:
    dynamic = probe.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    tags = {tag.entry.d_tag for tag in dynamic.iter_tags()}

    assert tags.isdisjoint({"DT_INIT", "DT_INIT_ARRAY", "DT_FINI", "DT_FINI_ARRAY"})


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_warning_is_an_error_and_there_is_none(tmp_path: Path, compiler: str) -> None:
    flags = build_hook().flags_for(tool(compiler), COMPILERS[compiler])

    assert {"-Wall", "-Wextra", "-Werror"} <= set(flags)
    compile_driver(
        PROBES / "probe.c",
        tmp_path / "probe.o",
        *flags,
        "-c",
        "-Wno-unused-command-line-argument",
        cc=compiler,
    )


def test_the_build_number_tells_the_sources_apart(tmp_path: Path) -> None:
    hook = build_hook()
    for file in PROBES.glob("*.[ch]"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = hook.build_number()
    hook.HERE = tmp_path
    assert hook.build_number() == before

    (tmp_path / "layout.h").write_text((PROBES / "layout.h").read_text() + "\n")

    assert hook.build_number() != before
