from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.target.kernel.smaps import Mapping, SmapsReader
from cgoleak.target.residence import Claim, Owner, Residence, classify
from support.smaps_text import a_mapping, smaps_text

KIB = 1024
ARENA = 0xC000000000
PAGE = 4096


def rows(*mappings: str) -> tuple[Mapping, ...]:
    return SmapsReader(1).parse(smaps_text(*mappings))


def divide(
    *mappings: str,
    claims: tuple[Claim, ...] = (),
    present: dict[tuple[int, int], int] | None = None,
    programs: tuple[tuple[int, int], ...] = (),
    go_pointers: tuple[int, ...] = (),
    go_metadata: int | None = None,
) -> Residence:
    known = present or {}
    found = classify(
        rows(*mappings),
        claims,
        lambda low, high: known.get((low, high)),
        programs=programs,
        go_pointers=go_pointers,
        go_metadata=go_metadata,
    )
    assert found.total == sum(row.rss for row in rows(*mappings))
    return found


def owners(found: Residence) -> dict[str, int]:
    return {owner.value: size // KIB for owner, size in found.bytes.items() if size}


def test_names_and_files_tell_the_owner() -> None:
    found = divide(
        a_mapping(0x400000, 0x500000, "/srv/worker", perms="r-xp", inode=1, Rss=100),
        a_mapping(0x600000, 0x700000, "[heap]", Rss=20),
        a_mapping(0x800000, 0x900000, "/var/data", perms="r--p", inode=2, Rss=30),
        a_mapping(0xA00000, 0xB00000, "/memfd:cgoleak-tables (deleted)", inode=3, Rss=7),
        a_mapping(0xC00000, 0xD00000, perms="rw-s", Rss=5),
        a_mapping(0x7F0000000000, 0x7F0000010000, Rss=11),
        a_mapping(0x7FFF00000000, 0x7FFF00010000, "[stack]", Rss=12),
        a_mapping(0x7FFF00020000, 0x7FFF00022000, "[vdso]", perms="r-xp", Rss=8),
        programs=((0x400000, 0x580000),),
    )

    assert owners(found) == {
        "files": 108,
        "heap": 20,
        "shared": 35,
        "own": 7,
        "anonymous": 11,
        "stacks": 12,
    }


def test_names_that_go_and_glibc_give_to_their_memory_are_believed() -> None:
    found = divide(
        a_mapping(0x1000000, 0x1100000, "[anon: Go: gc bits]", Rss=40),
        a_mapping(0x2000000, 0x2100000, "[anon: glibc: malloc arena]", Rss=50),
    )

    assert owners(found) == {"go_metadata": 40, "heap": 50}


def test_a_program_mapped_once_more_as_data_is_a_file_like_any_other() -> None:
    found = divide(
        a_mapping(0x400000, 0x500000, "/srv/worker", perms="r-xp", inode=1, Rss=100),
        a_mapping(0x900000, 0xA00000, "/srv/worker", perms="r--p", inode=1, Rss=60),
        programs=((0x400000, 0x580000),),
    )

    assert owners(found) == {"files": 100, "shared": 60}


def test_zeroed_data_behind_a_library_is_the_librarys() -> None:
    found = divide(
        a_mapping(0x500000, 0x510000, Rss=24), claims=(Claim(0x400000, 0x510000, Owner.FILES),)
    )

    assert owners(found) == {"files": 24}


def test_lazily_freed_and_huge_pages_are_told_for_gos_arenas_only() -> None:
    found = divide(
        a_mapping(ARENA, ARENA + (4 << 20), Rss=4000, LazyFree=600, AnonHugePages=2048),
        a_mapping(0x7F0000000000, 0x7F0000800000, Rss=5000, LazyFree=10, AnonHugePages=4096),
        claims=(Claim(ARENA, ARENA + (64 << 20), Owner.GO_HEAP),),
    )

    assert owners(found) == {"go_heap": 4000, "anonymous": 5000}
    assert (found.go_lazy_free, found.go_huge_pages) == (600 * KIB, 2048 * KIB)


def test_a_mapping_of_two_owners_is_divided_page_by_page() -> None:
    start = 0x7F0000000000
    found = divide(
        a_mapping(start, start + 100 * PAGE, Rss=200),
        claims=(Claim(start, start + 40 * PAGE, Owner.STACKS),),
        present={(start, start + 40 * PAGE): 3 * PAGE},
    )

    assert owners(found) == {"stacks": 12, "anonymous": 188}


def test_without_page_map_such_a_mapping_is_divided_in_proportion() -> None:
    start = 0x7F0000000000
    found = divide(
        a_mapping(start, start + 100 * PAGE, Rss=200),
        claims=(Claim(start, start + 40 * PAGE, Owner.STACKS),),
    )

    assert owners(found) == {"stacks": 80, "anonymous": 120}


def test_a_mapping_that_gos_heap_points_into_is_gos() -> None:
    start = 0x7F0000000000
    found = divide(
        a_mapping(start, start + 0x10000, Rss=30),
        a_mapping(start + 0x20000, start + 0x30000, Rss=40),
        go_pointers=(start + 0x20008,),
    )

    assert owners(found) == {"go_metadata": 40, "anonymous": 30}


def test_go_is_not_given_more_metadata_than_it_says_it_has() -> None:
    start = 0x7F0000000000
    found = divide(
        a_mapping(start, start + 0x1000000, Rss=9000),
        go_pointers=(start,),
        go_metadata=2000 * KIB,
    )

    assert owners(found) == {"go_metadata": 2000, "anonymous": 7000}


claims_anywhere = st.lists(
    st.builds(
        lambda start, pages, owner: Claim(start * PAGE, (start + pages) * PAGE, owner),
        st.integers(0, 60),
        st.integers(0, 40),
        st.sampled_from(Owner),
    ),
    max_size=8,
)


@given(claims_anywhere, st.lists(st.integers(0, 200), min_size=3, max_size=3), st.integers(-1, 99))
def test_whatever_is_claimed_every_byte_has_one_owner(
    claims: list[Claim], rss: list[int], here: int
) -> None:
    mappings = [
        a_mapping(at * PAGE, (at + 15) * PAGE, Rss=min(kib, 60))
        for at, kib in zip((5, 20, 50), rss, strict=True)
    ]
    present = (
        {(low * PAGE, high * PAGE): here * PAGE for low in range(101) for high in range(101)}
        if here >= 0
        else {}
    )

    divide(*mappings, claims=tuple(claims), present=present)
