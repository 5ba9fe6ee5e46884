from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.target.kernel.smaps import Mapping, SmapsReader
from support.proctree import a_process
from support.smaps_text import a_mapping, smaps_text

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
THREE = smaps_text(
    a_mapping(0x400000, 0x500000, "/srv/a b", perms="r-xp", inode=7, Rss=900, Pss=300),
    a_mapping(0x500000, 0x540000, Rss=200, Anonymous=180, LazyFree=16, AnonHugePages=100, Swap=40),
    a_mapping(0x700000, 0x701000, "[heap]", Rss=4, Shared_Clean=1, Shared_Dirty=2),
)


def parse(text: bytes) -> tuple[Mapping, ...]:
    return SmapsReader(1).parse(text)


def test_every_mapping_has_its_numbers_in_bytes() -> None:
    code, data, heap = parse(THREE)

    assert (code.region.path, code.rss, code.pss) == ("/srv/a b", 900 * KIB, 300 * KIB)
    assert (data.anonymous, data.lazy_free, data.huge_pages, data.swap) == (
        180 * KIB,
        16 * KIB,
        100 * KIB,
        40 * KIB,
    )
    assert heap.shared == 3 * KIB


def test_rows_of_unlike_shape_are_read_one_by_one() -> None:
    unlike = THREE.replace(b"Locked:                0 kB\n", b"", 1)

    assert parse(unlike) == parse(THREE)


def test_a_field_that_this_kernel_does_not_have_is_zero() -> None:
    old = b"".join(line for line in THREE.splitlines(keepends=True) if b"LazyFree" not in line)

    assert [row.lazy_free for row in parse(old)] == [0, 0, 0]


def test_a_mapping_that_is_listed_twice_counts_once() -> None:
    assert sum(row.rss for row in parse(THREE + THREE)) == sum(row.rss for row in parse(THREE))


def test_a_torn_end_costs_no_more_than_the_last_mapping() -> None:
    whole = parse(THREE)

    for length in range(len(THREE)):
        assert parse(THREE[:length])[:-1] == whole[: max(0, len(parse(THREE[:length])) - 1)]


def test_no_part_is_larger_than_the_mapping() -> None:
    (row,) = parse(smaps_text(a_mapping(0x1000, 0x3000, Rss=1 << 40, Anonymous=1 << 50)))

    assert (row.rss, row.anonymous) == (0x2000, 0x2000)


def test_mappings_that_stay_keep_their_region_from_look_to_look(tmp_path: Path) -> None:
    (a_process(tmp_path, 7) / "smaps").write_bytes(THREE)
    reader = SmapsReader(7, tmp_path)

    assert reader.read()[0].region is reader.read()[0].region


@given(st.binary(max_size=400))
def test_any_bytes_give_rows_or_none(content: bytes) -> None:
    parse(content)


@given(st.lists(st.tuples(st.integers(0, len(THREE) - 1), st.integers(0, 255)), max_size=9))
def test_flipped_bytes_give_rows_that_are_in_order_and_consistent(
    flips: list[tuple[int, int]],
) -> None:
    text = bytearray(THREE)
    for place, value in flips:
        text[place] = value

    end = 0
    for row in parse(bytes(text)):
        assert end <= row.region.start < row.region.end
        end = row.region.end
        parts = (row.pss, row.shared, row.anonymous, row.lazy_free, row.huge_pages)
        assert 0 <= max(parts) <= row.rss <= row.region.end - row.region.start
