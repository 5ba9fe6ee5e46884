"""A built object → the instructions that call some of its functions, and nothing else."""

from __future__ import annotations

import struct

import pytest

from cgoleak.symbols.code.calls import find_calls
from cgoleak.symbols.code.code_ranges import CodeRange, code_ranges
from cgoleak.symbols.elf.object_file import ObjectFile
from support.elf_build import build, require, run

SOURCE = r"""
#include <stddef.h>
#define NOINLINE __attribute__((noinline, noclone))
/* As in another source file: a jump over less than 128 bytes would be a short one. */
#define FAR NOINLINE __attribute__((section(".text.far")))
static char room[1 << 16];
static size_t used;

NOINLINE static void *cut(size_t n) { void *at = room + used; used += n; return at; }
/* Only malloc's family calls it; it calls malloc. */
void *own_malloc(size_t);
FAR static void *refill(size_t n) { return n > 9 ? own_malloc(9) : cut(n); }
NOINLINE void *own_malloc(size_t n) { return n > 1000 ? refill(n) : cut(n); }
NOINLINE void own_free(void *p) { *(volatile char *)p = 0; }
NOINLINE void *own_calloc(size_t a, size_t b) {
    char *p = own_malloc(a * b);
    for (size_t i = 0; i < a * b; i++) ((volatile char *)p)[i] = 0;
    return p;
}

FAR void *plain(void) { char *p = own_malloc(10); *p = 1; return p; }
FAR void tail(void *p) { own_free(p); }
FAR void tail_if(void *p) { if (p) own_free(p); }
FAR void *twice(void) { own_free(own_malloc(1)); return own_calloc(1, 2); }
/* A pointer and a constant that look like a call are none. */
void *(*volatile kept)(size_t) = own_malloc;
FAR void *by_pointer(void) { return kept(3); }
int main(void) { tail(plain()); tail_if(twice()); return by_pointer() == 0; }
"""
NAMES = ("own_malloc", "own_free", "own_calloc")


@pytest.fixture(scope="module", params=[("-no-pie",), ("-pie", "-fPIE"), ("-no-pie", "-O1")])
def program(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    return ObjectFile.open(build(folder, "prog", SOURCE, "-O2", "-fno-inline", *request.param))


def targets_of(obj):
    return {obj.symbol(name)[0]: name for name in NAMES}


def found_in(obj, ranges=None):
    targets = targets_of(obj)
    return find_calls(obj, code_ranges(obj) if ranges is None else ranges, targets, targets)


def caller_and_callee(obj, found):
    named = targets_of(obj)
    return {(obj.function_at(c.function).name, named[c.target]) for c in found.calls}


def test_calls_tail_jumps_and_conditional_ones_are_found_in_each_caller(program):
    found = found_in(program)

    expected = {("plain", "own_malloc"), ("tail", "own_free"), ("tail_if", "own_free")}
    expected |= {("twice", name) for name in NAMES}
    assert caller_and_callee(program, found) == expected
    assert found.unproven == 0


def test_each_one_is_an_instruction_that_binutils_sees_too(program):
    require("objdump")
    listing = run("objdump", "-d", "--no-show-raw-insn", program.name)
    lines = [line for line in listing.splitlines() if any(f"<{name}>" in line for name in NAMES)]
    starts = {int(line.split(":")[0], 16) for line in lines if ":\t" in line}
    ours = {call.operand for call in found_in(program).calls}

    assert ours
    assert all({at - 1, at - 2} & starts for at in ours)


def test_what_the_allocator_calls_itself_is_its_own_business(program):
    found = found_in(program)

    callers = {name for name, _ in caller_and_callee(program, found)}
    assert callers.isdisjoint({"own_calloc", "refill", "own_malloc"})
    assert found.own >= 2


def test_a_distance_inside_another_instruction_is_no_call():
    # mov $imm64, %rax, whose constant has e8 and the distance to the target; then ret.
    code = b"\x48\xb8\xe8" + struct.pack("<i", 0x100 - (0x1000 + 7 - 0x1000)) + b"\0\0\0\xc3"
    obj = an_object(code)

    found = find_calls(obj, [CodeRange(0x1000, 0x1000 + len(code))], {0x1100}, ())

    assert (found.calls, found.unproven) == ((), 1)


def test_code_that_makes_no_sense_before_a_call_is_not_believed():
    code = b"\x06\x06" + b"\xe8" + struct.pack("<i", 0x1100 - 0x1007)  # 06: none in 64-bit mode

    found = find_calls(an_object(code), [CodeRange(0x1000, 0x1007)], {0x1100}, ())

    assert (found.calls, found.unproven) == ((), 1)


@pytest.mark.parametrize("prefix", [b"", b"\x67", b"\xf2"], ids=["none", "addr32", "bnd"])
def test_a_call_with_a_prefix_is_one(prefix):
    code = prefix + b"\xe8" + struct.pack("<i", 0x1100 - (0x1005 + len(prefix)))

    found = find_calls(an_object(code), [CodeRange(0x1000, 0x1000 + len(code))], {0x1100}, ())

    assert [call.operand for call in found.calls] == [0x1001 + len(prefix)]


def test_a_call_at_the_very_end_of_a_range_that_is_cut_short_is_none():
    code = b"\xe8" + struct.pack("<i", 0xFB)

    found = find_calls(an_object(code), [CodeRange(0x1000, 0x1004)], {0x1100}, ())

    assert found.calls == ()


def an_object(code: bytes) -> ObjectFile:
    """An executable segment at 0x1000 with this code."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x1000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0x1000, 0x1000, 0x1000, len(code), len(code), 0x1000)
    return ObjectFile(head.ljust(0x1000, b"\0") + code, "made")
