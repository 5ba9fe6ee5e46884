"""Families and modules → slots of their functions, their places, and what is said of others."""

from __future__ import annotations

import ctypes

from cgoleak.model.handles import Family, PairFunction, Role, Success
from cgoleak.probe.calls.pairs import Pairs
from cgoleak.probe.wire import layout as wire
from support.elf_slots import CODE, GLOB_DAT, SlotAsked, an_image, loaded, slot_at
from support.fake_target import memory_of

LIBRARY_AT = 0x7F00_0000_0000
PROGRAM_AT = 0x400000
MAKE, DROP = LIBRARY_AT + CODE + 0x100, LIBRARY_AT + CODE + 0x200
HOOKS = 0x7D00_0000_1000
THINGS = Family(
    "thing",
    (
        PairFunction("thing_open", Role.CREATE, 3, indirect=True, success=Success.ZERO, size=8),
        PairFunction("thing_close", Role.DESTROY, 1),
    ),
)


def a_header(*taken):
    header = wire.Header()
    header.pair_hook = HOOKS
    for place, address in enumerate(taken):
        header.pair_real[place] = address
    return header


def library(**defines):
    defines = defines or {"thing_open": CODE + 0x100, "thing_close": CODE + 0x200}
    return loaded(LIBRARY_AT, "/lib/libthing.so", an_image(defines=defines))


def program(*slots, **defines):
    image = an_image(slots=[SlotAsked(name, GLOB_DAT) for name in slots], defines=defines)
    return loaded(PROGRAM_AT, "/srv/prog", image)


def placed(tables, module, *values, others=None, header=None, families=(THINGS,)):
    """Look at one program; give the pairs and what slots they found."""
    memory = memory_of({PROGRAM_AT + slot_at(i): value for i, value in enumerate(values)})
    pairs = Pairs(families, memory)
    pairs.begin(tables, header or a_header())
    modules = [module, *(others if others is not None else [library()])]
    return pairs, pairs.slots(tables, modules, modules), modules


def in_table(tables, place):
    at = tables.shared.pairs_at + place * ctypes.sizeof(wire.Pair)
    return wire.Pair.from_buffer_copy(tables._map[at : at + ctypes.sizeof(wire.Pair)])


def test_slots_of_both_functions_are_taken_and_the_probe_is_told_what_they_do(tables):
    pairs, slots, modules = placed(tables, program("thing_open", "thing_close"), MAKE, DROP)

    assert [(one.address, one.original, one.function) for one in slots] == [
        (PROGRAM_AT + slot_at(0), MAKE, wire.FUNCTIONS),
        (PROGRAM_AT + slot_at(1), DROP, wire.FUNCTIONS + 1),
    ]
    told = in_table(tables, 0)
    assert (told.real, told.family, told.role) == (MAKE, 0, Role.CREATE)
    assert (told.handle, told.indirect, told.success, told.size) == (3, 1, Success.ZERO, 8)
    assert in_table(tables, 1).role == Role.DESTROY
    assert tables.shared.families == 1
    assert pairs.notices(modules) == []


def test_a_place_of_the_resident_part_is_never_given_to_another_function(tables):
    header = a_header(0x5000, DROP)

    _, slots, _ = placed(tables, program("thing_open", "thing_close"), MAKE, DROP, header=header)

    assert [one.function - wire.FUNCTIONS for one in slots] == [2, 1]


def test_a_full_table_leaves_functions_out_and_says_so(tables):
    header = a_header(*range(0x1000, 0x1000 + wire.PAIR_FUNCTIONS))

    pairs, slots, modules = placed(tables, program("thing_open"), MAKE, header=header)

    assert slots == []
    assert "pairs.too-many" in {one.code for one in pairs.notices(modules)}


def test_a_kind_of_which_one_function_has_no_room_is_not_counted_at_all(tables):
    """Or all of its handles would look lost."""
    header = a_header(*range(0x1000, 0x1000 + wire.PAIR_FUNCTIONS - 1))
    both = program("thing_open", "thing_close")

    pairs, _, modules = placed(tables, both, MAKE, DROP, header=header)

    passed_on = in_table(tables, wire.PAIR_FUNCTIONS - 1)
    assert (passed_on.real, passed_on.role) == (MAKE, 0)
    (notice,) = pairs.notices(modules)
    assert (notice.code, notice.text[-18:]) == ("pairs.too-many", "not counted: thing")


def test_slots_that_are_taken_already_or_lead_elsewhere_are_left_alone(tables):
    elsewhere = LIBRARY_AT + CODE + 0x300

    _, slots, _ = placed(tables, program("thing_open", "thing_close"), HOOKS + 16, elsewhere)

    assert slots == []


def test_functions_that_are_called_directly_are_said_not_to_be_counted(tables):
    inside = program(thing_open=CODE + 0x100, thing_close=CODE + 0x200)

    pairs, slots, modules = placed(tables, inside, others=[])

    (notice,) = pairs.notices(modules)
    assert slots == []
    assert notice.code == "pairs.direct"
    assert "thing_open" in notice.text
    assert "prog" in notice.text


def test_a_kind_that_is_made_by_slot_and_given_up_directly_is_left_out(tables):
    """Or all of its handles would look lost."""
    mixed = program("thing_open", thing_close=CODE + 0x200)

    pairs, slots, modules = placed(tables, mixed, MAKE)

    (notice,) = pairs.notices(modules)
    assert slots == []
    assert notice.code == "pairs.one-sided"


def test_a_destroy_function_that_nobody_calls_is_the_leak_itself(tables):
    pairs, slots, modules = placed(tables, program("thing_open"), MAKE)

    assert len(slots) == 1
    assert pairs.notices(modules) == []


def test_names_that_nobody_has_are_said_with_a_near_one(tables):
    wrong = Family(
        "t",
        (PairFunction("thing_opne", Role.CREATE, 0), PairFunction("thing_close", Role.DESTROY, 1)),
    )

    pairs, _, modules = placed(tables, program("thing_close"), DROP, families=(wrong,))

    (notice,) = pairs.notices(modules)
    assert (notice.code, notice.fix) == ("pairs.unknown", "did you mean thing_open?")


def test_without_families_nothing_is_looked_at(tables):
    pairs, slots, modules = placed(tables, program("thing_open"), MAKE, families=())

    assert not pairs
    assert (slots, pairs.hooks(), pairs.notices(modules)) == ([], (), [])
