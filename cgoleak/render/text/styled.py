"""A line of text in parts of different styles; rich is needed only for those who see colours.

It has what reports use of rich's ``Text``, under the same names. To import that one takes longer
than to lay a report out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    import rich.text

__all__ = ["Text"]

_MOVING: Final = dict.fromkeys(map(ord, "\a\b\v\f\r"))
"""Characters that sound or move the cursor; rich leaves them out as well."""


class Text:
    """Parts one after the other; ``style``, as rich names it, is that of all of them."""

    __slots__ = ("_parts", "style")

    def __init__(self, text: str = "", style: str = "") -> None:
        self.style = style
        self._parts: list[tuple[str, str]] = []
        self.append(text)

    @property
    def plain(self) -> str:
        """All of it without styles."""
        return "".join([text for text, _ in self._parts])

    @property
    def cell_len(self) -> int:
        """Columns that it takes."""
        return cell_len(self.plain)

    def append(self, text: str, style: str = "") -> Self:
        """Add a part."""
        if text:
            self._parts.append((text.translate(_MOVING), style))
        return self

    def append_text(self, other: Text) -> Self:
        """Add the parts of another."""
        self._parts += [(text, f"{other.style} {style}".strip()) for text, style in other._parts]
        return self

    def rstrip(self) -> None:
        """Leave out blanks at the end."""
        self._keep(self.plain.rstrip())

    def truncate(self, width: int, *, overflow: str = "crop") -> None:
        """Cut what is wider; with ``ellipsis`` the last column says so."""
        if self.cell_len <= width:
            return
        if overflow == "ellipsis":
            self._keep(f"{set_cell_size(self.plain, width - 1)}…")
        else:
            self._keep(set_cell_size(self.plain, width))

    def rich(self) -> rich.text.Text:
        """Give it to rich, which knows what the styles are on a terminal."""
        from rich.text import Text as RichText  # noqa: PLC0415 - see above

        text = RichText(style=self.style)
        for part, style in self._parts:
            text.append(part, style=style)
        return text

    def _keep(self, plain: str) -> None:
        """Take a shorter text; each character has the style that one had at its place."""
        parts, begin = [], 0
        for text, style in self._parts:
            if begin >= len(plain):
                break
            parts.append((plain[begin : begin + len(text)], style))
            begin += len(text)
        self._parts = parts
