"""The Go reader against real programs, which say themselves what it should find."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from elftools.elf.elffile import ELFFile

from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import GoMemory
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.symbols.go.pclntab import GoTable
from cgoleak.target.go.heap import NO_LIMIT, GoHeap
from cgoleak.target.go.layout import GoLayout, layout_for
from cgoleak.target.go.runtime import GoProbeParameters, Span, probe_parameters
from cgoleak.target.go.sites import go_sites
from cgoleak.target.go.variables import GoGlobals, locate_globals
from cgoleak.target.go.version import go_minor
from support.go_programs import (
    SELF_REPORTING,
    Running,
    build_go,
    go_commands,
    missing_tools,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elftools.dwarf.die import DIE

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

SHAPES = {
    "exe": [],
    "pie": ["-buildmode=pie"],
    "exe-s-w": ["-ldflags=-s -w"],
    "pie-s-w": ["-buildmode=pie", "-ldflags=-s -w"],
    "exe-strip": [],
    "pie-strip": ["-buildmode=pie"],
}


class Program(NamedTuple):
    """A program that was built, with what the reader makes of its file."""

    path: Path
    go: str
    exe: ObjectFile
    table: GoTable
    layout: GoLayout
    variables: GoGlobals

    def bias(self, process: Running) -> int:
        return process.bias(self.path) if self.exe.type == 3 else 0

    def heap(self, process: Running) -> GoHeap:
        return GoHeap(self.variables.moved(self.bias(process)), self.layout, process.read)

    def parameters(self, process: Running) -> GoProbeParameters:
        found = probe_parameters(
            self.exe, self.table, self.layout, bias=self.bias(process), read=process.read
        )
        assert isinstance(found, GoProbeParameters), found
        return found


def version_of(go: str) -> str:
    answer = subprocess.run([go, "version"], check=True, capture_output=True, text=True)
    return answer.stdout.split()[2]


@pytest.fixture(scope="session", params=go_commands(), ids=version_of)
def go(request: pytest.FixtureRequest) -> str:
    command = str(request.param)
    if layout_for(version_of(command)) is None:
        pytest.skip(f"no layout for {version_of(command)}")
    return command


@pytest.fixture(scope="session", params=SHAPES)
def program(
    request: pytest.FixtureRequest, go: str, tmp_path_factory: pytest.TempPathFactory
) -> Program:
    shape = str(request.param)
    path = build_go(tmp_path_factory.mktemp(shape), go, SELF_REPORTING, SHAPES[shape])
    if shape.endswith("strip"):
        subprocess.run([shutil.which("strip") or "strip", str(path)], check=True, timeout=60)
    exe = ObjectFile.open(path)
    table = GoTable.from_object(exe)
    layout = layout_for(version_of(go))
    assert table is not None
    assert layout is not None
    return Program(path, go, exe, table, layout, locate_globals(exe, table.functions()))


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"FREE_OS_MEMORY": "1"},
        {"GOGC": "off"},
        {"GOGC": "37"},
        {"GOGC": "off", "GOMEMLIMIT": "150MiB"},
    ],
    ids=str,
)
def test_the_numbers_are_those_of_readmemstats(
    program: Program, environment: dict[str, str]
) -> None:
    with running(program.path, "plain", environment) as process:
        found = program.heap(process).memory()

    assert isinstance(found, GoMemory), found
    said = process.go
    parts = ("MSpanSys", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys")
    ours = {
        "HeapInuse": found.heap_in_use,
        "HeapIdle": found.heap_free + found.heap_released,
        "HeapAlloc": found.total_alloc - found.total_free,
        "TotalAlloc": found.total_alloc,
        "StackInuse": found.stacks_in_use,
        "StackSys": found.stacks_in_use + found.stacks_sys,
        "NextGC": found.heap_goal,
        "LastGC": found.last_gc_unix_ns,
        "NumGC": found.gc_cycles,
        "NumForcedGC": found.forced_gc_cycles,
    }
    # The scavenger may work between the two readings; a new thread may take a span for its stack.
    slack = dict.fromkeys(("HeapInuse", "HeapIdle", "StackInuse", "StackSys"), 256 << 10)
    if environment.get("GOGC") == "off":
        # The goal comes from the memory limit, and moves with everything that counts against it.
        slack["NextGC"] = 512 << 10
    wrong = {
        name: (value, said[name])
        for name, value in ours.items()
        if abs(value - said[name]) > slack.get(name, 0)
    }
    assert wrong == {}
    assert abs(found.metadata - sum(said[part] for part in parts)) <= 512 << 10
    assert found.gc_percent == {"off": -1, "37": 37}.get(environment.get("GOGC", ""), 100)
    assert found.memory_limit == (150 << 20 if "GOMEMLIMIT" in environment else NO_LIMIT)


def test_the_numbers_are_those_of_runtime_metrics(program: Program) -> None:
    with running(program.path) as process:
        found = program.heap(process).memory()

    assert isinstance(found, GoMemory), found
    said = process.go
    released = said["/memory/classes/heap/released:bytes"]
    in_use = said["/memory/classes/heap/objects:bytes"] + said["/memory/classes/heap/unused:bytes"]
    assert abs(found.heap_in_use - in_use) <= 256 << 10
    assert found.heap_released >= released - (256 << 10)
    assert found.heap_free <= said["/memory/classes/heap/free:bytes"] + (256 << 10)
    assert abs(found.stacks_in_use - said["/memory/classes/heap/stacks:bytes"]) <= 256 << 10
    # 48 of 64 MiB were dropped before the last collection.
    assert found.heap_in_use >= 16 << 20
    assert found.heap_free + found.heap_released >= 40 << 20


def test_a_process_that_allocates_and_collects_all_the_time_can_be_read(program: Program) -> None:
    with running(program.path, "busy") as process:
        heap = program.heap(process)
        found = [heap.memory() for _ in range(200)]

    refused = {one.text for one in found if isinstance(one, Notice)}
    assert refused == set()
    numbers = [one for one in found if isinstance(one, GoMemory)]
    assert len({one.total_alloc for one in numbers}) > 1
    assert all(16 << 20 <= one.heap_in_use <= 4 << 30 for one in numbers)


def test_the_arenas_hold_the_heap(program: Program) -> None:
    with running(program.path) as process:
        heap = program.heap(process)
        arenas = heap.arenas()
        found = heap.memory()
        maps = Path(f"/proc/{process.pid}/smaps").read_text(encoding="utf-8")

    assert isinstance(found, GoMemory)
    resident = 0
    inside = False
    for line in maps.splitlines():
        if spot := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            start = int(spot[1], 16)
            inside = any(low <= start < high for low, high in arenas)
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1]) << 10
    wanted = found.heap_in_use + found.heap_free + found.stacks_in_use
    assert 16 << 20 <= resident <= wanted + (1 << 20)


def test_stripping_changes_no_address(go: str, tmp_path: Path) -> None:
    path = build_go(tmp_path, go, SELF_REPORTING)
    with_symbols = ObjectFile.open(path)
    stripped = tmp_path / "stripped"
    subprocess.run(
        [shutil.which("strip") or "strip", "-o", str(stripped), str(path)], check=True, timeout=60
    )
    bare = ObjectFile.open(stripped)

    found = [locate_globals(exe, _table(exe).functions()) for exe in (with_symbols, bare)]

    assert [one.located for one in found] == [False, True]
    assert found[0].moved(0) == GoGlobals(
        found[1].gc_controller,
        found[1].memstats,
        found[1].mheap,
        found[1].scavenge,
        found[1].mbuckets,
        profile_rate=found[0].profile_rate,
    )


def _table(exe: ObjectFile) -> GoTable:
    table = GoTable.from_object(exe)
    assert table is not None
    return table


class Walk(NamedTuple):
    """The Go stack of a thread that is in C, as the probe would take it, but from outside."""

    names: list[str]
    goid: int
    startpc: int
    complete: bool


def walk(program: Program, process: Running) -> Walk:
    """Follow thread pointer → g → m → curg → frame pointers by the parameters alone."""
    p = program.parameters(process)
    at, word = p.layout, process.word
    g = word(process.c["tp"] + p.tls_offset)
    m = word(g + at.g.m)
    assert word(m + at.m.g0) == g
    curg = word(m + at.m.curg)
    assert word(curg + at.g.m) == m
    assert process.read(m + at.m.incgo, 1) == b"\1"

    frame = (word(g + at.g.sched.sp) - at.frames.pad) & ~15
    assert word(g) <= process.c["sp"] < frame <= word(g + at.g.stack_hi)
    assert word(frame + at.frames.saved_g) == curg
    assert _in(p.asmcgocall, word(frame - 8))

    low, high = word(curg), word(curg + at.g.stack_hi)
    fp, addresses, complete = word(curg + at.g.sched.bp), [], False
    while low <= fp < high and len(addresses) < 100 and not complete:
        address = word(fp + 8)
        addresses.append(address)
        if _in(p.cgocallback, address):
            marker = fp + at.frames.callback_fp_to_marker
            complete = _in(p.goexit, word(marker))
            fp = marker + 8
            if not at.frames.asmcgocall_has_fp and not complete:
                addresses.append(word(fp))
                fp += p.cgocall_frame
        else:
            complete = _in(p.goexit, address)
            fp = word(fp)
    bias = program.bias(process)
    names = [program.table.lookup(address - 1 - bias)[-1].function for address in addresses]
    return Walk(names, word(curg + at.g.goid), word(curg + at.g.startpc), complete)


def _in(spans: Sequence[Span], address: int) -> bool:
    return any(span.start <= address < span.end for span in spans)


def _without_plumbing(names: Sequence[str]) -> list[str]:
    """Drop what differs between releases: the runtime's own frames and their ABI wrappers."""
    return [name for name in names if name.startswith("main.")]


