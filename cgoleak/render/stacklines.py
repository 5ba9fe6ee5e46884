"""A stack as the lines that people read: leaf first, plumbing folded, recursion counted.

Frames → lines without layout, so that every text format shows the same stack.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby, islice, takewhile
from operator import eq
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.frames import Frame, Language
from cgoleak.model.golibrary import go_package, is_dependency, is_go_library, own_go_frame
from cgoleak.model.names import brief_name, readable_name, short_name
from cgoleak.model.ownership import (
    allocating_frame,
    is_cpp_library,
    is_users,
    is_wrapper,
)
from cgoleak.model.words import ENGLISH, words_in
from cgoleak.render.visible import shorten_left, shorten_middle, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cgoleak.model.words import Words

__all__ = [
    "GUTTER",
    "StackLine",
    "brief_place",
    "called_by_stub",
    "fitted_site",
    "named_frame",
    "place_of",
    "site_names",
    "site_words",
    "stack_lines",
]

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
_STUB: Final = re.compile(r"_Cfunc_(\w+)$")
_MALLOC_STUBS: Final = frozenset({"_CMalloc", "_Cmalloc"})
_LIBRARY_RUN: Final = 3
_LONGEST: Final = 24
"""Lines; a longer stack loses its middle unless the full one is asked for."""
_HEAD: Final = 14
_TAIL: Final = 8
_LEAST_CALLER: Final = 8
"""Columns, with fewer of which a caller's name says nothing."""


class StackLine(NamedTuple):
    """One line; ``place`` is ``file:line``, the module where there is no file, or empty."""

    lang: Language
    text: str
    place: str = ""


def stack_lines(
    stack: Sequence[Frame], *, full: bool = False, words: Words = ENGLISH
) -> tuple[StackLine, ...]:
    """Return the lines of a stack, leaf first; ``full`` shows every frame as it is."""
    if full:
        return tuple(_line(frame, 1, words.lang, full=True) for frame in stack)
    lines = tuple(_folded(stack, words))
    if len(lines) <= _LONGEST:
        return lines
    more = words("… {count} more frames …", count=len(lines) - _HEAD - _TAIL)
    left_out = StackLine(Language.BRIDGE, more)
    return (*lines[:_HEAD], left_out, *lines[-_TAIL:])


def site_words(stack: Sequence[Frame], *, places: bool = True) -> str:
    """Name a stack in one line: the allocating function and the Go function that called into C.

    Without ``places``, for a narrow table, files and lines are left out and names are brief.
    """
    return " ← ".join(_names(stack, short_name if places else brief_name, places=places))


def site_names(stack: Sequence[Frame]) -> tuple[str, ...]:
    """Name a stack as people say it: the allocating function, and who called it.

    Who allocates comes first, and the program's own code last.
    """
    return tuple(_names(stack, brief_name))


def fitted_site(stack: Sequence[Frame], room: int | None) -> str:
    """Name a stack in the most telling way that fits; ``room`` is None where nothing is cut.

    First the path of the Go package goes, then the callers' lines, then those of the leaf, then
    the callers; where even the leaf with its line is too long, the beginning of the callers and
    then the middle of all is cut out.
    """
    if room is None:
        return site_words(stack)
    leaf, *callers = site_names(stack)
    _, *plain = _names(stack, brief_name, places=False)
    forms = [site_words(stack), " ← ".join([leaf, *callers])]
    shortest = site_words(stack, places=False)
    forms += [" ← ".join([leaf, *plain]), shortest, leaf]
    fitting = next((form for form in forms if len(form) <= room), None)
    if fitting is not None:
        return fitting
    first, arrow, rest = shortest.partition(" ← ")
    left = room - len(first) - len(arrow)
    if left < _LEAST_CALLER:
        return shorten_middle(shortest, room)
    return f"{first}{arrow}{shorten_left(rest, left)}"


def named_frame(frame: Frame) -> str:
    """Name one frame as ``site_names`` does: brief, with file and line."""
    return _name(frame, brief_name, places=True)


def _names(
    stack: Sequence[Frame], named: Callable[[Frame], str], *, places: bool = True
) -> Iterator[str]:
    """Name who allocates, the Go function that called into C, and the program's own caller.

    The last where that Go function is in a module that the program requires: who calls a library
    looks for the line of his own. Of a thread that C made, its outermost function says more than
    the leaf's caller. What only hands memory on (``operator new``, ``strdup``, libc's inside) is
    not to blame: its caller is.
    """
    own = [frame for frame in stack if frame.lang not in _PLUMBING]
    if not own:
        yield _name(stack[0], named, places) if stack else "unknown stack"
        return
    leaf = allocating_frame(own) or own[0]
    if (called := _called_directly(stack)) is not None:
        yield called
        yield _name(leaf, named, places)
        return
    yield _name(leaf, named, places)
    caller = next((frame for frame in own if frame.lang is Language.GO), None)
    if caller is None:
        caller = next(filter(is_users, reversed(own)), leaf)
    if caller is not leaf:
        yield _name(caller, named, places)
    owner = own_go_frame(stack) if is_dependency(caller) else None
    if owner is not None:
        yield _name(owner, named, places)


@lru_cache(maxsize=32768)
def _name(frame: Frame, named: Callable[[Frame], str], places: bool) -> str:  # noqa: FBT001 - a key
    """Thousands of sites are called by the same functions."""
    place = place_of(frame, parts=1) if places else ""
    function = visible(named(frame))
    return f"{function} ({place})" if place else function


