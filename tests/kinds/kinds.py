"""The kinds of programs, and what ought to come of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from kinds import ready
from support.containers import HOW, MEMFD_CREATE, REFUSED_IN_CONTAINERS, WITHOUT_PROC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kinds.ready import Ready

__all__ = ["KINDS", "Kind"]

_STATIC: Final = "-ldflags=-linkmode external -extldflags -static"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    Attributes:
        make: builds it in a folder that is its own.
        follow: options of ``attach`` beside the usual.
        refusal: words of the error with which it may be refused; "": it must be measured.
        never: it must be refused.
        handles: the family of handles that are lost; "": memory is.
        named: its C functions have names and lines.
        idle: it makes no blocks of the malloc that is followed.
        notice: code of the notice that says what is not seen, where that is all that can be had:
            the leak is not found then, and must be told.
    """

    name: str
    make: Callable[[Path], Ready]
    follow: tuple[str, ...] = ()
    refusal: str = ""
    never: bool = False
    handles: str = ""
    named: bool = True
    idle: bool = False
    notice: str = ""


_ALLOCATORS: Final = (
    ("jemalloc", "jemalloc", "libjemalloc2"),
    ("tcmalloc", "tcmalloc_minimal", "libtcmalloc-minimal4"),
    ("mimalloc", "mimalloc", "libmimalloc2.0"),
)
_CONTAINERS: Final = tuple(
    Kind(f"container: {name}", partial(ready.in_container, how=how)) for name, how in HOW.items()
)

_PIE: Final = ("-buildmode=pie",)
_BARE: Final = ("-ldflags=-s -w",)

KINDS: Final = (
    Kind("glibc", ready.plain),
    Kind("PIE", partial(ready.plain, flags=_PIE)),
    Kind("stripped (-s -w)", partial(ready.plain, flags=_BARE), named=False),
    Kind("musl", ready.musl),
    Kind("static glibc", partial(ready.plain, flags=(_STATIC,))),
    Kind("static musl", partial(ready.musl, flags=(_STATIC,))),
    *(
        Kind(f"preloaded {name}", partial(ready.preloaded, name=file, package=package))
        for name, file, package in _ALLOCATORS
    ),
    *(
        Kind(f"linked with {name}", partial(ready.with_library, name=file, package=package))
        for name, file, package in _ALLOCATORS
    ),
    Kind("jemalloc inside (.a)", ready.with_archive),
    Kind("own malloc inside", ready.with_own_malloc),
    Kind(
        "je_malloc of a library",
        ready.prefixed,
        ("--pair", "je_malloc:je_free:je_realloc"),
        handles="je_malloc",
        idle=True,
    ),
    Kind(
        "je_malloc inside",
        ready.prefixed_inside,
        ("--pair", "je_malloc:je_free:je_realloc"),
        handles="je_malloc",
        idle=True,
    ),
    Kind("private malloc of a library", ready.private_malloc, idle=True),
    Kind("C++ library, libstdc++ inside", ready.cpp_library),
    Kind("library that is loaded later", ready.loaded_later),
    Kind("regions (mmap)", partial(ready.plain, c="regions.c")),
    Kind(
        "threads never joined",
        partial(ready.plain, c="threads.c"),
        ("--pair-set", "threads"),
        handles="thread",
        idle=True,
    ),
    Kind(
        "handles, --pair",
        ready.handles,
        ("--pair", "handle_open:handle_close"),
        handles="handle_open",
        idle=True,
    ),
    Kind(
        "handles, --pair-set sqlite3",
        ready.statements,
        ("--pair-set", "sqlite3"),
        handles="sqlite3_stmt",
    ),
    *_CONTAINERS,
    Kind(
        "container: usual seccomp profile",
        partial(ready.with_filter, numbers=REFUSED_IN_CONTAINERS.values()),
    ),
    Kind(
        "container: no memfd_create",
        partial(ready.with_filter, numbers=(MEMFD_CREATE,)),
        refusal="its seccomp filter refuses memfd_create",
        never=True,
    ),
    Kind(
        "container: ended by memfd_create",
        partial(ready.with_filter, numbers=(MEMFD_CREATE,), kills=True),
        refusal="would be ended by its own filter",
        never=True,
    ),
    Kind(
        "container: no /proc",
        partial(ready.in_container, how=WITHOUT_PROC),
        refusal="has no /proc in its root",
        never=True,
    ),
    Kind(
        "container: MDWE",
        ready.without_exec_gain,
        refusal="MemoryDenyWriteExecute",
        never=True,
    ),
    Kind(
        "static and stripped",
        partial(ready.plain, flags=(f"{_STATIC} -s -w",)),
        refusal="is a static program",
        never=True,
    ),
    Kind(
        "32-bit",
        partial(ready.without_c, machine="386"),
        refusal="cannot be measured on this machine",
        never=True,
    ),
    Kind("Go without C", ready.without_c, refusal="contains no C code", never=True),
    Kind("not Go", ready.not_go, refusal="is not a Go program", never=True),
)