def _goid(process: Running) -> int:
    found = re.match(r"goroutine (\d+) ", process.go["Stack"])
    assert found is not None
    return int(found[1])


def test_the_go_stack_of_a_c_call_is_complete(program: Program) -> None:
    with running(program.path, "plain") as process:
        found = walk(program, process)

        assert found.complete
        assert found.goid == _goid(process)
        assert _without_plumbing(found.names) == [
            "main._Cfunc_say_and_wait",
            "main.plain",
            "main.main.func1",
        ]
        assert found.names[-1] == "runtime.goexit"
        parameters = program.parameters(process)
        assert parameters.tls_offset < -8
        cycles = process.read(parameters.gc_cycles, 4)
        assert cycles is not None
        assert int.from_bytes(cycles, "little") == process.go["NumGC"]


def test_the_go_stack_goes_on_through_a_callback(program: Program) -> None:
    with running(program.path, "callback") as process:
        found = walk(program, process)

        assert found.complete
        assert _without_plumbing(found.names) == [
            "main._Cfunc_say_and_wait",
            "main.goInner",
            "main._Cfunc_call_back",
            "main.main",
        ]
        assert found.names[-2:] == ["runtime.main", "runtime.goexit"]


def test_the_go_stack_of_a_c_thread_ends_at_the_callback(program: Program) -> None:
    with running(program.path, "thread") as process:
        found = walk(program, process)

        assert found.complete
        assert _without_plumbing(found.names) == ["main._Cfunc_say_and_wait", "main.goInner"]


