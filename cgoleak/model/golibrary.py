"""Go's standard library: which frames are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.frames import Language

if TYPE_CHECKING:
    from cgoleak.model.frames import Frame

__all__ = ["go_package", "is_go_library"]


def is_go_library(frame: Frame) -> bool:
    """Tell Go's own packages by the first element of their path, which has no dot in it.

    A module's path begins with a host name or is ``main`` in an executable; a module without one
    (``module worker``) is told by its file, which does not lie in ``src/PACKAGE``.
    """
    package = go_package(frame)
    if frame.lang is not Language.GO or package == "main" or "." in package.split("/")[0]:
        return False
    file = frame.file or ""
    return f"/src/{package}/" in file or file.startswith(f"{package}/")


def go_package(frame: Frame) -> str:
    """Return the import path of a Go function: ``net/http`` of ``net/http.(*conn).serve``."""
    head, slash, tail = frame.function.rpartition("/")
    return head + slash + tail.partition(".")[0]
