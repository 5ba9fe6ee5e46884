"""What is read of glibc's malloc from outside, against what ``mallinfo2`` says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cgoleak.target.gobinary import find_libc
from cgoleak.target.kernel.procfs import maps
from cgoleak.target.observer import MemoryObserver
from support.malloc_program import MallocProgram, build_malloc_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgoleak.model.snapshot import NativeMemory

pytestmark = pytest.mark.live

MIB = 1 << 20
THREADS = 9


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_malloc_program(tmp_path_factory.mktemp("malloc"))


@pytest.fixture
def malloc(program: Path) -> Iterator[MallocProgram]:
    with MallocProgram(program) as running:
        libc = find_libc(running.pid, maps(running.pid))
        if libc is None or libc.kind != "glibc":
            pytest.skip("this machine's C library is not glibc")
        yield running


def look(observer: MemoryObserver) -> NativeMemory:
    seen = observer.observe(thorough=True)
    assert seen.process is not None
    assert seen.native is not None
    assert seen.native.resident == seen.process.rss
    assert observer.notices == ()
    return seen.native


def test_bytes_in_use_are_mallocs_own_to_the_byte(malloc: MallocProgram) -> None:
    """Threads' caches count as in use for ``mallinfo2``, and as free for us."""
    with MemoryObserver(malloc.pid) as observer:
        for letter in ("", "l", "t", "f"):
            said = malloc.ask(letter) if letter else malloc.said

            found = look(observer)

            assert found.handed_out is not None
            assert found.handed_out + found.cached == said.in_use, letter
            assert found.mapped_blocks == said.mapped, letter
            assert found.arenas == THREADS


def test_blocks_in_the_cache_of_a_thread_are_free(malloc: MallocProgram) -> None:
    with MemoryObserver(malloc.pid) as observer:
        malloc.ask("m")
        before = look(observer)
        malloc.ask("c")
        after = look(observer)

    # 1,000 bytes need 1,008 with their header. For ``mallinfo2`` they stay in use.
    assert after.cached - before.cached == 5 * 1008
    assert (before.handed_out or 0) - (after.handed_out or 0) == 5 * 1008


def test_what_malloc_trim_gives_back_is_free_no_more(malloc: MallocProgram) -> None:
    with MemoryObserver(malloc.pid) as observer:
        before = look(observer)
        said = malloc.ask("t")
        after = look(observer)

    assert before.free is not None
    assert after.free is not None
    assert before.free - after.free > 2 * MIB
    # Bytes in use have not changed: RSS fell by what was free.
    assert abs((before.heap - before.free) - (after.heap - after.free)) < MIB // 2
    assert said.free > after.free


def test_memory_that_was_never_touched_is_handed_out_and_not_resident(
    malloc: MallocProgram,
) -> None:
    with MemoryObserver(malloc.pid) as observer:
        before = look(observer)
        malloc.ask("u")
        after = look(observer)

    assert after.handed_out is not None
    assert after.handed_out - (before.handed_out or 0) >= 32 * MIB
    assert abs(after.heap - before.heap) < MIB


def test_all_stacks_of_threads_are_found(malloc: MallocProgram) -> None:
    with MemoryObserver(malloc.pid) as observer:
        found = look(observer)

    # Each has touched its descriptor and its first frames.
    assert THREADS * 8192 <= found.stacks <= THREADS * 256 * 1024
    assert found.anonymous < 4 * MIB
