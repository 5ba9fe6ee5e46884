from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.notice import Notice
from cgoleak.target.go.sites import GoSite, go_profile, go_sites
from support.go_images import Memory

HEAD = 0x650000
RATE = 0x651000
SMALL, LARGE = 0x700000, 0x710000


def a_profile() -> Memory:
    memory = Memory()
    memory.put(HEAD, "<Q", SMALL)
    memory.put(SMALL, "<8Q2Q", 0, LARGE, 1, 99, 1024, 2, 0x401000, 0x402000, 10, 4)
    memory.put(LARGE, "<7Q2Q", 0, 0, 1, 98, 1 << 20, 1, 0x403000, 3, 1)
    return memory


def test_sites_come_with_what_is_in_use_most_bytes_first() -> None:
    found = go_sites(a_profile().read, HEAD, rate=1)

    assert found == (
        GoSite((0x403000,), objects=2, bytes=2 << 20, estimated_bytes=2 << 20),
        GoSite((0x401000, 0x402000), objects=6, bytes=6144, estimated_bytes=6144),
    )


def test_a_small_block_stands_for_many_that_sampling_left_out() -> None:
    found = go_sites(a_profile().read, HEAD)

    assert not isinstance(found, Notice)
    small = next(site for site in found if site.objects == 6)
    # One block of 1024 bytes is met once in 512.5 times.
    assert abs(small.estimated_bytes / (6144 * 512.5) - 1) < 1e-6


def test_a_stack_whose_objects_are_all_freed_is_no_site() -> None:
    memory = a_profile()
    memory.put(LARGE + 56, "<2Q", 3, 3)

    assert [site.objects for site in go_sites(memory.read, HEAD)] == [6]  # type: ignore[union-attr]


def test_a_program_that_does_not_sample_has_no_profile_rather_than_an_empty_one() -> None:
    memory = Memory()
    memory.put(HEAD, "<Q", 0)

    found = go_sites(memory.read, HEAD)

    assert isinstance(found, Notice)
    assert "does not sample" in found.text


def test_an_unknown_variable_gives_a_notice() -> None:
    assert isinstance(go_sites(Memory().read, None), Notice)
    assert isinstance(go_sites(Memory().read, HEAD), Notice)


def test_a_list_that_bites_its_tail_is_refused() -> None:
    memory = a_profile()
    memory.put(LARGE + 8, "<Q", SMALL)

    found = go_sites(memory.read, HEAD)

    assert isinstance(found, Notice)
    assert "circle" in found.text


@given(
    st.sampled_from([SMALL, LARGE, SMALL + 56]),
    st.integers(0, 7),
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 512 << 10]),
)
def test_a_wrong_word_gives_sites_or_a_notice(base: int, index: int, word: int, rate: int) -> None:
    memory = a_profile()
    memory.put(base + 8 * min(index, 2 if base > SMALL and base < LARGE else 7), "<Q", word)

    found = go_sites(memory.read, HEAD, rate=rate)

    if not isinstance(found, Notice):
        assert all(site.estimated_bytes >= site.bytes >= 0 for site in found)


def test_where_sampling_is_off_there_is_no_profile_whatever_the_list_holds() -> None:
    memory = a_profile()
    memory.put(RATE, "<q", 0)

    found = go_profile(memory.read, HEAD, RATE, at_ns=7)

    assert (found.at_ns, found.rate, found.uses) == (7, 0, ())
    assert found.missing is not None
    assert "MemProfileRate" in found.missing


def test_where_sampling_is_on_and_met_nothing_the_profile_is_empty() -> None:
    memory = Memory()
    memory.put(HEAD, "<Q", 0)
    memory.put(RATE, "<q", 4096)

    found = go_profile(memory.read, HEAD, RATE, at_ns=7)

    assert (found.rate, found.uses, found.missing) == (4096, (), None)
