from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgoleak.target.go.heap import GoHeap
from cgoleak.target.go.layout import layout_for
from cgoleak.target.kernel.pagemap import PageMap
from cgoleak.target.kernel.smaps import Mapping, SmapsReader
from cgoleak.target.native import NativeReader
from support.glibc_build import BRK, DATA, PAGE, ModernMalloc
from support.go_images import GLOBALS
from support.smaps_text import a_mapping, smaps_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgoleak.model.snapshot import NativeMemory

KIB = 1024
LIBC = "/usr/lib/libc.so.6"
PROGRAM = 0x400000


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> PageMap:
    return PageMap(1, tmp_path_factory.mktemp("proc"))


def reader(
    read: Callable[[int, int], bytes | None], pages: PageMap, heap: GoHeap | None = None
) -> NativeReader:
    return NativeReader(
        read,
        pages,
        heap,
        libc="glibc",
        libc_path=LIBC,
        allocator="glibc",
        arch="amd64",
        stack_limit=8 << 20,
    )


def rows(heap_pages: int = 64) -> tuple[Mapping, ...]:
    return SmapsReader(1).parse(
        smaps_text(
            a_mapping(PROGRAM, PROGRAM + PAGE, "/srv/worker", perms="r-xp", inode=5, Rss=4),
            a_mapping(PROGRAM + PAGE, PROGRAM + 5 * PAGE, Rss=8),
            a_mapping(0xC000000000, 0xC000400000, Rss=900),
            a_mapping(BRK, BRK + heap_pages * PAGE, "[heap]", Rss=heap_pages * 4),
            a_mapping(DATA - PAGE, DATA, LIBC, perms="r-xp", inode=9, Rss=4),
            a_mapping(DATA, DATA + 2 * PAGE, LIBC, inode=9, offset=PAGE, Rss=8),
            a_mapping(DATA + 2 * PAGE, DATA + 4 * PAGE, Rss=4),
            a_mapping(0x7F0000800000, 0x7F0000801000, perms="---p"),
            a_mapping(0x7F0000801000, 0x7F0001001000, Rss=12),
        )
    )


def look(read: Callable[[int, int], bytes | None], pages: PageMap) -> NativeMemory:
    return reader(read, pages).memory(rows(), None, seconds=1.0)


def an_elf_page(vaddr: int, *, pages: int) -> bytearray:
    """The first page of a module: ELF header and one PT_LOAD that is larger than its file."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = struct.pack("<2I6Q", 1, 7, 0, vaddr, vaddr, PAGE, pages * PAGE, PAGE)
    return bytearray((header + load).ljust(PAGE, b"\0"))


def a_process() -> ModernMalloc:
    """Some blocks freed, in a program whose zeroed data lies behind its code."""
    malloc = ModernMalloc()
    chunks = [malloc.chunk(size) for size in (1040, 32, 2064, 32)]
    malloc.free([chunks[0], chunks[2]], 1)
    malloc.parts[PROGRAM] = an_elf_page(PROGRAM, pages=5)
    malloc.parts[DATA - PAGE] = an_elf_page(0, pages=5)
    return malloc


def test_a_process_is_divided_and_its_free_memory_counted(pages: PageMap) -> None:
    found = look(a_process().read, pages)

    assert found.resident == sum(row.rss for row in rows())
    assert (found.heap, found.files) == (64 * PAGE, (4 + 8 + 4 + 8 + 4) * KIB)
    assert found.free == 64 * PAGE - 64
    assert found.handed_out == 64
    assert (found.mapped_blocks, found.arenas, found.free_complete) == (0, 1, True)


def test_the_books_that_only_appear_later_are_found_then(pages: PageMap) -> None:
    malloc = a_process()
    data = bytes(malloc.parts[DATA])
    malloc.parts[DATA][:] = bytes(len(data))
    native = reader(malloc.read, pages)

    assert native.memory(rows(), None, seconds=1.0).free is None
    assert set(native.notices) == {"allocator.unknown"}

    malloc.parts[DATA][:] = data
    assert native.memory(rows(), None, seconds=1.0).free is not None
    assert not native.notices


def test_memory_that_cannot_be_read_leaves_what_the_mappings_say(pages: PageMap) -> None:
    found = look(lambda address, size: None, pages)

    assert found.resident == sum(row.rss for row in rows())
    assert (found.heap, found.free) == (64 * PAGE, None)


@given(st.integers(0, 1 << 32), st.sampled_from(["random", "pointers", "short"]))
@settings(max_examples=60)
def test_no_content_of_a_process_raises_or_breaks_the_sum(seed: int, kind: str) -> None:
    noise = random.Random(seed)
    starts = [row.region.start for row in rows()]

    def read(address: int, size: int) -> bytes | None:
        if kind == "short":
            return noise.randbytes(min(size, noise.randint(0, 64)))
        if kind == "random" or size % 8:
            return noise.randbytes(size)
        words = (noise.choice(starts) + noise.randint(0, 64) * 16 for _ in range(size // 8))
        return struct.pack(f"<{size // 8}Q", *words)

    layout = layout_for("go1.26.0")
    assert layout is not None
    native = reader(read, PageMap(0), GoHeap(GLOBALS, layout, read))

    found = native.memory(rows(), None, seconds=0.05)

    assert found.resident == sum(row.rss for row in rows())
    assert min(found.heap, found.go_heap, found.anonymous) >= 0