@pytest.mark.parametrize("mode", ["finalizer", "cleanup"])
def test_the_goroutine_that_runs_finalizers_and_cleanups_is_known_by_its_start(
    program: Program, mode: str
) -> None:
    if mode == "cleanup" and (go_minor(version_of(program.go)) or 0) < 24:
        pytest.skip("runtime.AddCleanup came with Go 1.24")
    with running(program.path, "plain") as process:
        assert walk(program, process).startpc not in program.parameters(process).cleanup_entries
    with running(program.path, mode) as process:
        assert walk(program, process).startpc in program.parameters(process).cleanup_entries


def test_the_heap_profile_is_that_of_memprofile(program: Program) -> None:
    with running(program.path) as process:
        variables = program.variables.moved(program.bias(process))
        sites = go_sites(process.read, variables.mbuckets)

    assert not isinstance(sites, Notice), sites
    objects, used = sum(site.objects for site in sites), sum(site.bytes for site in sites)
    assert (objects, used) == (process.go["ProfileObjects"], process.go["ProfileBytes"])
    # 16 MiB in blocks of 1 MiB, each sampled with a chance of 86 %.
    assert sites[0].bytes >= 4 << 20
    frames = [program.table.lookup(address - 1) for address in sites[0].addresses]
    if program.exe.type != 3:
        assert "main.keep" in [found[0].function for found in frames if found]


def _members(die: DIE) -> dict[str, int]:
    return {
        child.attributes["DW_AT_name"].value.decode(): child.attributes[
            "DW_AT_data_member_location"
        ].value
        for child in die.iter_children()
        if child.tag == "DW_TAG_member"
    }


