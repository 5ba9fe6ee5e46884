"""Something the user should know that is not an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CAPTURE_CUT", "Notice"]

CAPTURE_CUT: Final = "capture.cut"
"""Code of the notice that a capture's file ends before its measurement did."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Travels with the data and shows in every renderer.

    Attributes:
        code: stable and dotted, such as ``symbols.no-dwarf``; ``cgoleak explain CODE`` knows it.
        text: what happened, with the numbers.
        fix: what would avoid it, or None.
    """

    code: str
    text: str
    fix: str | None = None
