"""``cgoleak explain WORD``."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import click

from cgoleak.cli.options import language_option
from cgoleak.model.catalog import CAUSES, NOTICES, TERMS, VERDICTS, explain, similar_words
from cgoleak.model.sheetwords import PLAIN_WORDS
from cgoleak.model.words import words_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.model.catalog import Entry
    from cgoleak.model.words import Words

__all__ = ["command"]


@click.command("explain")
@click.argument("word", nargs=-1)
@language_option
def command(word: tuple[str, ...], *, lang: str) -> int:
    """Say what a verdict, a cause, a notice or a term means.

    A line of the balance sheet is explained too. Without a word, all of them are listed.

    \b
    Examples:
      cgoleak explain native-leak
      cgoleak explain symbols.no-dwarf
      cgoleak explain rss
    """
    if not word:
        _print("\n".join(_index()))
        return 0
    asked = " ".join(word)
    entries = explain(asked)
    if not entries:
        similar = similar_words(asked)
        hint = (
            f"did you mean {', '.join(similar)}?" if similar else "list all words: cgoleak explain"
        )
        raise click.UsageError(f"no explanation for {asked!r}; {hint}", click.get_current_context())
    words = words_in(lang)
    several = len(entries) > 1
    _print("\n\n".join("\n".join(_lines(one, words, told_apart=several)) for one in entries))
    return 0


def _print(text: str) -> None:
    from cgoleak.cli.screen import print_bytes  # noqa: PLC0415 - loads what renders

    print_bytes(f"{text}\n".encode(), sys.stdout)


def _index() -> Iterator[str]:
    groups: tuple[tuple[str, Iterable[str]], ...] = (
        ("verdicts", VERDICTS),
        ("causes", CAUSES),
        ("notices", NOTICES),
        ("terms", TERMS),
        ("sheet", PLAIN_WORDS),
    )
    for title, words in groups:
        # Lines of the sheet have commas and blanks of their own.
        listed = ("; " if words is PLAIN_WORDS else ", ").join(map(str, words))
        yield textwrap.fill(
            listed,
            80,
            initial_indent=f"{title:<10}",
            subsequent_indent=" " * 10,
            break_on_hyphens=False,
        )


def _lines(entry: Entry, words: Words, *, told_apart: bool) -> Iterator[str]:
    label = words(entry.label)
    if told_apart:
        label += f" ({words('verdict' if entry in VERDICTS.values() else 'cause')})"
    yield label
    parts = (("", entry.meaning), ("decided", entry.decided), ("do", entry.action))
    for label, text in parts:
        if text:
            said = f"{words(label)}: {words(text)}" if label else words(text)
            yield from _folded(said)


def _folded(text: str) -> Iterator[str]:
    """Fold to 80 columns; Chinese has no blanks to fold at, and each character takes two."""
    if text.isascii():
        yield textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="  ")
        return
    from cgoleak.render.text.paper import Paper  # noqa: PLC0415 - rich takes 50 ms

    paper = Paper(width=80, cut=False)
    paper.paragraph(text, label="  ", label_style="", hang=2)
    yield from (line.plain for line in paper.lines)
