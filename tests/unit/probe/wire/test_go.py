"""Go's facts in the form that the hook reads."""

from __future__ import annotations

import dataclasses

import pytest

from cgoleak.probe.wire.go import wire_go
from cgoleak.target.go.layout import layout_for
from cgoleak.target.go.runtime import GoProbeParameters, Span


def parameters(version="go1.24.3", **facts):
    known = GoProbeParameters(
        layout=layout_for(version),
        tls_offset=-8,
        text=Span(0x401000, 0x500000),
        asmcgocall=(Span(0x410000, 0x410100), Span(0x420000, 0x420020)),
        cgocallback=(Span(0x411000, 0x411100),),
        crosscall2=(Span(0x412000, 0x412080),),
        goexit=(Span(0x413000, 0x413010),),
        cleanup_entries=(0x414000,),
        cgocall_frame=0,
        gc_cycles=0x600000,
    )
    return dataclasses.replace(known, **facts)


def test_the_hook_is_told_where_everything_is():
    go = wire_go(parameters())

    assert (go.present, go.tls_g, go.gc_cycles) == (1, -8, 0x600000)
    assert list(go.text) == [0x401000, 0x500000]
    assert list(go.asmcgocall) == [0x410000, 0x410100, 0x420000, 0x420020]
    assert list(go.cgocallback) == [0x411000, 0x411100, 0, 0]
    assert list(go.crosscall2) == [0x412000, 0x412080]
    assert list(go.cleaners) == [0x414000, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("version", ["go1.19.13", "go1.22.0", "go1.27.0"])
def test_offsets_are_those_of_the_version(version):
    layout = layout_for(version)

    go = wire_go(parameters(version))

    assert (go.g_m, go.g_sched_sp, go.g_sched_bp) == (
        layout.g.m,
        layout.g.sched.sp,
        layout.g.sched.bp,
    )
    assert (go.m_g0, go.m_curg, go.m_incgo) == (layout.m.g0, layout.m.curg, layout.m.incgo)


def test_a_field_that_a_version_lacks_is_marked():
    lacking = layout_for("go1.19.13")

    go = wire_go(parameters("go1.19.13"))

    assert lacking.m.is_extra_in_c < 0
    assert go.m_isextra_in_c == 0xFFFFFFFF


def test_what_finds_no_room_is_left_out():
    many = tuple(Span(i, i + 1) for i in range(1, 9))

    go = wire_go(parameters(asmcgocall=many, cleanup_entries=tuple(range(1, 20)), crosscall2=()))

    assert list(go.asmcgocall) == [1, 2, 2, 3]
    assert list(go.cleaners) == list(range(1, 9))
    assert list(go.crosscall2) == [0, 0]
