"""One frame of a stack, after symbols."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Frame", "Language"]


class Language(StrEnum):
    """What kind of code a frame is; the values are those of the JSON report."""

    C = "C"
    CPP = "C++"
    GO = "Go"
    BRIDGE = "bridge"
    """cgo plumbing: ``_cgo_…_Cfunc_…``, ``main._Cfunc_…``, ``crosscall2``."""
    RUNTIME = "runtime"
    """Go's runtime: ``runtime.cgocall``, ``runtime.asmcgocall``, ``runtime.goexit``."""
    UNKNOWN = "unknown"

    __hash__ = str.__hash__  # frames are looked up by the ten thousand; that of an enum is slow


class Frame(NamedTuple):
    """A function on a stack; inlined functions are frames of their own.

    A tuple, because ten thousand stacks look their frames up in tables by the hundred thousand.

    Attributes:
        lang: kind of code.
        function: demangled name, or ``module+0x1234`` where there is no symbol.
        file: source path as the compiler recorded it, or None.
        line: line of the call (or of the allocation in the leaf), or None.
        module: base name of the ELF file, or None for an address outside every module.
        inlined: true where the compiler merged this function into the next outer frame.
    """

    lang: Language
    function: str
    file: str | None = None
    line: int | None = None
    module: str | None = None
    inlined: bool = False
