"""A stack as the lines that people read: leaf first, plumbing folded, recursion counted.

Frames → lines without layout, so that every text format shows the same stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Frame, Language
from cgoleak.model.golibrary import go_package, is_dependency, is_go_library, own_go_frame
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["GUTTER", "StackLine", "place_of", "short_name", "site_words", "stack_lines"]

GUTTER: Final = {
    Language.C: "C",
    Language.CPP: "+",
    Language.GO: "G",
    Language.BRIDGE: "·",
    Language.RUNTIME: "·",
    Language.UNKNOWN: "?",
}
"""One letter for the language, so that colour is not the only sign."""

_PLUMBING: Final = frozenset({Language.BRIDGE, Language.RUNTIME})
_NATIVE: Final = frozenset({Language.C, Language.CPP})
# Instances of function templates have their return type before their name.
_LIBRARY: Final = re.compile(r"(?:[\w:*&]+ )?(?:std::|__gnu_cxx::)|operator new")
_STUB: Final = re.compile(r"_Cfunc_(\w+)$")
_MALLOC_STUBS: Final = frozenset({"_CMalloc", "_Cmalloc"})
_LIBRARY_RUN: Final = 3
_LONG_NAME: Final = 60
_LONGEST: Final = 24
"""Lines; a longer stack loses its middle unless the full one is asked for."""
_HEAD: Final = 14
_TAIL: Final = 8


@dataclass(frozen=True, slots=True)
class StackLine:
    """One line; ``place`` is ``file:line``, the module where there is no file, or empty."""

    lang: Language
    text: str
    place: str = ""


def stack_lines(stack: Sequence[Frame], *, full: bool = False) -> tuple[StackLine, ...]:
    """Return the lines of a stack, leaf first; ``full`` shows every frame as it is."""
    if full:
        return tuple(_line(frame, 1, full=True) for frame in stack)
    lines = tuple(_folded(stack))
    if len(lines) <= _LONGEST:
        return lines
    left_out = StackLine(Language.BRIDGE, f"… {len(lines) - _HEAD - _TAIL} more frames …")
    return (*lines[:_HEAD], left_out, *lines[-_TAIL:])


def site_words(stack: Sequence[Frame], *, full_paths: bool = False, places: bool = True) -> str:
    """Name a stack in one line: the allocating function and the Go function that called into C.

    Where that is in a module that the program requires, the program's own caller follows. Without
    ``places`` files and lines are left out.
    """
    named = partial(_with_place, full_paths=full_paths) if places else _without_place
    own = [frame for frame in stack if frame.lang not in _PLUMBING]
    if not own:
        return named(stack[0]) if stack else "unknown stack"
    # A container of the C++ library does not name the code that is to blame: its caller does.
    leaf = next((frame for frame in own if not _LIBRARY.match(frame.function)), own[0])
    words = named(leaf)
    if (called := _called_directly(stack)) is not None:
        return f"{called} ← {words}"
    caller = next((frame for frame in own if frame.lang is Language.GO), None)
    if caller is None:
        # A thread that C made: its outermost function says more than the leaf's caller.
        caller = own[-1]
    if caller is not leaf:
        words = f"{words} ← {named(caller)}"
    # Who calls a library looks for the line of his own.
    owner = own_go_frame(stack) if is_dependency(caller) else None
    return words if owner is None else f"{words} ← {named(owner)}"


def place_of(frame: Frame, *, parts: int | None = None) -> str:
    """Return ``file:line`` as far as known, with the last parts of the path or all of it."""
    if not frame.file:
        return ""
    path = frame.file if parts is None else "/".join(frame.file.split("/")[-parts:])
    return visible(path if frame.line is None else f"{path}:{frame.line}")


def _with_place(frame: Frame, *, full_paths: bool) -> str:
    place = place_of(frame, parts=None if full_paths else 1)
    name = visible(frame.function if full_paths else short_name(frame))
    return f"{name} ({place})" if place else name


def _without_place(frame: Frame) -> str:
    """Name a function for a narrow table: of a Go package the last part of its path."""
    name = short_name(frame)
    if frame.lang is Language.GO:
        plain, bracket, arguments = name.partition("[")
        name = f"{plain.rpartition('/')[2]}{bracket}{arguments}"
    return visible(name)


def short_name(frame: Frame) -> str:
    """Return a function's name; of a long one in C++ neither parameters nor template arguments."""
    name = frame.function
    if frame.lang is Language.GO or len(name) <= _LONG_NAME or "::" not in name:
        return name
    kept: list[str] = []
    depth = 0
    for sign in name.replace("(anonymous namespace)", "{anonymous}").replace("operator()", "call"):
        if sign in ")>":
            depth -= 1
        if depth <= 0:
            kept.append(sign)
        if sign in "(<":
            kept += "…" if depth == 0 else ""
            depth += 1
    return "".join(kept)


