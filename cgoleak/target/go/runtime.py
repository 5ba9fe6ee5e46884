"""What the probe needs to follow the Go part of a stack: executable and function table → numbers.

The probe runs in the target's ``malloc`` and may neither search nor guess: every offset, address
range and constant is worked out here, from the file, before it goes in. All addresses handed out
are those of the running process (load bias added). What the probe does with them is described in
``probes/``; the facts are in ``golayout``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.notice import Notice
from cgoleak.target.go.tls import GSlot, decode_g_slot, symbol_g_slot
from cgoleak.target.go.variables import locate_globals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgoleak.symbols.elf.object_file import ObjectFile
    from cgoleak.symbols.go.pclntab import GoTable
    from cgoleak.target.go.layout import GoLayout

__all__ = ["GoProbeParameters", "Span", "old_frame_size", "probe_parameters"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Addresses ``start <= pc < end`` in the running process."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GoProbeParameters:
    """Offsets, addresses and constants for the in-process walk.

    Attributes:
        layout: offsets of ``g``, ``m`` and the frames of asmcgocall, cgocallback, crosscall2.
        tls_offset: ``g`` of a thread is at thread pointer + this.
        text: Go code; a return address outside is C.
        asmcgocall: body and ABI wrapper of ``runtime.asmcgocall``.
        cgocallback: the same of ``runtime.cgocallback``.
        crosscall2: the assembly that C calls to enter Go; empty if Go is never called back.
        goexit: the outermost return address of every goroutine is in here.
        cleanup_entries: a goroutine whose ``g.startpc`` is one of these runs finalizers or
            cleanups: ``runfinq`` (≤ 1.24, runs both; mfinal.go:163), from 1.25
            ``runFinalizers`` (mfinal.go:172) and ``runCleanups`` (mcleanup.go:589).
        cgocall_frame: up to 1.20, where asmcgocall has no frame pointer: distance from the
            goroutine's stack pointer in ``cgocall`` to the end of its frame; else 0.
        gc_cycles: address of ``memstats.numgc`` (u32), or 0 if it was not found.
    """

    layout: GoLayout
    tls_offset: int
    text: Span
    asmcgocall: tuple[Span, ...]
    cgocallback: tuple[Span, ...]
    crosscall2: tuple[Span, ...]
    goexit: tuple[Span, ...]
    cleanup_entries: tuple[int, ...]
    cgocall_frame: int
    gc_cycles: int


_CLEANUPS: Final = ("runtime.runfinq", "runtime.runFinalizers", "runtime.runCleanups")
_TLS_CODE: Final = ("runtime.stackcheck", "runtime.asmcgocall", "runtime.load_g")
_PROLOGUE_BYTES: Final = 128

# SUBQ $N,SP; MOVQ BP,N-8(SP): the frame prologue up to Go 1.20, with N below 128 or not.
_OLD_PROLOGUE: Final = re.compile(
    rb"\x48\x83\xec(?P<size>.)\x48\x89\x6c\x24(?P<slot>.)"
    rb"|\x48\x81\xec(?P<long>.{4})\x48\x89\xac\x24(?P<far>.{4})",
    re.DOTALL,
)


def probe_parameters(
    exe: ObjectFile,
    table: GoTable,
    layout: GoLayout,
    *,
    bias: int = 0,
    read: Callable[[int, int], bytes | None] | None = None,
) -> GoProbeParameters | Notice:
    """Work out everything the probe needs, or say in a notice why Go frames cannot be had.

    ``table`` is the executable's own, in the file's addresses. ``read`` gives bytes of the running
    process; only shared objects need it, whose loader decides where ``g`` is.
    """
    asmcgocall = _spans(table, "runtime.asmcgocall", bias)
    goexit = _spans(table, "runtime.goexit", bias)
    if not asmcgocall or not goexit:
        return _unknown("its function table lacks runtime.asmcgocall or runtime.goexit")
    tls = _tls_offset(exe, table, layout.machine, bias=bias, read=read)
    if isinstance(tls, str):
        return _unknown(tls)
    frame = _cgocall_frame(exe, table, layout)
    if frame is None:
        return _unknown("the frame of runtime.cgocall could not be read")
    memstats = locate_globals(exe, table.functions(), layout.machine).memstats
    start, end = _text(exe, table)
    return GoProbeParameters(
        layout=layout,
        tls_offset=tls,
        text=Span(start + bias, end + bias),
        asmcgocall=asmcgocall,
        cgocallback=_spans(table, "runtime.cgocallback", bias),
        crosscall2=_spans(table, "crosscall2", bias),
        goexit=goexit,
        cleanup_entries=tuple(s.start for name in _CLEANUPS for s in _spans(table, name, bias)),
        cgocall_frame=frame,
        gc_cycles=memstats + layout.memstats.gc_cycles + bias if memstats else 0,
    )


def _unknown(reason: str) -> Notice:
    return Notice(
        code="go.no-stacks",
        text=f"the Go part of stacks is not taken: {reason}",
        fix="report this with the Go version and how the program was linked",
    )


def _spans(table: GoTable, name: str, bias: int) -> tuple[Span, ...]:
    return tuple(Span(start + bias, end + bias) for start, end in table.entries(name))


def _text(exe: ObjectFile, table: GoTable) -> tuple[int, int]:
    """Bounds of Go code as the linker marked them, else from the first to the last function."""
    start, end = exe.symbol("runtime.text"), exe.symbol("runtime.etext")
    if start and end and start[0] < end[0]:
        return start[0], end[0]
    return table.text_range()


def _tls_offset(
    exe: ObjectFile,
    table: GoTable,
    machine: str,
    *,
    bias: int,
    read: Callable[[int, int], bytes | None] | None,
) -> int | str:
    """Give the offset of ``g`` from the thread pointer, or the reason why it is not known."""
    code = _decode_tls(exe, table, machine)
    symbol = symbol_g_slot(exe, machine)
    if code is not None and code.got is not None:
        word = read(code.got + bias, 8) if read is not None else None
        if word is None or len(word) != 8:
            return "the loader's slot with the place of g could not be read"
        return int.from_bytes(word, "little", signed=True)
    known = {slot.offset for slot in (code, symbol) if slot is not None}
    match list(known):
        case [int(offset)]:
            return offset
        case []:
            return "the place of g in thread-local storage was not found"
        case _:
            return f"symbol and code disagree on the place of g: {sorted(map(str, known))}"


def _decode_tls(exe: ObjectFile, table: GoTable, machine: str) -> GSlot | None:
    for name in _TLS_CODE:
        for start, code in _prologues(exe, table, name):
            slot = decode_g_slot(code, start, machine)
            if slot is not None:
                return slot
    return None


def old_frame_size(code: bytes) -> int | None:
    """Give N of a prologue up to Go 1.20: the frame pointer is N - 8 above the stack pointer."""
    found = _OLD_PROLOGUE.search(code)
    if found is None:
        return None
    size = int.from_bytes(found["size"] or found["long"], "little")
    slot = int.from_bytes(found["slot"] or found["far"], "little")
    return size if slot == size - 8 else None


def _cgocall_frame(exe: ObjectFile, table: GoTable, layout: GoLayout) -> int | None:
    if layout.frames.asmcgocall_has_fp:
        return 0
    sizes = (old_frame_size(code) for _, code in _prologues(exe, table, "runtime.cgocall"))
    return next((size for size in sizes if size is not None), None)


def _prologues(exe: ObjectFile, table: GoTable, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield address and first bytes of every function of a name."""
    for start, end in table.entries(name):
        code = exe.read(start, min(end - start, _PROLOGUE_BYTES))
        if code:
            yield start, code
