"""A program is told from the next one that the same process becomes."""

from __future__ import annotations

import subprocess

import pytest

from cgoleak.target.kernel.mark import find_mark
from cgoleak.target.kernel.memory import Memory
from support.fake_target import memory_of, words

RANDOM, ENTRY, END = 25, 9, 0
AT = 0x7FFC_0000_1239


def a_process_with(root, auxv):
    (root / "42").mkdir()
    (root / "42" / "auxv").write_bytes(auxv)
    return root


def test_it_is_the_kernels_random_bytes(tmp_path):
    root = a_process_with(tmp_path, words(ENTRY, 0x401000, RANDOM, AT, END, 0))

    mark = find_mark(42, memory_of({AT: bytes(range(16))}), root)

    assert (mark.address, mark.content) == (AT, bytes(range(16)))


@pytest.mark.parametrize(
    "auxv", [b"", words(ENTRY, 0x401000, END, 0), words(RANDOM, AT)[:15], words(RANDOM, AT)]
)
def test_without_them_there_is_none(tmp_path, auxv):
    root = a_process_with(tmp_path, auxv)

    assert find_mark(42, memory_of({}), root) is None


def test_a_process_that_is_gone_has_none(tmp_path):
    assert find_mark(42, memory_of({AT: bytes(16)}), tmp_path) is None


@pytest.mark.native
def test_it_stays_while_a_program_runs_and_changes_with_exec():
    script = "echo; read word; exec sh -c 'echo; read word'"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with Memory(process.pid) as memory:
            first = find_mark(process.pid, memory)
            assert first is not None
            assert find_mark(process.pid, memory) == first
            process.stdin.write(b"go\n")
            process.stdin.flush()
            process.stdout.readline()
            assert memory.read(first.address, 16) is None
        with Memory(process.pid) as memory:
            second = find_mark(process.pid, memory)
            assert memory.read(first.address, 16) != first.content
        assert second not in {None, first}
        process.stdin.close()
