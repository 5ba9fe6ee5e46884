"""Whose code a frame is: the user's, an allocator's wrapper, or plumbing between C and Go."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Frame, Language
from cgoleak.model.names import plain_function, plain_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "allocating_frame",
    "c_callers",
    "innermost_go",
    "is_cpp_library",
    "is_plumbing",
    "is_users",
    "is_wrapper",
]

_PLUMBING: Final = frozenset({Language.BRIDGE, Language.RUNTIME})

_LIBRARIES: Final = re.compile(
    r"^(?:libc|libm|libpthread|libdl|librt|libstdc\+\+|libc\+\+|libc\+\+abi|libgcc_s"
    r"|libjemalloc|libtcmalloc\w*|libmimalloc|ld-linux[\w-]*|ld-musl-\w+|libc-[\d.]+|ld-[\d.]+)"
    r"\.so$"
)
"""Base names (without version) of what stands between the user's code and the allocator."""

_WRAPPERS: Final = frozenset(
    [
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "free",
        "posix_memalign",
        "aligned_alloc",
        "memalign",
        "valloc",
        "pvalloc",
        "strdup",
        "strndup",
        "__strdup",
        "__strndup",
        "wcsdup",
        "asprintf",
        "vasprintf",
        "__asprintf",
        "__vasprintf",
        "__vasprintf_internal",
        "__asprintf_chk",
        "__vasprintf_chk",
        "getline",
        "getdelim",
        "_IO_getdelim",
        "__getdelim",
        "realpath",
        "open_memstream",
        "getcwd",
        "mmap",
        "mremap",
    ]
)
_CPP_LIBRARY: Final = ("std::", "__gnu_cxx::", "operator new", "operator delete")


def is_plumbing(frame: Frame) -> bool:
    """Whether the frame is cgo's bridge or Go's runtime."""
    return frame.lang in _PLUMBING


def is_wrapper(frame: Frame) -> bool:
    """Whether the frame only hands memory on: ``operator new``, ``strdup``, libc's inside.

    Templates of the C++ library are compiled into the user's module; their names tell.
    """
    if _LIBRARIES.match(plain_module(frame.module)):
        return True
    if frame.lang is Language.GO:
        return False
    name = plain_function(frame)
    return name in _WRAPPERS or is_cpp_library(name)


@lru_cache(maxsize=65536)
def is_cpp_library(function: str) -> bool:
    """Whether a demangled name is in the C++ library: ``void std::vector<int>::reserve(…)``.

    Names of template functions begin with the type they return, which does not count:
    ``std::unique_ptr<Tag> make_tag<int>(int)`` is the user's.
    """
    if not any(name in function for name in _CPP_LIBRARY):
        return False  # as of most functions
    if function.startswith(_CPP_LIBRARY[2:]):
        return True
    depth = start = 0
    for place, sign in enumerate(function.replace("(anonymous namespace)", "{anonymous}")):
        if sign == "(" and not depth:
            break
        if sign == " " and not depth:
            start = place + 1
        depth += (sign in "<([{") - (sign in ">)]}")
    return function.startswith(_CPP_LIBRARY, start)


@lru_cache(maxsize=65536)
def is_users(frame: Frame) -> bool:
    """Whether somebody who reads a report would call this frame their code, or a library's."""
    return not is_plumbing(frame) and not is_wrapper(frame) and not frame.function.startswith("[")


def allocating_frame(frames: Iterable[Frame]) -> Frame | None:
    """Give the first frame, leaf first, that is the user's code, or None."""
    return next((frame for frame in frames if is_users(frame)), None)


def innermost_go(frames: Iterable[Frame]) -> Frame | None:
    """Give the first Go frame, leaf first, that is neither bridge nor runtime, or None."""
    return next((frame for frame in frames if frame.lang is Language.GO), None)


def c_callers(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Give who called the allocating function in C, below Go: who called it, and for whom.

    The second is the first whose source is another file's, as a helper has its kin beside it. Both
    are left out where there is none.
    """
    leaf = allocating_frame(frames)
    if leaf is None or leaf.lang is Language.GO:
        return ()
    callers = []
    for frame in frames[frames.index(leaf) + 1 :]:
        if frame.lang is Language.GO or is_plumbing(frame):
            break
        if is_users(frame) and frame.function != leaf.function:
            callers.append(frame)
    others = (one for one in callers[1:] if one.file and one.file != leaf.file)
    direct = callers[:1]
    if direct and direct[0].file != leaf.file:
        return (direct[0],)
    return (*direct, *islice(others, 1))
