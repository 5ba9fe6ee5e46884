from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cgoleak.errors import NoSuchProcess
from cgoleak.target.kernel.pagemap import PageMap
from cgoleak.target.observer import MemoryObserver
from support.proctree import a_process
from support.smaps_text import a_mapping, smaps_text

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
MIB = 1 << 20
SMAPS = smaps_text(
    a_mapping(0x400000, 0x500000, "/srv/worker", perms="r-xp", inode=1, Rss=100),
    a_mapping(0x600000, 0x700000, "[heap]", Rss=20, Anonymous=20, Swap=4),
    a_mapping(0x7F0000000000, 0x7F0000400000, Rss=1000, Anonymous=1000, AnonHugePages=512),
)


def a_folder(root: Path, *, smaps: bytes = SMAPS, state: str = "S (sleeping)") -> Path:
    folder = a_process(root, 42, state=state, exe="/bin/sh")
    (folder / "smaps").write_bytes(smaps)
    return folder


def test_a_process_that_is_neither_go_nor_glibc_is_divided_as_far_as_it_goes(
    tmp_path: Path,
) -> None:
    a_folder(tmp_path)

    with MemoryObserver(42, root=tmp_path) as observer:
        process, go, native = observer.observe()

    assert process is not None
    assert (process.rss, process.anonymous, process.swap, process.huge_pages) == (
        1120 * KIB,
        1020 * KIB,
        4 * KIB,
        512 * KIB,
    )
    assert go is None
    assert native is not None
    assert (native.files, native.heap, native.anonymous) == (100 * KIB, 20 * KIB, 1000 * KIB)
    assert (native.free, native.handed_out, native.resident) == (None, None, process.rss)
    assert [one.code for one in observer.notices] == ["allocator.unknown"]


def test_without_details_the_mappings_are_not_read(tmp_path: Path) -> None:
    (a_folder(tmp_path) / "smaps").unlink()

    with MemoryObserver(42, root=tmp_path) as observer:
        process, _, native = observer.observe(detailed=False)

    assert process is not None
    assert (process.rss, native) == (1000 * KIB, None)


def test_a_process_that_ended_is_seen_as_nothing(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    with MemoryObserver(42, root=tmp_path) as observer:
        for name in ("status", "smaps"):
            (folder / name).unlink()

        assert observer.observe() == (None, None, None)


def test_a_process_that_is_not_there_cannot_be_observed(tmp_path: Path) -> None:
    with pytest.raises(NoSuchProcess):
        MemoryObserver(42, root=tmp_path)


def test_an_observer_may_be_closed_twice(tmp_path: Path) -> None:
    a_folder(tmp_path)
    observer = MemoryObserver(42, root=tmp_path)

    observer.close()
    observer.close()

    assert observer.observe().native is not None


def test_resident_pages_are_counted_from_the_page_map(tmp_path: Path) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    folder = a_folder(tmp_path)
    present = (1 << 63).to_bytes(8, "little")
    (folder / "pagemap").write_bytes(bytes(8 * 600) + present * 10)
    pages = PageMap(42, tmp_path)

    assert pages.present(0, 700 * page) == 10 * page
    assert pages.present(595 * page, 605 * page) == 5 * page
    assert pages.present(700 * page, 700 * page) == 0
    pages.close()


def test_without_a_page_map_residence_is_not_known(tmp_path: Path) -> None:
    a_folder(tmp_path)

    assert PageMap(42, tmp_path).present(0, 1 << 20) is None