def place_of(frame: Frame, *, parts: int | None = None) -> str:
    """Return ``file:line`` as far as known, with the last parts of the path or all of it."""
    if not frame.file:
        return ""
    path = frame.file if parts is None else "/".join(frame.file.split("/")[-parts:])
    return visible(path if frame.line is None else f"{path}:{frame.line}")


def _folded(stack: Sequence[Frame], words: Words) -> Iterator[StackLine]:
    """Fold runs of plumbing into one line, and equal frames in a row into one with a count."""
    inner = Language.C
    start = 0
    runs = [(plumbing, len(list(run))) for plumbing, run in groupby(stack, _is_plumbing)]
    for index, (plumbing, length) in enumerate(runs):
        frames = stack[start : start + length]
        start += length
        if not plumbing:
            inner = frames[-1].lang
            yield from _without_library(frames, words)
        elif len(runs) == 1:
            yield from _counted(frames, words)
        elif index < len(runs) - 1:
            # The outermost run is how every goroutine and thread starts: left out.
            called = _called_directly(stack) if index <= 1 else None
            joins = words(_crossing(inner, stack[start].lang))
            yield StackLine(Language.BRIDGE, f"{called} {joins}" if called else joins)


def _without_library(frames: Sequence[Frame], words: Words) -> Iterator[StackLine]:
    """Fold three and more frames of Go's standard library in a row: they are how a server calls.

    Of C++'s the outermost stays, which is what was called: ``std::make_shared``.
    """
    if len(list(filter(_library, frames))) < _LIBRARY_RUN:
        yield from _counted(frames, words)
        return
    for library, run in groupby(frames, _library):
        same = list(run)
        if library and len(same) >= _LIBRARY_RUN and same[0].lang is not Language.GO:
            count = len(same) - 1
            folded = words("… {count} frames in {packages} …", count=count, packages="std")
            yield StackLine(same[0].lang, folded)
            yield _line(same[-1]._replace(function=short_name(same[-1])), 1, words.lang)
        elif library and len(same) >= _LIBRARY_RUN:
            packages = list(dict.fromkeys(go_package(frame) for frame in same))
            named = ", ".join(packages[:3]) + (", …" if len(packages) > 3 else "")
            folded = words(
                "… {count} frames in {packages} …", count=len(same), packages=visible(named)
            )
            yield StackLine(Language.GO, folded)
        else:
            yield from _counted(same, words)


def _library(frame: Frame) -> str:
    """Name the language whose own library a frame is in; empty for any other."""
    if is_go_library(frame):
        return "Go"
    return "C++" if frame.lang is Language.CPP and is_cpp_library(frame.function) else ""


def _called_directly(stack: Sequence[Frame]) -> str | None:
    """Name what Go called if that has no frame of its own: ``C.malloc``, ``C.CString``.

    cgo allocates for these in its own stub; the Go side of it is ``pkg._Cfunc_NAME``
    (``cmd/cgo/out.go``; ``C.malloc`` is ``_Cfunc__CMalloc``). Nor has a function one whose last act
    is to call an allocator (``return strdup(s)``), which then returns in its place.
    """
    run = list(takewhile(lambda frame: _is_plumbing(frame) or is_wrapper(frame), stack))
    names = list(filter(None, map(called_by_stub, run)))
    return names[-1] if names and len(run) < len(stack) else None


def called_by_stub(frame: Frame) -> str:
    """Name what a stub of cgo calls, ``C.malloc``; empty for any other function."""
    found = _STUB.search(frame.function) if frame.lang in _PLUMBING else None
    if found is None:
        return ""
    return "C.malloc" if found[1] in _MALLOC_STUBS else f"C.{visible(found[1])}"


def _crossing(inner: Language, outer: Language) -> str:
    """Name a run of plumbing by what it joins."""
    if inner is not Language.GO:
        return "… cgo call …"
    return "… callback from C …" if outer in _NATIVE else "… Go runtime …"


def _is_plumbing(frame: Frame) -> bool:
    return frame.lang in _PLUMBING


def _counted(frames: Sequence[Frame], words: Words) -> Iterator[StackLine]:
    if not any(map(eq, frames, islice(frames, 1, None))):
        for frame in frames:
            yield _line(frame, 1, words.lang)
        return
    for frame, same in groupby(frames):
        yield _line(frame, len(list(same)), words.lang)


@lru_cache(maxsize=32768)
def _line(frame: Frame, times: int, lang: str, *, full: bool = False) -> StackLine:
    """Thousands of sites share most of their frames."""
    words = words_in(lang)
    name = visible(readable_name(frame))
    notes = [words("{count} times", count=times)] if times > 1 else []
    if frame.inlined:
        notes.append(words("inlined"))
    place = brief_place(frame, words, parts=None if full else 2)
    return StackLine(frame.lang, f"{name} ({', '.join(notes)})" if notes else name, place)


def brief_place(frame: Frame, words: Words, *, parts: int | None = 2) -> str:
    """Return where a frame is as a line shows it: file and line, or the module, or nothing."""
    place = place_of(frame, parts=parts)
    # A name such as libz.so.1+0x1234 already says where it is.
    if not place and frame.module and not frame.function.startswith(frame.module):
        place = words("in {module}", module=visible(frame.module))
    return place
