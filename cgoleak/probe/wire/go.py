"""Go's part of the probe's configuration: runtime facts → the wire structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.probe.wire.layout import Go

if TYPE_CHECKING:
    from cgoleak.target.go.runtime import GoProbeParameters, Span

__all__ = ["wire_go"]

_ABSENT: Final = 0xFFFFFFFF


def wire_go(parameters: GoProbeParameters) -> Go:
    """Put the parameters in the form that the hook reads."""
    layout = parameters.layout
    go = Go(
        present=1,
        tls_g=parameters.tls_offset,
        g_m=layout.g.m,
        g_sched_sp=layout.g.sched.sp,
        g_sched_bp=layout.g.sched.bp,
        g_startpc=layout.g.startpc,
        m_g0=layout.m.g0,
        m_curg=layout.m.curg,
        m_incgo=layout.m.incgo,
        m_isextra=_field(layout.m.isextra),
        m_isextra_in_c=_field(layout.m.is_extra_in_c),
        asm_pad=layout.frames.pad,
        asm_saved_g=layout.frames.saved_g,
        cross_ret=layout.frames.crosscall2_return,
        cross_bp=layout.frames.crosscall2_fp,
        cgocall_frame=parameters.cgocall_frame,
        gc_cycles=parameters.gc_cycles,
    )
    _put(go.asmcgocall, parameters.asmcgocall)
    _put(go.cgocallback, parameters.cgocallback)
    _put(go.goexit, parameters.goexit)
    _put(go.crosscall2, parameters.crosscall2)
    _put(go.text, (parameters.text,))
    for index, entry in enumerate(parameters.cleanup_entries[: len(go.cleaners)]):
        go.cleaners[index] = entry
    return go


def _field(offset: int) -> int:
    return _ABSENT if offset < 0 else offset


def _put(words: object, spans: tuple[Span, ...]) -> None:
    """Fill [start, end) pairs; what finds no room (a third copy of a function) is left out."""
    for index, span in enumerate(spans[: len(words) // 2]):  # type: ignore[arg-type]
        words[2 * index] = span.start  # type: ignore[index]
        words[2 * index + 1] = span.end  # type: ignore[index]
