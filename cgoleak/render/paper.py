"""Styled lines of text, laid out for a width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from cgoleak.render.visible import shorten_left, shorten_middle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Paper"]


@dataclass(slots=True)
class Paper:
    """Collects lines.

    Attributes:
        width: columns that prose is folded to.
        cut: shorten what is longer; false in a pipe, where everything is kept.
    """

    width: int
    cut: bool
    lines: list[Text] = field(default_factory=list)

    def line(self, text: Text) -> None:
        """Add one line as it is, cut at the width if need be."""
        if self.cut:
            text.truncate(self.width, overflow="ellipsis")
        self.lines.append(text)

    def blank(self) -> None:
        """Add an empty line."""
        self.lines.append(Text())

    def paragraph(self, text: str, *, label: str, label_style: str, hang: int) -> None:
        """Fold prose at blanks; the first line stands behind the label, others at ``hang``."""
        # As a part, not as the style of the whole line, which the text would inherit.
        current = Text().append(label, style=label_style)
        empty = True
        for word in self._words(text, self.width - hang):
            if not empty and current.cell_len + 1 + Text(word).cell_len > self.width:
                self.line(current)
                current, empty = Text(" " * hang), True
            current.append(word if empty else f" {word}")
            empty = False
        self.line(current)

    def _words(self, text: str, room: int) -> Iterator[str]:
        """Split prose at blanks; on a terminal, a word that fits on no line is broken."""
        for word in text.split():
            pieces = [word[at : at + room] for at in range(0, len(word), room)]
            yield from pieces if self.cut else [word]

    def joined(self, parts: Sequence[str], glue: str, *, style: str, hang: int = 2) -> None:
        """Write parts on one line, folded only between them."""
        current = Text(parts[0], style=style)
        for part in parts[1:]:
            if current.cell_len + len(glue) + Text(part).cell_len > self.width:
                self.line(current)
                current = Text(f"{' ' * hang}{part}", style=style)
            else:
                current.append(glue + part)
        self.line(current)

    def middle(self, text: str, width: int) -> str:
        """Shorten a name to a width, unless nothing is to be cut."""
        return shorten_middle(text, width) if self.cut else text

    def left(self, text: str, width: int) -> str:
        """Shorten a path to a width, unless nothing is to be cut."""
        return shorten_left(text, width) if self.cut else text

    def end(self, text: str, width: int) -> str:
        """Shorten prose to a width, unless nothing is to be cut."""
        return text if not self.cut or len(text) <= width else f"{text[: width - 1]}…"
