"""Lines of source beside a stack; only from the directory that the user named.

Paths in debug information are those of the machine that built: the longest end of such a path that
exists below the directory is taken. Nothing outside the directory is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Language
from cgoleak.render.stacklines import place_of
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame

__all__ = ["Excerpt", "excerpts_of"]

_AROUND: Final = 2
_MOST: Final = 3
"""Excerpts of one stack: the allocation, its caller, the Go line."""
_LOOKED_AT: Final = 16
_LARGEST: Final = 4 << 20
_LONGEST_LINE: Final = 400
_OWN: Final = frozenset({Language.C, Language.CPP, Language.GO})


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines around one: number, text, and whether it is the one."""

    place: str
    lines: tuple[tuple[int, str, bool], ...]


def excerpts_of(stack: Sequence[Frame], folder: Path) -> tuple[Excerpt, ...]:
    """Find the lines of a stack's own frames, leaf first, and of the innermost Go frame."""
    own = [frame for frame in stack if frame.lang in _OWN and frame.file and frame.line]
    go = [frame for frame in own if frame.lang is Language.GO][:1]
    found: list[Excerpt] = []
    # Lines of libraries are not below the folder: the first that are there are the user's.
    for frame in dict.fromkeys(own[:_LOOKED_AT]):
        if len(found) < _MOST - 1 and (excerpt := _excerpt(frame, folder)) is not None:
            found.append(excerpt)
    for frame in go:
        excerpt = _excerpt(frame, folder)
        if excerpt is not None and excerpt not in found:
            found.append(excerpt)
    return tuple(found)


def _excerpt(frame: Frame, folder: Path) -> Excerpt | None:
    path = _below(folder, frame.file or "")
    line = frame.line or 0
    if path is None or line < 1:
        return None
    try:
        if path.stat().st_size > _LARGEST:
            return None
        texts = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    first = max(1, line - _AROUND)
    shown = texts[first - 1 : line + _AROUND]
    if line > len(texts):
        return None  # another version of the file
    return Excerpt(
        place=place_of(frame, parts=2),
        lines=tuple(
            (number, visible(text.expandtabs(4)[:_LONGEST_LINE]), number == line)
            for number, text in enumerate(shown, first)
        ),
    )


def _below(folder: Path, file: str) -> Path | None:
    """Give the file whose path ends as ``file`` does, with as many parts as there are."""
    parts = [part for part in PurePosixPath(visible(file)).parts if part not in {"/", ".", ".."}]
    root = folder.resolve()
    for begin in range(len(parts)):
        path = root.joinpath(*parts[begin:])
        try:
            real = path.resolve()
            if real.is_file() and real.is_relative_to(root):
                return real
        except (OSError, ValueError):
            continue
    return None
