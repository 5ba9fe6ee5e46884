"""Families whose own library calls their functions: all of its calls count, or none."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import pytest

from cgoleak.model.handles import Family, PairFunction, Role
from cgoleak.probe.calls.pairs import Pairs
from cgoleak.probe.wire import layout as wire
from support.elf_build import build
from support.elf_slots import GLOB_DAT, SlotAsked, an_image, loaded, slot_at
from support.fake_target import memory_of
from support.mapped_file import mapped

LIBRARY_AT = 0x7F00_0000_0000
PROGRAM_AT = 0x400000
OBJECTS = Family(
    "object",
    (
        PairFunction("instance_make", Role.CREATE, 0, within=True),
        PairFunction("instance_end", Role.DESTROY, 1, within=True),
    ),
)
SHARED = ("-O1", "-shared", "-fPIC", "-fcf-protection=none")
DIRECT = "-Wl,-Bsymbolic"
MAKES = r"""
#include <stdlib.h>
__attribute__((noinline)) void *instance_make(long kind) {
    return kind > 2 ? instance_make(kind / 2 - 1) + 1 : calloc(1, 64);
}
void *object_new(long kind) { void *one = instance_make(kind); *(int *)one = 1; return one; }
"""
ENDS = r"""
__attribute__((noinline)) void instance_end(void *one) { free(one); }
void object_unref(int *one) { if (--*one == 0) instance_end(one); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    return build(folder, "libobjects.so", MAKES + ENDS, *SHARED, DIRECT)


def looked_at(tables, path, *, families=(OBJECTS,), code=None, program=True):
    """Survey a library, and a program that makes by a slot; give pairs, surveys, slots, modules."""
    module, pieces = mapped(path, bias=LIBRARY_AT)
    pieces |= code or {}
    make = module.defines("instance_make")
    asked = [SlotAsked("instance_make", GLOB_DAT)] if program else []
    other = loaded(PROGRAM_AT, "/srv/prog", an_image(slots=asked))
    memory = memory_of({**pieces, PROGRAM_AT + slot_at(0): make})
    modules = (other, module)
    pairs = Pairs(families, memory)
    found = pairs.survey_calls(modules, None, [])
    header = wire.Header()
    header.pair_hook = 0x7D00_0000_1000
    pairs.begin(tables, header)
    return pairs, found, pairs.slots(tables, modules, modules), modules


def roles_in_table(tables):
    size = ctypes.sizeof(wire.Pair)
    rows = (
        wire.Pair.from_buffer_copy(tables._map[at : at + size])
        for at in range(tables.shared.pairs_at, tables.shared.pairs_at + 2 * size, size)
    )
    return [row.role for row in rows]


def test_calls_of_a_library_within_itself_count_but_those_that_the_functions_make(tables, library):
    pairs, _, slots, (_, module) = looked_at(tables, library)

    (found,) = pairs.calls(tables)
    assert {module.obj.function_at(s.address - LIBRARY_AT).name for s in found.sites} == {
        "object_new",
        "object_unref",
    }
    assert {site.function for site in found.sites} == {wire.FUNCTIONS, wire.FUNCTIONS + 1}
    assert [one.function for one in slots] == [wire.FUNCTIONS]
    assert (found.kinds, found.why) == ("object", None)


def test_of_other_families_a_library_s_own_calls_are_its_own_business(tables, library):
    plain = Family("object", tuple(replace(one, within=False) for one in OBJECTS.functions))

    pairs, found, slots, _ = looked_at(tables, library, families=(plain,))

    assert (found, pairs.calls(tables)) == ((), ())
    assert len(slots) == 1


def test_a_library_of_which_one_half_is_not_found_is_left_out(tables, tmp_path):
    half = MAKES + "void instance_end(void *one) { free(one); }"
    library = build(tmp_path, "libobjects.so", half, *SHARED, DIRECT)

    pairs, (found,), slots, modules = looked_at(tables, library)

    assert (found.sites, found.why) == ((), "only one half of its calls is found")
    assert slots == []
    assert pairs.calls(tables) == (found,)
    assert pairs.notices(modules) == []


def test_a_library_whose_code_is_not_as_in_its_file_is_left_out(tables, library):
    module, pieces = mapped(library, bias=LIBRARY_AT)
    (start,) = (r.start for r in module.regions if r.executable)
    code = bytearray(pieces[start])
    at = module.obj.symbols.find("object_unref")[0] + LIBRARY_AT - start
    code[at] ^= 1

    _, (found,), slots, _ = looked_at(tables, library, code={start: bytes(code)})

    assert (found.sites, found.why) == ((), "1 calls are not as in its file")
    assert slots == []


def test_a_library_that_calls_itself_by_its_slots_is_counted_by_these(tables, tmp_path):
    """Linked without -Bsymbolic: nothing is to be changed in its code."""
    library = build(tmp_path, "libobjects.so", MAKES + ENDS, *SHARED)

    pairs, (found,), _, _ = looked_at(tables, library)

    assert (found.sites, found.why) == ((), None)
    assert pairs.calls(tables) == (None,)


def test_a_library_that_comes_later_is_not_counted_by_halves(tables, library):
    module, pieces = mapped(library, bias=LIBRARY_AT)
    other = loaded(PROGRAM_AT, "/srv/prog", an_image(slots=[SlotAsked("instance_make", GLOB_DAT)]))
    memory = memory_of({**pieces, PROGRAM_AT + slot_at(0): module.defines("instance_make")})
    pairs = Pairs((OBJECTS,), memory)
    assert pairs.survey_calls((other,), None, []) == ()

    assert pairs.slots(tables, (other, module), (other, module)) == []


def test_what_could_not_be_taken_after_all_is_passed_on_uncounted(tables, library):
    pairs, *_ = looked_at(tables, library)
    (found,) = pairs.calls(tables)
    assert roles_in_table(tables) == [Role.CREATE, Role.DESTROY]

    pairs.leave_out(tables, found)

    assert roles_in_table(tables) == [0, 0]
