from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cgoleak.errors import SymbolError
from cgoleak.model.capture import Module, RawStack
from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import Address, StackId
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.symbols.go.pclntab import GoTable
from cgoleak.symbols.resolver import Resolver, seal
from support.elf_build import LIBRARY_C, build, build_library, run
from support.go_build import ALG_C, STRIPPED_PIE, build_worker, go_programs

if TYPE_CHECKING:
    from pathlib import Path

    from support.go_build import WorkerBuilds

pytestmark = pytest.mark.native

BIAS = 0x7F00_0000_0000


def a_module(path: Path | str, *, bias: int = BIAS, size: int = 1 << 24) -> Module:
    return Module(str(path), "", bias, Address(bias), Address(bias + size))


def open_path(module: Module) -> ObjectFile:
    return ObjectFile.open(module.path)


def line_of(source: str, text: str) -> int:
    return next(i for i, line in enumerate(source.splitlines(), 1) if text in line)


def return_addresses(path: Path, callee: str, caller: str = "") -> list[int]:
    """Addresses after the calls of ``callee``, as the file counts."""
    only = [f"--disassemble={caller}"] if caller else ["-d"]
    lines = run("objdump", "--no-show-raw-insn", *only, path).splitlines()
    return [
        int(after.split(":")[0], 16)
        for line, after in pairwise(lines)
        if "call" in line and callee in line and ":\t" in after
    ]


def a_resolver(path: Path, **options: Path) -> Resolver:
    return Resolver([a_module(path)], open_path, **options)


def test_c_frames_have_function_file_line_and_module(library: Path) -> None:
    (address,) = return_addresses(library, "<malloc", "keep")
    resolver = a_resolver(library)

    frames = resolver.frames(Address(BIAS + address))

    file = str(library) + ".c"
    assert frames == (
        Frame(Language.C, "grow", file, line_of(LIBRARY_C, "malloc("), "liball.so", inlined=True),
        Frame(Language.C, "keep", file, line_of(LIBRARY_C, "grow(strlen"), "liball.so"),
    )
    assert resolver.notices == ()


def test_cpp_frames_are_demangled(cpp_program: Path) -> None:
    address = return_addresses(cpp_program, "<_Znwm", "_ZN3alg3addEPKci")[0]

    frames = a_resolver(cpp_program).frames(Address(BIAS + address))

    assert {frame.lang for frame in frames} == {Language.CPP}
    assert frames[-1].function == "alg::add(char const*, int)"
    assert any("make_unique" in frame.function and frame.inlined for frame in frames)


def test_go_and_c_of_one_program_are_told_apart(workers: WorkerBuilds) -> None:
    path = workers.get()
    resolver = a_resolver(path)

    obj = ObjectFile.open(path)
    table = GoTable.from_object(obj)
    assert table is not None

    def inside(name: str) -> Frame:
        start = (table.entries(name) or [obj.symbol(name) or (0, 0)])[0][0]
        return resolver.frames(Address(BIAS + start + 2))[-1]

    (call,) = return_addresses(path, "<goCallback", "step")
    step = resolver.frames(Address(BIAS + call))[-1]
    assert (step.lang, step.function) == (Language.C, "step")
    assert step.line == line_of(ALG_C, "goCallback(n);")
    assert step.file is not None
    assert step.file.endswith("/alg.c")
    assert inside("alg_run").lang is Language.C
    assert inside("goCallback").lang is Language.BRIDGE
    assert inside("main._Cfunc_alg_run").lang is Language.BRIDGE
    assert inside("main.main").lang is Language.GO
    assert inside("runtime.asmcgocall").lang is Language.RUNTIME
    assert resolver.notices == ()


def test_go_frames_of_a_stripped_program_are_whole_and_c_frames_cost_one_notice(
    workers: WorkerBuilds,
) -> None:
    path = workers.get(*STRIPPED_PIE)
    obj = ObjectFile.open(path)
    outside = max(s.vaddr + 16 for s in obj.segments if s.is_executable)
    resolver = a_resolver(path)

    for offset in (0, 8):
        (frame,) = resolver.frames(Address(BIAS + outside + offset))
        assert frame == Frame(
            Language.UNKNOWN, f"{path.name}+{outside + offset:#x}", module=path.name
        )
    (notice,) = resolver.notices
    assert notice.code == "symbols.stripped"
    assert str(path) in notice.text


