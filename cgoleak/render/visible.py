"""Foreign text made safe to show.

Symbol names, paths and process names come from files that anybody may have written. In a terminal
an escape sequence in a name can move the cursor or change the title, and a right-to-left mark can
make one name look like another. Whatever does not print is shown as its code.
"""

from __future__ import annotations

from typing import Final

__all__ = ["shorten_left", "shorten_middle", "visible"]

_LONGEST: Final = 4000
"""Characters; C++ names of a few thousand occur, longer ones help nobody."""


def visible(text: str) -> str:
    r"""Replace each character that is not printable by ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``.

    ``str.isprintable`` is false for controls, formats (direction marks, zero-width ones),
    surrogates, private use, line separators and all blanks but the space.
    """
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else _code(ord(char)) for char in cut)


def shorten_middle(text: str, width: int) -> str:
    """Cut the middle out, so that both the package and the end of a name stay readable."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    tail = width - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}" if width > 0 else ""


def shorten_left(text: str, width: int) -> str:
    """Cut the beginning off: of a path, the end tells more."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}" if width > 0 else ""


def _code(point: int) -> str:
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
