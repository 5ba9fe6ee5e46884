"""Two readings of Go's heap profile become places that grew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cgoleak.model.goprofile import GoProfile, GoUse
from cgoleak.model.ids import Address
from cgoleak.model.report import Cause
from cgoleak.verdict.gosites import go_site_notices, grown_go_sites
from support.builders import SECOND, a_capture, a_frame

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture

MALLOC, SLICE, KEEP, DECODE, MAIN = map(Address, range(0x401000, 0x401005))
FRAMES = {
    MALLOC: (a_frame("runtime runtime.mallocgc malloc.go:1"),),
    SLICE: (a_frame("Go bytes.growSlice /go/src/bytes/buffer.go:249"),),
    KEEP: (a_frame("inl Go main.keep /w/keep.go:7"), a_frame("Go main.main /w/main.go:3")),
    DECODE: (a_frame("Go main.decode /w/decode.go:9"),),
    MAIN: (a_frame("Go main.main /w/main.go:3"),),
}


def a_profile(at_s: int, *uses: tuple[tuple[Address, ...], int, int], rate: int = 1) -> GoProfile:
    return GoProfile(at_s * SECOND, rate, tuple(GoUse(*use) for use in uses))


def profiled(*profiles: GoProfile) -> Capture:
    return replace(a_capture(), frames=FRAMES, go_profiles=profiles)


def test_a_place_is_the_innermost_function_that_is_not_gos_own():
    begin = a_profile(0, ((MALLOC, SLICE, DECODE, MAIN), 64, 1))
    end = a_profile(9, ((MALLOC, SLICE, DECODE, MAIN), 64, 11))

    (site,) = grown_go_sites(profiled(begin, end))

    assert (site.function, site.file, site.line) == ("main.decode", "/w/decode.go", 9)
    assert (site.in_use_bytes, site.change_bytes) == (11 * 64, 10 * 64)
    assert [frame.function for frame in site.stack] == [
        "runtime.mallocgc",
        "bytes.growSlice",
        "main.decode",
        "main.main",
    ]


def test_of_an_inlined_function_the_outer_one_is_not_told_twice():
    (site,) = grown_go_sites(profiled(a_profile(0), a_profile(9, ((KEEP, MAIN), 8, 1))))

    assert [frame.function for frame in site.stack] == ["main.keep", "main.main"]


def test_places_that_grew_come_most_first_and_those_that_shrank_not_at_all():
    begin = a_profile(0, ((MAIN,), 100, 9))
    end = a_profile(9, ((MAIN,), 100, 1), ((KEEP,), 10, 5), ((DECODE,), 10, 7))

    found = grown_go_sites(profiled(begin, end))

    assert [(one.function, one.change_bytes) for one in found] == [
        ("main.decode", 70),
        ("main.keep", 50),
    ]


def test_sizes_and_stacks_of_one_line_are_one_place():
    end = a_profile(9, ((KEEP, MAIN), 8, 1), ((KEEP, MAIN), 32, 2), ((SLICE, KEEP), 16, 1))

    (site,) = grown_go_sites(profiled(a_profile(0), end))

    assert site.change_bytes == 8 + 64 + 16


def test_of_two_stacks_that_grew_alike_one_is_shown_and_always_the_same() -> None:
    end = a_profile(9, ((KEEP, MAIN), 8, 1), ((SLICE, KEEP), 8, 1))

    (site,) = grown_go_sites(profiled(a_profile(0), end))

    assert [frame.function for frame in site.stack] == ["main.keep", "main.main"]


def test_small_objects_count_for_those_that_were_not_sampled():
    end = a_profile(9, ((KEEP,), 1024, 1), rate=512 << 10)

    (site,) = grown_go_sites(profiled(a_profile(0), end))

    assert 512 << 10 < site.in_use_bytes < 514 << 10


def test_one_reading_shows_no_growth():
    assert grown_go_sites(profiled(a_profile(9, ((KEEP,), 8, 1)))) == ()


def test_where_the_go_heap_is_to_blame_a_missing_profile_is_said_with_its_reason():
    off = GoProfile(0, 0, missing="the program does not import runtime/pprof")
    capture = profiled(off, off)

    (notice,) = go_site_notices(capture, Cause.GO_HEAP)

    assert notice.code == "go.no-heap-profile"
    assert notice.text.endswith("is not available: the program does not import runtime/pprof")
    assert go_site_notices(capture, Cause.NATIVE_LEAK) == ()


def test_a_rate_that_is_not_known_is_said():
    capture = profiled(GoProfile(0), GoProfile(SECOND))

    assert [one.code for one in go_site_notices(capture, Cause.GO_HEAP)] == [
        "go.assumed-profile-rate"
    ]
