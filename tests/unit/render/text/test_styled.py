"""Lines of text in styles: what rich makes of them, without rich."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text as RichText

from cgoleak.render.text.paper import Paper, printed
from cgoleak.render.text.styled import Text

PARTS = [
    (" ", ""),
    ("NATIVE LEAK", "bold red"),
    ("  1.5 KiB ", ""),
    ("内存泄漏 in C", "dim"),
    (" ", ""),
]


def ours(style: str = "") -> Text:
    text = Text(style=style)
    for part, own in PARTS:
        text.append(part, own)
    return text


def rich_ones(style: str = "") -> RichText:
    text = RichText(style=style)
    for part, own in PARTS:
        text.append(part, style=own)
    return text


def coloured(text: RichText) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=80, color_system="standard", force_terminal=True, _environ={}, emoji=False
    )
    console.print(text, soft_wrap=True)
    return out.getvalue()


@pytest.mark.parametrize("style", ["", "bold"])
@pytest.mark.parametrize("overflow", ["ellipsis", "crop"])
@pytest.mark.parametrize("width", range(1, 45))
def test_cut_at_any_width_it_is_what_rich_makes_of_it(style, overflow, width):
    mine, theirs = ours(style), rich_ones(style)

    mine.truncate(width, overflow=overflow)
    theirs.truncate(width, overflow=overflow)

    assert (mine.plain, mine.cell_len) == (theirs.plain, theirs.cell_len)
    theirs.rstrip()
    paper = Paper(width=80, cut=False, lines=[mine])
    assert printed(paper, color=True).decode() == coloured(theirs)


def test_another_text_is_added_with_its_styles():
    line = Text("> ").append_text(ours("bold"))

    assert coloured(line.rich()) == coloured(RichText("> ").append_text(rich_ones("bold")))


def test_what_moves_the_cursor_is_left_out_as_rich_does():
    assert Text("a\rb\bc\ad\fe\vf").plain == RichText("a\rb\bc\ad\fe\vf").plain == "abcdef"