def test_c_objects_that_gos_own_linker_took_in_are_not_called_go(tmp_path: Path) -> None:
    if not go_programs():
        pytest.skip("there is no Go on the PATH")
    path = build_worker(
        tmp_path, go_programs()[0], "-ldflags=-linkmode=internal", only="runtime/cgo"
    )
    start = ObjectFile.open(path).symbol("x_cgo_thread_start")
    assert start is not None

    frames = a_resolver(path).frames(Address(BIAS + start[0] + 8))

    assert [(f.lang, f.function) for f in frames] == [(Language.BRIDGE, "x_cgo_thread_start")]


def test_clone_suffixes_are_not_part_of_a_name(tmp_path: Path) -> None:
    source = (
        "int other(int);\n"
        'int renamed(int n) __asm__("work.constprop.0");\n'
        "int renamed(int n) { return other(n) + 1; }\n"
    )
    path = build(tmp_path, "libclone.so", source, "-shared", "-fPIC", "-g0", "-O1")
    (address,) = return_addresses(path, "<other")
    resolver = a_resolver(path)

    (frame,) = resolver.frames(Address(BIAS + address))

    assert frame == Frame(Language.C, "work", module="libclone.so")
    assert [notice.code for notice in resolver.notices] == ["symbols.no-dwarf"]


def test_a_stripped_library_with_a_debug_file_reads_like_the_whole_one(tmp_path: Path) -> None:
    whole = build_library(tmp_path)
    (address,) = return_addresses(whole, "<malloc", "keep")
    expected = a_resolver(whole).frames(Address(BIAS + address))
    root = tmp_path / "root"
    build_id = ObjectFile.open(whole).build_id
    debug = root / "usr/lib/debug/.build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    debug.parent.mkdir(parents=True)
    run("objcopy", "--only-keep-debug", whole, debug)
    stripped = tmp_path / "stripped" / "liball.so"
    stripped.parent.mkdir()
    run("strip", "-o", stripped, whole)

    resolver = a_resolver(stripped, root=root)

    assert resolver.frames(Address(BIAS + address)) == expected
    assert resolver.notices == ()


def test_a_call_at_the_very_end_of_a_function_belongs_to_it(library: Path) -> None:
    entry = ObjectFile.open(library).symbol("library_entry")
    assert entry is not None

    frames = a_resolver(library).frames(Address(BIAS + entry[0] + entry[1]))

    assert frames[-1].function == "library_entry"


def test_a_module_that_cannot_be_opened_costs_one_notice_and_no_other_module(
    library: Path,
) -> None:
    (address,) = return_addresses(library, "<malloc", "keep")
    gone = a_module("/gone/libgone.so (deleted)", bias=0x1000_0000)
    odd = a_module("[vdso]", bias=0x3000_0000, size=0x1000)

    def open_module(module: Module) -> ObjectFile:
        if module is odd:
            raise SymbolError("cannot read [vdso]")
        return open_path(module)

    stack = RawStack(
        StackId(1),
        tuple(
            Address(a)
            for a in (BIAS + address, 0, 0x1000_0234, 0x1000_0567, 0x3000_0010, 0x9999_0000_0000)
        ),
    )

    frames, notices = seal([stack], [gone, odd, a_module(library)], open_module)

    assert [f.function for f in frames[Address(BIAS + address)]] == ["grow", "keep"]
    assert frames[Address(0x1000_0234)] == (
        Frame(Language.UNKNOWN, "libgone.so+0x234", module="libgone.so"),
    )
    assert frames[Address(0x3000_0010)][0].function == "[vdso]+0x10"
    assert Address(0) not in frames
    assert Address(0x9999_0000_0000) not in frames
    assert [notice.code for notice in notices] == ["symbols.missing-file"]
    assert notices[0].fix
