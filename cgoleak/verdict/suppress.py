"""Suppressions in the format of LeakSanitizer, so that a team keeps one file.

``leak:PATTERN`` a line; ``#`` begins a comment. A pattern matches anywhere in a function, file or
module name; ``*`` stands for anything, ``^`` and ``$`` for the ends (compiler-rt,
``sanitizer_common.cpp``, ``TemplateMatch``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgoleak.errors import PolicyError
from cgoleak.model.names import plain_function
from cgoleak.model.ownership import allocating_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame

__all__ = ["Suppression", "parse_suppressions", "suppression_for"]


@dataclass(frozen=True, slots=True)
class Suppression:
    """One pattern, without its ``leak:``."""

    pattern: str

    def __str__(self) -> str:
        return f"leak:{self.pattern}"

    def matches(self, frames: Sequence[Frame]) -> bool:
        """Whether any frame's function, file or module matches."""
        return any(
            name is not None and _matches(self.pattern, name)
            for frame in frames
            for name in (frame.function, plain_function(frame), frame.file, frame.module)
        )


def parse_suppressions(text: str, *, name: str = "suppressions") -> tuple[Suppression, ...]:
    """Read a suppression file.

    Raises:
        PolicyError: a line is no comment and does not begin with ``leak:``.
    """
    found: list[Suppression] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()  # noqa: PLW2901  # the line without its margins is the line
        if not line or line.startswith("#"):
            continue
        kind, colon, pattern = line.partition(":")
        if kind != "leak" or not colon or not pattern.strip("*^$ "):
            raise PolicyError(
                f"{name}:{number}: cannot read {line!r}",
                cause="a suppression is leak: and a part of a function, file or module name",
                fix="for example leak:png_row_dup",
            )
        found.append(Suppression(pattern.strip()))
    return tuple(found)


def suppression_for(frames: Sequence[Frame]) -> str:
    """Give the line that mutes the site with these frames (leaf first), or the empty string."""
    frame = allocating_frame(frames) or (frames[0] if frames else None)
    if frame is None or frame.function.startswith("["):
        return ""
    return f"leak:{plain_function(frame)}"


def _matches(pattern: str, name: str) -> bool:
    """Compare piece by piece from the left; linear, where a regular expression may not be."""
    at_start, at_end = pattern.startswith("^"), pattern.endswith("$")
    parts = pattern.removeprefix("^").removesuffix("$").split("*")
    place = 0
    for number, part in enumerate(parts):
        if at_end and number == len(parts) - 1:
            found = len(name) - len(part)
            if not name.endswith(part):
                return False
        else:
            found = name.find(part, place)
        if found < place or (at_start and number == 0 and found > 0):
            return False
        place = found + len(part)
    return True
