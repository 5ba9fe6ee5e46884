"""Frames of the assembly between Go and C, release by release and machine by machine.

Sources: ``runtime/asm_amd64.s``, ``asm_arm64.s`` (asmcgocall, cgocallback), and the files of the
same names in ``runtime/cgo`` (crosscall2). A row holds from the minor release that is its key to
the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AMD64", "ARM64", "CgoFrames", "frames_for", "newest"]

AMD64: Final = "amd64"
ARM64: Final = "arm64"

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class CgoFrames:
    """Frames of the assembly between Go and C (``asm_amd64.s``, ``asm_arm64.s``).

    ``asmcgocall`` runs C at ``A = (g0.sched.sp - pad) & ~15``; ``saved_g`` and ``saved_depth``
    count from A. A callback stores in ``g0.sched.sp`` the address S of ``cgocallback``'s frame; the
    ``callback_*`` offsets count from S, the ``crosscall2_*`` offsets from crosscall2's own stack
    pointer, which is ``S + callback_caller_sp``.

    Attributes:
        callback_previous_sp: where ``cgocallback`` keeps the ``g0.sched.sp`` from before.
        callback_return: the slot of its return address, which is in ``crosscall2``.
        callback_fp_to_marker: on the goroutine's chain, from the frame whose return address is in
            ``cgocallback`` to the slot with the marker PC; the goroutine's stack pointer from
            before the callback is 8 above it. -1 on arm64, where the frame record lies below the
            locals: there only the way along g0 is open.
        crosscall2_saved: DWARF register number → slot of the C caller's callee-saved registers.
        asmcgocall_has_fp: whether ``asmcgocall`` pushes a frame pointer on the goroutine's stack:
            not on amd64 up to 1.20, where the assembler skipped frameless NOSPLIT functions
            (cmd/internal/obj/x86/obj6.go 1.20:611, 1.21:622).
    """

    pad: int
    saved_g: int
    saved_depth: int
    asmcgocall_has_fp: bool
    callback_previous_sp: int
    callback_return: int
    callback_caller_sp: int
    callback_fp_to_marker: int
    crosscall2_return: int
    crosscall2_fp: int
    crosscall2_cfa: int
    crosscall2_saved: tuple[tuple[int, int], ...]


def newest(rows: Mapping[int, _Row], minor: int) -> _Row:
    """Give the row with the highest key that is not above ``minor``."""
    return rows[max(first for first in rows if first <= minor)]


def frames_for(minor: int, machine: str) -> CgoFrames:
    """Give the frames of a listed minor release on a listed machine."""
    return newest(_FRAMES[machine], minor)


# crosscall2 saves rbx, r12 to r15 above cgocallback's three arguments (runtime/cgo/abi_amd64.h,
# PUSH_REGS_HOST_TO_ABI0). From 1.22 it also pushes rbp in front of them (it lost NOFRAME).
_AMD64_SAVED: Final = ((3, 0x18), (12, 0x20), (13, 0x28), (14, 0x30), (15, 0x38))
_AMD64_1_19: Final = CgoFrames(
    pad=64,
    saved_g=48,
    saved_depth=40,
    asmcgocall_has_fp=False,
    callback_previous_sp=0,
    callback_return=0x20,
    callback_caller_sp=0x28,
    callback_fp_to_marker=48,
    crosscall2_return=0x48,
    crosscall2_fp=0x40,
    crosscall2_cfa=0x50,
    crosscall2_saved=_AMD64_SAVED,
)
_AMD64_1_21: Final = replace(_AMD64_1_19, asmcgocall_has_fp=True)
_FRAMES: Final = {
    AMD64: {
        19: _AMD64_1_19,
        21: _AMD64_1_21,
        22: replace(
            _AMD64_1_21,
            pad=16,
            saved_g=8,
            saved_depth=0,
            crosscall2_return=0x50,
            crosscall2_fp=0x48,
            crosscall2_cfa=0x58,
        ),
    },
    ARM64: {
        19: CgoFrames(
            pad=16,
            saved_g=0,
            saved_depth=8,
            asmcgocall_has_fp=True,
            callback_previous_sp=16,
            callback_return=0,
            callback_caller_sp=0x30,
            callback_fp_to_marker=-1,
            crosscall2_return=8 * 23,
            crosscall2_fp=8 * 22,
            crosscall2_cfa=192,
            crosscall2_saved=tuple((19 + n, 8 * (4 + n)) for n in range(10)),
        ),
    },
}
