"""Modules and what their slots hold → which slots are taken, and where calls go on to."""

from __future__ import annotations

import pytest

from cgoleak.probe.calls.slots import survey
from cgoleak.probe.wire.layout import Function
from support.elf_slots import (
    ABS64,
    CODE,
    GLOB_DAT,
    JUMP_SLOT,
    SlotAsked,
    an_image,
    loaded,
    slot_at,
)
from support.fake_target import memory_of

LIBC_AT = 0x7F00_0000_0000
LIB_AT = 0x7E00_0000_0000
EXE_AT = 0x400000
MALLOC = LIBC_AT + CODE + 0x100
FREE = LIBC_AT + CODE + 0x200
HOOK = 0x7D00_0000_1000


def libc(**definitions):
    definitions = definitions or {"malloc": CODE + 0x100, "free": CODE + 0x200}
    return loaded(LIBC_AT, "/lib/libc.so.6", an_image(defines=definitions))


def a_library(*slots, at=LIB_AT, path="/srv/libwork.so", machine=62, data="rw-p", defines=None):
    image = an_image(slots=slots, machine=machine, defines=defines)
    return loaded(at, path, image, data=data)


def surveyed(module, *values, others=None, **options):
    """Survey one module whose slots hold these values, with a libc beside it."""
    held = {module.start + slot_at(i): value for i, value in enumerate(values)}
    definers = [module, *(others or [libc()])]
    return survey([module], memory_of(held), definers=definers, **options)


@pytest.mark.parametrize("machine", [62, 183], ids=["x86-64", "aarch64"])
@pytest.mark.parametrize("kind", [JUMP_SLOT, GLOB_DAT, ABS64])
def test_every_kind_of_slot_that_holds_the_provider_is_taken(machine, kind):
    found = surveyed(a_library(SlotAsked("malloc", kind), machine=machine), MALLOC)

    (slot,) = found.slots
    assert (slot.address, slot.original) == (LIB_AT + slot_at(0), MALLOC)
    assert (slot.function, slot.module, slot.lazy) == (Function.MALLOC, "libwork.so", False)
    assert found.foreign == ()


def test_a_slot_type_of_the_other_machine_is_none_of_ours():
    # 6 is R_X86_64_GLOB_DAT; on aarch64 nothing of the kind.
    image = bytearray(an_image(slots=[SlotAsked("malloc", GLOB_DAT)]))
    image[18:20] = (183).to_bytes(2, "little")

    assert surveyed(loaded(LIB_AT, "/srv/liba.so", bytes(image)), MALLOC).slots == ()


@pytest.mark.parametrize("machine", [62, 183], ids=["x86-64", "aarch64"])
def test_a_slot_that_is_not_bound_yet_is_taken_as_well(machine):
    stub = LIB_AT + CODE + 6

    found = surveyed(a_library(SlotAsked("free"), machine=machine), stub)

    (slot,) = found.slots
    assert (slot.original, slot.lazy) == (stub, True)
    assert found.providers[Function.FREE] == FREE


def test_a_module_that_is_bound_to_its_own_allocator_keeps_it():
    # RTLD_DEEPBIND: to send its calls elsewhere would free blocks where they were not allocated.
    own = LIB_AT + CODE + 0x40
    module = a_library(SlotAsked("malloc"), defines={"malloc": CODE + 0x40})

    found = surveyed(module, own, known={Function.MALLOC: MALLOC})

    assert found.slots == ()
    assert found.foreign == ("libwork.so:malloc",)


@pytest.mark.parametrize(("data", "prot"), [("rw-p", 3), ("r--p", 1), ("rwxp", 7)])
def test_the_rights_of_the_slots_page_are_kept(data, prot):
    (slot,) = surveyed(a_library(SlotAsked("malloc"), data=data), MALLOC).slots

    assert slot.prot == prot


def test_an_unresolved_weak_reference_is_nobodys():
    found = surveyed(a_library(SlotAsked("pvalloc", GLOB_DAT)), 0)

    assert found.slots == ()
    assert found.foreign == ()


def test_a_slot_that_leads_elsewhere_is_left_alone_and_named():
    found = surveyed(a_library(SlotAsked("malloc"), SlotAsked("free", GLOB_DAT)), 0x1234560, FREE)

    assert [slot.function for slot in found.slots] == [Function.FREE]
    assert found.foreign == ("libwork.so:malloc",)


def test_a_reference_into_the_middle_of_a_function_is_no_slot():
    found = surveyed(a_library(SlotAsked("malloc", ABS64, addend=8)), MALLOC)

    assert (found.slots, found.foreign) == ((), ())


def test_a_slot_that_cannot_be_read_is_left_out():
    found = surveyed(a_library(SlotAsked("malloc"), SlotAsked("free")), MALLOC)

    assert [slot.function for slot in found.slots] == [Function.MALLOC]


def test_other_functions_are_not_asked_for():
    assert surveyed(a_library(SlotAsked("printf")), MALLOC).slots == ()


@pytest.mark.parametrize(
    ("name", "function"), [("cfree", Function.FREE), ("mmap64", Function.MMAP)]
)
def test_the_other_name_of_a_function_leads_to_the_same_hook(name, function):
    found = surveyed(a_library(SlotAsked(name)), MALLOC, others=[libc(**{name: CODE + 0x100})])

    assert [slot.function for slot in found.slots] == [function]


