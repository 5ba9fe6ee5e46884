"""Plumbing folded for display."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Frame, Language
from cgoleak.model.ownership import is_plumbing

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CGO_CALL", "fold_plumbing"]

CGO_CALL: Final = Frame(lang=Language.BRIDGE, function="… cgo call …")


def fold_plumbing(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Give the frames with each run of bridge and runtime frames as one line.

    A run at the outer end (``runtime.goexit`` and what started the goroutine) is left out. Frames
    that are nothing but plumbing are returned as they are.
    """
    folded: list[Frame] = []
    for plumbing, run in groupby(frames, key=is_plumbing):
        folded += [CGO_CALL] if plumbing else run
    if folded and folded[-1] is CGO_CALL:
        folded.pop()
    return tuple(folded) or tuple(frames)
