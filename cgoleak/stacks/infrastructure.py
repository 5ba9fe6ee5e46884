"""Allocations that come with threads, the loader and Go's runtime, and belong to no user code.

Seen per thread that Go starts (go-runtime notes, section 5.4): a ``malloc`` in
``x_cgo_thread_start`` (``runtime/cgo/gcc_util.c``), freed on the new thread, and a ``calloc`` in
ld.so (``_dl_allocate_tls``) that lives as long as the thread. They grow with the number of threads,
not with the work done.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Language
from cgoleak.model.names import plain_function, plain_module
from cgoleak.model.ownership import is_users

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cgoleak.model.frames import Frame

__all__ = ["infrastructure_of"]

_THREADS: Final = frozenset(
    [
        "x_cgo_thread_start",
        "_cgo_sys_thread_start",
        "_cgo_try_pthread_create",
        "x_cgo_sys_thread_create",
        "x_cgo_init",
        "x_cgo_bindm",
        "x_cgo_getstackbound",
        "x_cgo_pthread_key_created",
        "x_cgo_notify_runtime_init_done",
        "pthread_create",
        "__pthread_create_2_1",
        "pthread_getattr_np",
        "__pthread_getattr_np",
        "allocate_stack",
        "_dl_allocate_tls",
        "__tls_get_addr",
        "threadentry",
    ]
)
_OF_LOADER: Final = "the loader"
_USERS: Final = "the user's"
_MAPPINGS: Final = frozenset({"x_cgo_mmap", "x_cgo_munmap"})
_LOADER: Final = re.compile(
    r"^(?:_?dl_open\w*|_?_?dlopen\w*|_dl_\w+|dlerror|_dlerror_run|_dlopen)$"
)
_LOADER_MODULE: Final = re.compile(r"^ld-(?:linux[\w-]*|[\d.]+)\.so$")
"""glibc's loader; musl's is its libc, and its ``malloc`` callers are everybody's."""


def infrastructure_of(frames: Iterable[Frame], *, complete: bool = True) -> str | None:
    """Say what infrastructure allocates here (leaf first), or None if it is somebody's code.

    Code that runs on a thread, or in a library's constructor below ``dlopen``, is not
    infrastructure: the frames are looked at only up to the first that is the user's.
    """
    loader = False
    seen = []
    for frame in frames:
        seen.append(frame)
        kind = _kind_of(frame)
        if kind is _USERS:
            break
        if kind is _OF_LOADER:
            loader = True
        elif kind:
            return kind
    else:
        if not loader:
            return _runtime_made(seen, complete=complete)
    return _OF_LOADER if loader else None


@lru_cache(maxsize=65536)
def _kind_of(frame: Frame) -> str:
    """Say what a frame is: infrastructure, the user's, or nothing that decides."""
    name = plain_function(frame)
    if name in _THREADS:
        return "starting a thread"
    if name in _MAPPINGS:
        return "Go's runtime mapping memory"
    if _LOADER.match(name) or _LOADER_MODULE.match(plain_module(frame.module)):
        return _OF_LOADER
    return _USERS if is_users(frame) else ""


def _runtime_made(frames: Sequence[Frame], *, complete: bool) -> str | None:
    """Say whether Go's runtime called libc on its own: whole stacks without any user's code."""
    called = any("_Cfunc_" in frame.function for frame in frames)
    if complete and not called and any(frame.lang is Language.RUNTIME for frame in frames):
        return "Go's runtime"
    return None
