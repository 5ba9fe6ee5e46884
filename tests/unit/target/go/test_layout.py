from __future__ import annotations

from dataclasses import fields

import pytest

from cgoleak.target.go.layout import (
    AMD64,
    ARM64,
    FIRST_MINOR,
    LAST_MINOR,
    GoLayout,
    layout_for,
)
from cgoleak.target.go.version import go_minor

EVERY_MINOR = range(FIRST_MINOR, LAST_MINOR + 1)


def layout(minor: int, machine: str = AMD64) -> GoLayout:
    found = layout_for(f"go1.{minor}.1", machine)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("version", "minor"),
    [
        ("go1.20", 20),
        ("go1.21.13", 21),
        ("go1.27.3", 27),
        ("go1.25.5 X:boringcrypto", 25),
        ("go1.24.1-fips", 24),
        ("go1.22.5+vendor", 22),
        ("go1.23.4 (Red Hat 1.23.4-1.el9)", 23),
    ],
)
def test_a_released_version_has_the_layout_of_its_minor(version: str, minor: int) -> None:
    found = layout_for(version)

    assert found is not None
    assert found.minor == minor == go_minor(version)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "go1",
        "go2.1",
        "go1.18.10",
        "go1.28.0",
        "go1.27rc1",
        "go1.26beta2",
        "go1.26-devel_0123abc",
        "go1.27.1-20260101-RC00",
        "devel go1.27-0123abc Mon Jan 1",
        "go1.26.1 X:staticlockranking",
        "xgo1.26.1",
        "go1.99999999",
    ],
)
def test_a_version_without_a_known_layout_has_none(version: str) -> None:
    assert layout_for(version) is None


def test_a_machine_without_a_known_layout_has_none() -> None:
    assert layout_for("go1.26.1", "riscv64") is None


@pytest.mark.parametrize("machine", [AMD64, ARM64])
@pytest.mark.parametrize("minor", EVERY_MINOR)
def test_no_two_fields_share_their_place(minor: int, machine: str) -> None:
    found = layout(minor, machine)
    for part in (found.controller, found.memstats, found.g, found.m):
        places = [
            value
            for field in fields(part)
            if field.name not in ("delta_stride", "has_ptr_scalar_bits", "sched")
            and (value := getattr(part, field.name)) >= 0
        ]

        assert len(places) == len(set(places))


@pytest.mark.parametrize("minor", EVERY_MINOR)
def test_all_fields_but_flags_are_aligned(minor: int) -> None:
    found = layout(minor)
    words = [
        found.g.sched.sp,
        found.g.sched.bp,
        found.g.goid,
        found.g.startpc,
        found.g.labels,
        found.m.curg,
        found.m.procid,
        found.controller.heap_in_use,
        found.memstats.last_gc_unix,
        found.memstats.delta_stride,
        found.heap.arenas,
    ]

    assert [word % 8 for word in words] == [0] * len(words)


@pytest.mark.parametrize("minor", EVERY_MINOR)
def test_the_deltas_end_before_what_follows_them(minor: int) -> None:
    stats = layout(minor).memstats

    assert 3 * stats.delta_stride < stats.stacks_sys < stats.last_gc_unix < stats.gc_cycles


def test_c_threads_keep_their_m_from_1_21_on() -> None:
    assert [layout(minor).m.is_extra_in_c >= 0 for minor in (19, 20, 21, 27)] == [
        False,
        False,
        True,
        True,
    ]


def test_asmcgocall_has_a_frame_pointer_from_1_21_on_and_everywhere_on_arm64() -> None:
    assert [layout(minor).frames.asmcgocall_has_fp for minor in (19, 20, 21, 27)] == [
        False,
        False,
        True,
        True,
    ]
    assert layout(19, ARM64).frames.asmcgocall_has_fp
