"""Styled lines of text, laid out for a width."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from cgoleak.render.text.styled import Text
from cgoleak.render.visible import shorten_left, shorten_middle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Paper", "left_in", "printed", "right_in"]

_CHINESE: Final = "\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff"
_STICKS: Final = "\u3001\u3002\uff01\uff09\uff0c\uff1a\uff1b\uff1f"
"""Chinese punctuation that begins no line."""
_UNITS: Final = r"(?:[KMGTPE]iB|B|[µmn]?s|min|h|d|%|GC)\b|%"
_WORD: Final = rf"(?:\S*\d (?={_UNITS}))?\S+"


@lru_cache(maxsize=2)
def _piece(*, chinese: bool) -> re.Pattern[str]:
    """Give what a line does not end in: a word, or a number and its unit; a Chinese character.

    The pattern for those takes longer to compile than a report to be laid out.
    """
    if not chinese:
        return re.compile(rf"(\s*)({_WORD})")
    word = _WORD.replace(r"\S", rf"[^\s{_CHINESE}]")
    return re.compile(rf"(\s*)([{_CHINESE}][{_STICKS}]*|{word})")


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
        """Fold prose; the first line stands behind the label, others at ``hang``."""
        # As a part, not as the style of the whole line, which the text would inherit.
        current = Text().append(label, style=label_style)
        empty = True
        for blank, word in self._words(text, self.width - hang):
            gap = " " if blank and not empty else ""
            if not empty and current.cell_len + len(gap) + cell_len(word) > self.width:
                self.line(current)
                current, empty, gap = Text(" " * hang), True, ""
            current.append(f"{gap}{word}")
            empty = False
        self.line(current)

    def _words(self, text: str, room: int) -> Iterator[tuple[bool, str]]:
        """Part prose where a line may end: at blanks, and between Chinese characters.

        Gives each piece and whether a blank stands before it. On a terminal, a piece that fits on
        no line is broken.
        """
        chinese = max(text, default="") >= _CHINESE[0]
        for match in _piece(chinese=chinese).finditer(text):
            blank, word = bool(match[1]), match[2]
            pieces = [word[at : at + room] for at in range(0, len(word), room)]
            for piece in pieces if self.cut else [word]:
                yield blank, piece
                blank = True

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


def printed(paper: Paper, *, color: bool) -> bytes:
    """Turn styled lines into bytes; rich adds colour and must not fold, crop or read markup."""
    for line in paper.lines:
        line.rstrip()
    if not color:
        plain = "".join([f"{line.plain}\n" for line in paper.lines])
        return plain.encode("utf-8", "replace")
    from rich.console import Console  # noqa: PLC0415 - takes a third of the time of a page of text

    text = io.StringIO()
    console = Console(
        file=text,
        width=paper.width,
        color_system="standard",
        force_terminal=True,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    for line in paper.lines:
        console.print(line.rich(), soft_wrap=True)
    return text.getvalue().encode("utf-8", "replace")


def left_in(text: str, width: int) -> str:
    """Fill up with blanks behind; Chinese characters take two columns."""
    return text + " " * max(0, width - cell_len(text))


def right_in(text: str, width: int) -> str:
    """Fill up with blanks before."""
    return " " * max(0, width - cell_len(text)) + text
