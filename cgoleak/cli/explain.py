"""``cgoleak explain WORD``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from cgoleak.model.catalog import CAUSES, NOTICES, TERMS, VERDICTS, explain, similar_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.model.catalog import Entry

__all__ = ["command"]


@click.command("explain")
@click.argument("word", nargs=-1)
def command(word: tuple[str, ...]) -> int:
    r"""Say what a verdict, a cause, a notice or a term means.

    Without a word, all of them are listed.

    \b
    Examples:
      cgoleak explain native-leak
      cgoleak explain symbols.no-dwarf
      cgoleak explain rss
    """
    if not word:
        click.echo("\n".join(_index()))
        return 0
    asked = " ".join(word)
    entries = explain(asked)
    if not entries:
        similar = similar_words(asked)
        hint = f"; did you mean {', '.join(similar)}?" if similar else ""
        raise click.UsageError(f"no explanation for {asked!r}{hint}", click.get_current_context())
    click.echo("\n\n".join("\n".join(_lines(entry)) for entry in entries))
    return 0


def _index() -> Iterator[str]:
    groups: tuple[tuple[str, Iterable[str]], ...] = (
        ("verdicts", VERDICTS),
        ("causes", CAUSES),
        ("notices", NOTICES),
        ("terms", TERMS),
    )
    for title, words in groups:
        listed = ", ".join(map(str, words))
        yield textwrap.fill(listed, 80, initial_indent=f"{title:<10}", subsequent_indent=" " * 10)


def _lines(entry: Entry) -> Iterator[str]:
    yield entry.label
    parts = (("", entry.meaning), ("decided: ", entry.decided), ("do: ", entry.action))
    for label, text in parts:
        if text:
            yield textwrap.fill(f"{label}{text}", 80, initial_indent="  ", subsequent_indent="  ")
