"""Where a frame's source lies in the repository, for the platforms that show it beside a change."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgoleak.model.frames import Language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame

__all__ = ["SourceTree", "main_frame", "other_frames"]

_PLUMBING = frozenset({Language.BRIDGE, Language.RUNTIME})


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The repository.

    Attributes:
        root: its directory, absolute; empty if it is not known.
        modules: Go module path → its directory below the root; ``-trimpath`` leaves only those.
    """

    root: str = ""
    modules: tuple[tuple[str, str], ...] = ()

    def relative(self, file: str | None) -> str | None:
        """Give a path below the root with ``/``, or None for a file that is not in it."""
        if not file:
            return None
        if self.root and file.startswith("/"):
            path = posixpath.normpath(file)
            root = posixpath.normpath(self.root).rstrip("/") + "/"
            return path[len(root) :] if path.startswith(root) else None
        for module, folder in self.modules:
            if file.startswith(f"{module}/"):
                return posixpath.normpath(posixpath.join(folder, file[len(module) + 1 :]))
        return None


def main_frame(stack: Sequence[Frame], tree: SourceTree) -> Frame | None:
    """Choose the frame to annotate: the innermost Go frame of the repository, else any of it.

    The Go line is where a reviewer has a change to look at; the C line comes with it.
    """
    own = [one for one in stack if one.lang not in _PLUMBING and tree.relative(one.file)]
    return next((one for one in own if one.lang is Language.GO), own[0] if own else None)


def other_frames(stack: Sequence[Frame], tree: SourceTree, main: Frame | None) -> list[Frame]:
    """Give the other frames of the repository, leaf first."""
    return [
        one
        for one in stack
        if one is not main and one.lang not in _PLUMBING and tree.relative(one.file)
    ]