def test_the_layout_is_that_of_the_compiler(go: str, tmp_path: Path) -> None:
    path = build_go(tmp_path, go, SELF_REPORTING)
    wanted = {
        "gcControllerState",
        "mstats",
        "heapStatsDelta",
        "g",
        "gobuf",
        "m",
        "mheap",
        "fixalloc",
    }
    structs: dict[str, dict[str, int]] = {}
    sizes: dict[str, int] = {}
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for die in unit.get_top_DIE().iter_children():
                name = die.attributes.get("DW_AT_name")
                short = name.value.decode().removeprefix("runtime.") if name else ""
                if die.tag == "DW_TAG_structure_type" and short in wanted:
                    structs[short] = _members(die)
                    sizes[short] = die.attributes["DW_AT_byte_size"].value
            if wanted <= structs.keys():
                break
    layout = layout_for(version_of(go))
    assert layout is not None
    assert {name: structs[s][f] for name, (s, f) in _NAMES.items() if f in structs[s]} == {
        name: value for name, value in _places(layout).items() if value >= 0
    }
    assert structs["g"]["sched"] + structs["gobuf"]["bp"] == layout.g.sched.bp
    assert sizes["heapStatsDelta"] == layout.memstats.delta_stride
    assert structs["mstats"]["heapStats"] == 0
    arenas = structs["mheap"].get("heapArenas", structs["mheap"].get("allArenas"))
    assert arenas == layout.heap.arenas
    if layout.heap.finalizers:
        assert structs["mheap"]["specialfinalizeralloc"] == layout.heap.finalizers
        assert structs["mheap"].get("specialCleanupAlloc", 0) == layout.heap.cleanups
        assert (structs["fixalloc"]["size"], structs["fixalloc"]["inuse"]) == (0, 0x30)
    has_bits = "inPtrScalarBits" in structs["heapStatsDelta"]
    assert has_bits == layout.memstats.has_ptr_scalar_bits


_NAMES = {
    "gc_percent": ("gcControllerState", "gcPercent"),
    "memory_limit": ("gcControllerState", "memoryLimit"),
    "gc_percent_goal": ("gcControllerState", "gcPercentHeapGoal"),
    "sweep_trigger": ("gcControllerState", "sweepDistMinTrigger"),
    "triggered": ("gcControllerState", "triggered"),
    "last_heap_goal": ("gcControllerState", "lastHeapGoal"),
    "heap_live": ("gcControllerState", "heapLive"),
    "heap_marked": ("gcControllerState", "heapMarked"),
    "heap_in_use": ("gcControllerState", "heapInUse"),
    "heap_released": ("gcControllerState", "heapReleased"),
    "heap_free": ("gcControllerState", "heapFree"),
    "total_alloc": ("gcControllerState", "totalAlloc"),
    "total_free": ("gcControllerState", "totalFree"),
    "mapped_ready": ("gcControllerState", "mappedReady"),
    "stacks_sys": ("mstats", "stacks_sys"),
    "last_gc_unix": ("mstats", "last_gc_unix"),
    "gc_cycles": ("mstats", "numgc"),
    "last_gc_monotonic": ("mstats", "last_gc_nanotime"),
    "last_heap_in_use": ("mstats", "lastHeapInUse"),
    "m": ("g", "m"),
    "sched": ("g", "sched"),
    "status": ("g", "atomicstatus"),
    "goid": ("g", "goid"),
    "parent_goid": ("g", "parentGoid"),
    "gopc": ("g", "gopc"),
    "startpc": ("g", "startpc"),
    "labels": ("g", "labels"),
    "g0": ("m", "g0"),
    "procid": ("m", "procid"),
    "curg": ("m", "curg"),
    "incgo": ("m", "incgo"),
    "isextra": ("m", "isextra"),
    "is_extra_in_c": ("m", "isExtraInC"),
    "current_arena": ("mheap", "curArena"),
}


def _places(layout: GoLayout) -> dict[str, int]:
    """Give the offsets of a layout under the names above."""
    parts = (layout.controller, layout.memstats, layout.g, layout.m, layout.heap)
    places = {
        name: value
        for name in _NAMES
        for part in parts
        if isinstance(value := getattr(part, name, None), int)
    }
    return places | {"sched": layout.g.sched.sp}