def test_hooks_that_are_in_already_are_not_taken_twice():
    module = a_library(SlotAsked("malloc"), SlotAsked("free"))

    found = surveyed(module, HOOK, FREE, ours=frozenset({HOOK}))

    assert [slot.function for slot in found.slots] == [Function.FREE]
    assert found.foreign == ()


def test_the_loaders_own_slots_are_not_touched():
    module = a_library(SlotAsked("malloc"), path="/lib64/ld-linux-x86-64.so.2")

    assert surveyed(module, MALLOC).slots == ()


# --- providers --------------------------------------------------------------------------------


def test_without_a_vote_the_first_definition_provides_and_the_loaders_comes_last():
    loader = loaded(
        LIB_AT, "/lib64/ld-linux-x86-64.so.2", an_image(defines={"malloc": CODE + 0x80})
    )
    user = a_library(SlotAsked("malloc"), at=LIB_AT + 0x10_0000)

    found = surveyed(user, LIB_AT + 0x10_0000 + CODE, others=[loader, libc()])

    assert found.providers[Function.MALLOC] == MALLOC


def test_of_two_providers_the_one_that_most_slots_lead_to_is_taken():
    jemalloc_at = LIB_AT + 0x10_0000
    jemalloc = loaded(jemalloc_at, "/srv/libjemalloc.so", an_image(defines={"malloc": CODE + 0x80}))
    module = a_library(
        SlotAsked("malloc"), SlotAsked("malloc", GLOB_DAT), SlotAsked("malloc", ABS64)
    )
    preloaded = jemalloc_at + CODE + 0x80

    found = surveyed(module, preloaded, MALLOC, preloaded, others=[libc(), jemalloc])

    assert found.providers[Function.MALLOC] == preloaded
    assert [slot.original for slot in found.slots] == [preloaded, preloaded]
    assert found.foreign == ("libwork.so:malloc",)


def test_what_no_slot_is_bound_to_yet_is_of_whoever_provides_malloc():
    """Else a block of libc's would meet the free of a preloaded allocator, and kill the target."""
    before = LIBC_AT - 0x1000_0000
    c = loaded(
        before,
        "/lib/libc.so.6",
        an_image(
            defines={
                "malloc": CODE + 0x100,
                "free": CODE + 0x200,
                "memalign": CODE + 0x300,
                "valloc": CODE + 0x400,
            }
        ),
    )
    preloaded = loaded(
        LIBC_AT,
        "/lib/libjemalloc.so.2",
        an_image(defines={"malloc": CODE + 0x100, "free": CODE + 0x200, "memalign": CODE + 0x300}),
    )

    found = surveyed(
        a_library(SlotAsked("malloc"), SlotAsked("free"), SlotAsked("memalign")),
        MALLOC,
        LIB_AT + CODE + 6,
        LIB_AT + CODE + 6,
        others=[c, preloaded],
    )

    assert found.providers[Function.FREE] == FREE
    assert found.providers[Function.MEMALIGN] == LIBC_AT + CODE + 0x300
    assert found.providers[Function.VALLOC] == before + CODE + 0x400


def test_what_was_settled_at_the_attach_is_not_voted_on_again():
    jemalloc_at = LIB_AT + 0x10_0000
    jemalloc = loaded(jemalloc_at, "/srv/libjemalloc.so", an_image(defines={"malloc": CODE + 0x80}))
    theirs = jemalloc_at + CODE + 0x80

    found = surveyed(
        a_library(SlotAsked("malloc")),
        theirs,
        others=[libc(), jemalloc],
        known={Function.MALLOC: MALLOC},
    )

    assert found.providers[Function.MALLOC] == MALLOC
    assert found.slots == ()
    assert found.foreign == ("libwork.so:malloc",)


def test_a_function_that_nobody_defines_is_not_taken():
    module = a_library(SlotAsked("dlopen"), SlotAsked("dlsym"))

    found = surveyed(module, LIB_AT + CODE, 0x1234560)

    assert found.slots == ()
    assert found.foreign == ("libwork.so:dlsym",)


# --- the executable's PLT as the function's address --------------------------------------------


def test_a_slot_that_leads_to_the_executables_plt_is_seen_at_the_executables_slot():
    plt = EXE_AT + CODE + 0x20
    program = an_image(type=2, base=EXE_AT, slots=[SlotAsked("malloc")])
    exe = loaded(EXE_AT, "/srv/worker", program, base=EXE_AT)
    module = a_library(SlotAsked("malloc", GLOB_DAT))
    held = {EXE_AT + slot_at(0): MALLOC, LIB_AT + slot_at(0): plt}

    found = survey([exe, module, libc()], memory_of(held))

    assert [slot.module for slot in found.slots] == ["worker"]
    assert found.foreign == ()


def test_an_allocator_that_the_executable_brings_is_no_plt():
    own = EXE_AT + CODE + 0x20
    exe = loaded(
        EXE_AT,
        "/srv/worker",
        an_image(type=2, base=EXE_AT, defines={"malloc": CODE + 0x20}),
        base=EXE_AT,
    )
    module = a_library(SlotAsked("malloc", GLOB_DAT))

    found = surveyed(module, own, others=[libc(), exe], known={Function.MALLOC: MALLOC})

    assert found.foreign == ("libwork.so:malloc",)