def _folded(stack: Sequence[Frame]) -> Iterator[StackLine]:
    """Fold runs of plumbing into one line, and equal frames in a row into one with a count."""
    inner = Language.C
    start = 0
    runs = [(plumbing, len(list(run))) for plumbing, run in groupby(stack, _is_plumbing)]
    for index, (plumbing, length) in enumerate(runs):
        frames = stack[start : start + length]
        start += length
        if not plumbing:
            inner = frames[-1].lang
            yield from _without_library(frames)
        elif len(runs) == 1:
            yield from _counted(frames)
        elif index < len(runs) - 1:
            # The outermost run is how every goroutine and thread starts: left out.
            called = _called_directly(stack) if index == 0 else None
            words = _crossing(inner, stack[start].lang)
            yield StackLine(Language.BRIDGE, f"{called} {words}" if called else words)


def _without_library(frames: Sequence[Frame]) -> Iterator[StackLine]:
    """Fold three and more frames of Go's standard library in a row: they are how a server calls."""
    for library, run in groupby(frames, is_go_library):
        same = list(run)
        if library and len(same) >= _LIBRARY_RUN:
            packages = list(dict.fromkeys(go_package(frame) for frame in same))
            words = ", ".join(packages[:3]) + (", …" if len(packages) > 3 else "")
            yield StackLine(Language.GO, f"… {len(same)} frames in {visible(words)} …")
        else:
            yield from _counted(same)


def _called_directly(stack: Sequence[Frame]) -> str | None:
    """Name what Go called if that has no frame of its own: ``C.malloc``, ``C.CString``.

    cgo allocates for these in its own stub; the Go side of it is ``pkg._Cfunc_NAME``
    (``cmd/cgo/out.go``; ``C.malloc`` is ``_Cfunc__CMalloc``).
    """
    run = list(takewhile(_is_plumbing, stack))
    names = [found[1] for frame in run if (found := _STUB.search(frame.function))]
    if not names or len(run) == len(stack):
        return None
    return "C.malloc" if names[-1] in _MALLOC_STUBS else f"C.{visible(names[-1])}"


def _crossing(inner: Language, outer: Language) -> str:
    """Name a run of plumbing by what it joins."""
    if inner is not Language.GO:
        return "… cgo call …"
    return "… callback from C …" if outer in _NATIVE else "… Go runtime …"


def _is_plumbing(frame: Frame) -> bool:
    return frame.lang in _PLUMBING


def _counted(frames: Sequence[Frame]) -> Iterator[StackLine]:
    for frame, same in groupby(frames):
        yield _line(frame, len(list(same)))


@lru_cache(maxsize=32768)
def _line(frame: Frame, times: int, *, full: bool = False) -> StackLine:
    """Thousands of sites share most of their frames."""
    name = visible(frame.function)
    notes = [f"{times} times"] if times > 1 else []
    if frame.inlined:
        notes.append("inlined")
    place = place_of(frame, parts=None if full else 2)
    # A name such as libz.so.1+0x1234 already says where it is.
    if not place and frame.module and not frame.function.startswith(frame.module):
        place = f"in {visible(frame.module)}"
    return StackLine(frame.lang, f"{name} ({', '.join(notes)})" if notes else name, place)
