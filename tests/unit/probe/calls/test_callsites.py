"""A program that brings its own malloc → which of its calls can be redirected."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from cgoleak.probe.calls.callsites import CallSites, survey_calls
from cgoleak.probe.calls.near import NEAR_NAME, NearPage
from cgoleak.probe.calls.slots import survey
from cgoleak.probe.wire.layout import FUNCTIONS, Function
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel.procfs import Region
from support.elf_build import build, run
from support.elf_slots import CODE, JUMP_SLOT, SlotAsked, an_image, loaded, slot_at
from support.fake_target import memory_of
from support.live_programs import OWN_MALLOC
from support.mapped_file import mapped

CALLER = r"""
#include <malloc.h>
#include <stdlib.h>
void *volatile kept;
__attribute__((noinline)) void lose(void) { kept = malloc(10); }
__attribute__((noinline)) void *aligned(void) { return memalign(64, 10); }
__attribute__((noinline)) void drop(void *p) { free(p); }
int main(void) { lose(); drop(aligned()); drop(calloc(1, 2)); return 0; }
"""
NOT_EXPORTED = """
#include <stddef.h>
__attribute__((visibility("hidden"))) void *memalign(size_t, size_t);
"""
NEAR_AT = 0x3F0000
HOOKS = tuple(0x7F77_0000_0000 + 64 * i for i in range(FUNCTIONS))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_malloc.c").write_text(NOT_EXPORTED + OWN_MALLOC)
    run("gcc", "-O2", "-c", folder / "own_malloc.c", "-o", folder / "own.o")
    return build(folder, "prog", CALLER, "-O2", "-fno-builtin", folder / "own.o", "-no-pie")


def surveyed(module, pieces, *, regions=()):
    slots = survey([module], memory_of(pieces))
    return survey_calls([module], slots, memory_of(pieces), [*module.regions, *regions])


def callers(module, found):
    return {(module.obj.function_at(s.address).name, s.function) for s in found.sites}


EXPECTED = {
    ("lose", Function.MALLOC),
    ("aligned", Function.MEMALIGN),
    ("drop", Function.FREE),
    ("main", Function.CALLOC),
}


def test_the_calls_of_everybody_but_the_allocator_are_found(program):
    module, pieces = mapped(program)

    found = surveyed(module, pieces)

    assert callers(module, found) >= EXPECTED
    assert {name for name, _ in callers(module, found)} <= {"lose", "aligned", "drop", "main"}
    assert (found.why, found.foreign) == (None, 0)
    assert all(site.own == site.now for site in found.sites)


def test_code_that_differs_from_the_file_is_left_alone(program):
    module, pieces = mapped(program)
    at, _ = module.obj.symbol("lose")
    base = max(start for start in pieces if start <= at)
    code = bytearray(pieces[base])
    code[at - base] = 0xCC  # a breakpoint
    pieces[base] = bytes(code)

    found = surveyed(module, pieces)

    assert ("lose", Function.MALLOC) not in callers(module, found)
    assert ("drop", Function.FREE) in callers(module, found)
    assert found.foreign == 1


def test_what_a_cgoleak_that_was_killed_has_left_is_taken_over(program):
    module, pieces = mapped(program)
    page = NearPage(NEAR_AT, HOOKS[: Function.MMAP])
    (site,) = (s for s in surveyed(module, pieces).sites if s.function == Function.MALLOC)
    base = max(start for start in pieces if start <= site.address)
    code = bytearray(pieces[base])
    left = struct.pack("<i", page.jump_to(HOOKS[Function.MALLOC]) - site.address - 4)
    code[site.address - base : site.address - base + 4] = left
    pieces |= {base: bytes(code), NEAR_AT: page.content.ljust(4096, b"\0")}
    near = Region(NEAR_AT, NEAR_AT + 4096, "r-xp", 0, "00:01", 9, NEAR_NAME, deleted=True)

    found = surveyed(module, pieces, regions=[near])

    (again,) = (s for s in found.sites if s.function == Function.MALLOC)
    assert (again.own, again.now) == (site.own, left)
    sites = CallSites(1, memory_of(pieces), found, Path("/nowhere"))
    assert sites.own_code == {site.address: site.own}


def test_bytes_that_lead_anywhere_else_are_somebody_elses(program):
    module, pieces = mapped(program)
    (site,) = (s for s in surveyed(module, pieces).sites if s.function == Function.MALLOC)
    base = max(start for start in pieces if start <= site.address)
    code = bytearray(pieces[base])
    code[site.address - base : site.address - base + 4] = struct.pack("<i", 0x1000)
    pieces[base] = bytes(code)

    found = surveyed(module, pieces)

    assert [s for s in found.sites if s.function == Function.MALLOC] == []
    assert found.foreign == 1


def test_without_bounds_of_functions_it_says_so_and_finds_nothing(program):
    stripped = bytearray(Path(program).read_bytes())
    obj = ObjectFile(bytes(stripped))
    at = obj.sections[".eh_frame"]
    stripped[at.offset : at.offset + at.size] = bytes(at.size)
    symbols = obj.sections[".symtab"]
    stripped[symbols.offset : symbols.offset + symbols.size] = bytes(symbols.size)
    module, pieces = mapped(program, bytes(stripped))

    found = surveyed(module, pieces)

    assert found.sites == ()
    assert found.why == "it tells of no function's bounds"


def test_a_process_with_libcs_malloc_has_nothing_of_the_kind():
    definitions = {"malloc": CODE + 0x100, "free": CODE + 0x200, "__libc_start_main": CODE}
    libc = loaded(0x7F00_0000_0000, "/lib/libc.so.6", an_image(defines=definitions))
    worker = loaded(0x400000, "/srv/worker", an_image(slots=[SlotAsked("malloc", JUMP_SLOT)]))
    memory = memory_of({0x400000 + slot_at(0): 0x7F00_0000_0000 + CODE + 0x100})
    modules = [worker, libc]

    assert survey_calls(modules, survey(modules, memory), memory, []) is None


def test_what_the_program_does_not_export_is_provided_by_it_all_the_same(program):
    module, pieces = mapped(program)
    slots = survey([module], memory_of(pieces))

    for function, name in ((Function.MEMALIGN, "memalign"), (Function.MALLOC, "malloc")):
        assert slots.providers[function] == module.obj.symbol(name)[0]


def test_a_slot_is_not_led_to_what_the_program_keeps_to_itself(program):
    module, pieces = mapped(program)
    assert module.obj.dynamic.symbols.find("memalign") is None
    stub = 0x7E00_0000_0000 + CODE + 6
    other = loaded(0x7E00_0000_0000, "/srv/lib.so", an_image(slots=[SlotAsked("memalign")]))
    memory = memory_of(pieces | {0x7E00_0000_0000 + slot_at(0): stub})

    found = survey([module, other], memory)

    assert [s for s in found.slots if s.function == Function.MEMALIGN] == []


def test_calls_that_cannot_be_found_are_told(program):
    module, pieces = mapped(program)
    found = replace(surveyed(module, pieces), sites=(), why="for a reason")
    sites = CallSites(1, memory_of(pieces), found, Path("/nowhere"))

    sites.take(None)

    assert [notice.code for notice in sites.notices] == ["probe.calls-unseen"]
    assert "for a reason" in sites.notices[0].text
    assert sites.put_back() == []
