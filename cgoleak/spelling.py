"""What is said of a name that nobody knows."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["known_names"]


def known_names(name: str, known: Collection[str]) -> tuple[str, str | None]:
    """Give cause and fix: the names that there are, and the one that may have been meant."""
    near = get_close_matches(name, known, n=1)
    return f"known are {', '.join(known)}", f"did you mean {near[0]!r}?" if near else None
