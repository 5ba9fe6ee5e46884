"""Code before and after: what changed is named, what came or went is not."""

from __future__ import annotations

import pytest

from cgoleak.probe.proof import code_sums, differences
from cgoleak.target.kernel.procfs import Region
from support.fake_target import lines_of, memory_of
from support.proctree import a_process

AT = 0x10000
PATH = "/srv/libwork.so"


def region(start, perms="r-xp", path=PATH, pages=1, inode=7):
    return Region(start, start + pages * 4096, perms, 0, "fe:00", inode, path)


@pytest.fixture
def sums_of(tmp_path):
    """Sum a process with these mappings and this memory."""

    def sums(regions, memory):
        sums.count += 1
        root = tmp_path / str(sums.count)
        root.mkdir()
        a_process(root, 42, maps=lines_of(*regions))
        return code_sums(42, memory_of(memory), root)

    sums.count = 0
    return sums


def test_code_that_is_what_it_was_makes_no_difference(sums_of):
    code = bytes(range(256)) * 16

    before, after = (sums_of([region(AT)], {AT: code}) for _ in range(2))

    assert before.bytes == 4096
    assert differences(before, after) == ()


@pytest.mark.parametrize("at", [0, 2048, 4095])
def test_one_changed_byte_is_named_with_its_file(sums_of, at):
    code = bytearray(4096)
    before = sums_of([region(AT)], {AT: bytes(code)})
    code[at] = 0xCC

    assert differences(before, sums_of([region(AT)], {AT: bytes(code)})) == (f"{PATH} at {AT:#x}",)


@pytest.mark.parametrize("at", [0, -1])
def test_of_code_that_is_read_in_pieces_every_piece_counts(sums_of, at):
    code = bytearray(512 * 4096)
    before = sums_of([region(AT, pages=512)], {AT: bytes(code)})
    code[at] = 1

    assert differences(before, sums_of([region(AT, pages=512)], {AT: bytes(code)}))


def test_a_library_that_was_unloaded_or_loaded_is_not_compared(sums_of):
    one, other = region(AT), region(AT + 0x10000, path="/srv/other.so", inode=8)
    before = sums_of([one], {AT: bytes(4096)})
    after = sums_of([other], {AT + 0x10000: b"\1" * 4096})

    assert differences(before, after) == ()
    assert after.bytes == 4096


def test_another_library_in_the_same_place_is_not_compared(sums_of):
    before = sums_of([region(AT)], {AT: bytes(4096)})
    after = sums_of([region(AT, path="/srv/new.so")], {AT: b"\1" * 4096})

    assert differences(before, after) == ()


def test_a_mapping_that_vanishes_while_it_is_read_is_left_out(sums_of):
    sums = sums_of([region(AT), region(AT + 0x10000, path="/srv/b.so")], {AT: bytes(4096)})

    assert list(sums.sums) == [(AT, AT + 4096, PATH)]


def test_data_memory_without_a_file_and_what_a_program_compiles_itself_are_no_code_of_ours(sums_of):
    regions = [
        region(AT, "rw-p"),
        region(AT + 0x10000, path="", inode=0),
        region(AT + 0x20000, path="[vdso]", inode=0),
        region(AT + 0x30000, "r-xs", path="/tmp/orcexec.x"),
    ]

    assert sums_of(regions, {r.start: bytes(4096) for r in regions}).bytes == 0
