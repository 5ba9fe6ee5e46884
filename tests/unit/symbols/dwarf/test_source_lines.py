from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cgoleak.symbols.dwarf.source_lines import DebugInfo
from cgoleak.symbols.elf.object_file import ObjectFile
from support.elf_build import LIBRARY_C, addr2line, build_library, require, run

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.symbols.dwarf.source_lines import DebugFrame

pytestmark = pytest.mark.native


def line_of(source: str, text: str) -> int:
    return next(i for i, line in enumerate(source.splitlines(), 1) if text in line)


def addresses_in(obj: ObjectFile, *names: str) -> list[int]:
    functions = [f for f in obj.symbols.functions() if f.size and f.name.startswith(names)]
    assert functions
    return [a for f in functions for a in range(f.start, f.start + f.size, 3)]


def places(frames: tuple[DebugFrame, ...]) -> list[str]:
    return [f"{frame.file}:{frame.line or '?'}" for frame in frames]


def frames_of_call(obj: ObjectFile, path: Path, callee: str, caller: str) -> tuple[str, ...]:
    """Names at the first call of ``callee`` in the code of ``caller``, innermost first."""
    text = run("objdump", "-d", "--no-show-raw-insn", f"--disassemble={caller}", path)
    call = next(line for line in text.splitlines() if "call" in line and callee in line)
    frames = DebugInfo(obj).frames(int(call.split(":")[0], 16))
    return tuple(f"{f.function}:{f.line}{' inlined' if f.inlined else ''}" for f in frames)


@pytest.mark.parametrize("flags", [("-O2",), ("-O2", "-gz"), ("-O0",), ("-O2", "-gdwarf-3")])
def test_lines_of_c_are_those_of_addr2line(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = build_library(tmp_path, "liball.so", "-g", "-gdwarf-4", *flags)
    obj = ObjectFile.open(path)
    info = DebugInfo(obj)
    addresses = addresses_in(obj, "keep", "library_entry", "library_unused")

    for address, told in addr2line(path, addresses).items():
        assert places(info.frames(address)) == [place for _, place in told], hex(address)


def test_lines_and_inlined_calls_of_cpp_are_those_of_addr2line(cpp_program: Path) -> None:
    obj = ObjectFile.open(cpp_program)
    info = DebugInfo(obj)
    addresses = addresses_in(obj, "_ZN3alg3add", "main", "_ZNSt6vector")
    deepest = 0

    for address, told in addr2line(cpp_program, addresses).items():
        frames = info.frames(address)
        assert places(frames) == [place for _, place in told], hex(address)
        assert all(frame.is_cpp for frame in frames)
        deepest = max(deepest, len(frames))
    assert deepest > 4


@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_an_inlined_allocator_is_a_frame_of_its_own(tmp_path: Path, version: str) -> None:
    path = build_library(tmp_path, "liball.so", "-O2", "-g", version)

    names = frames_of_call(ObjectFile.open(path), path, "malloc", "keep")

    allocation = line_of(LIBRARY_C, "malloc(size + 1)")
    call = line_of(LIBRARY_C, "grow(strlen(text))")
    assert names == (f"grow:{allocation} inlined", f"keep:{call}")


def test_the_cold_part_of_a_function_keeps_the_name_of_the_whole(cpp_program: Path) -> None:
    obj = ObjectFile.open(cpp_program)
    cold = next(f for f in obj.symbols.functions() if f.name == "_ZN3alg3addEPKci.cold")

    frames = DebugInfo(obj).frames(cold.start)

    assert frames[-1].function == "_ZN3alg3addEPKci"
    assert not frames[-1].inlined


def test_code_without_debug_information_has_no_frames(tmp_path: Path) -> None:
    path = build_library(tmp_path, "libbare.so", "-O2", "-g0")
    obj = ObjectFile.open(path)

    info = DebugInfo(obj)

    assert not info
    assert info.frames(addresses_in(obj, "library_entry")[0]) == ()


def test_units_without_address_ranges_are_found_by_their_roots(tmp_path: Path) -> None:
    path = build_library(tmp_path)
    bare = tmp_path / "noranges.so"
    run("objcopy", "--remove-section=.debug_aranges", path, bare)
    whole, obj = ObjectFile.open(path), ObjectFile.open(bare)
    address = addresses_in(whole, "keep")[0]

    assert DebugInfo(obj).frames(address) == DebugInfo(whole).frames(address) != ()


def test_clang_reads_like_gcc(tmp_path: Path) -> None:
    require("clang")
    source = tmp_path / "liball.c"
    source.write_text(LIBRARY_C)
    for version in ("-gdwarf-4", "-gdwarf-5"):
        path = tmp_path / f"libclang{version}.so"
        run("clang", "-shared", "-fPIC", "-O2", "-g", version, source, "-o", path)

        names = frames_of_call(ObjectFile.open(path), path, "malloc", "keep")

        assert [name.split(":")[0] for name in names] == ["grow", "keep"], version
        assert names[0].endswith(f":{line_of(LIBRARY_C, 'malloc(size + 1)')} inlined")
