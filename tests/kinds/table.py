"""Rows as text, and in both READMEs between two marks."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kinds.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kinds.measuring import Row

__all__ = [
    "README",
    "README_ZH",
    "in_chinese",
    "names_in",
    "refresh",
    "refreshed",
    "row_line",
    "table_head",
    "table_in",
]

README: Final = Path(__file__).parents[2] / "README.md"
README_ZH: Final = README.with_name("README.zh-CN.md")
_WORDS: Final = Path(__file__).with_name("words.zh.toml")
_HEADS: Final = ("kind", "attach", "stack", "leaking", "clean", "short stress")
_WIDTHS: Final = (36, 14, 28, 24, 16, 0)
_MARKS: Final = ("<!-- kinds: make kinds KINDS=--markdown -->", "<!-- /kinds -->")
_CELL: Final = re.compile(r"(?<=\| )[^|\n]+(?= \|)")
_NUMBER: Final = re.compile(r"\d+")
_ROW: Final = re.compile(r"^\| (?!kind \|)([^|]+) \|(?: [^|]* \|){5}$", re.MULTILINE)


def table_head() -> str:
    return _line(_HEADS)


def row_line(row: Row) -> str:
    """Give one row of the plain text."""
    mark = "!" if row.wrong else " "
    return f"{mark}{_line(_cells(row))[1:]}"


def _cells(row: Row) -> tuple[str, ...]:
    return row.name, row.attach, row.stack, row.leaking, row.clean, row.stress


def _line(cells: Sequence[str]) -> str:
    named = zip(cells, _WIDTHS, strict=True)
    return "  " + " ".join(f"{cell or '-':<{width}}" for cell, width in named)


def refresh(rows: Sequence[Row]) -> None:
    """Put rows into the READMEs, in the order of the kinds; the others stay."""
    text = refreshed(README.read_text("utf-8"), rows)
    README.write_text(text, "utf-8")
    before, _, after = _parts(README_ZH.read_text("utf-8"))
    README_ZH.write_text(f"{before}{in_chinese(table_in(text))}{after}", "utf-8")


def refreshed(text: str, rows: Sequence[Row]) -> str:
    """Give the text with these rows; one that was skipped does not take another's place."""
    before, table, after = _parts(text)
    lines = {found[1]: found[0] for found in _ROW.finditer(table)}
    for row in rows:
        if not row.attach.startswith("skipped") or row.name not in lines:
            lines[row.name] = f"| {' | '.join(cell or '–' for cell in _cells(row))} |"  # noqa: RUF001
    head = f"| {' | '.join(_HEADS)} |\n|{'---|' * len(_HEADS)}"
    body = "\n".join(lines[kind.name] for kind in KINDS if kind.name in lines)
    return f"{before}\n{head}\n{body}\n{after}"


def _parts(text: str) -> tuple[str, str, str]:
    """Give what is before the table, the table, and what is behind it; the marks are no part."""
    before, start, rest = text.partition(_MARKS[0])
    table, end, after = rest.partition(_MARKS[1])
    assert start, "the README has no place for the table"
    assert end, "the README has no place for the table"
    return before + start, table, end + after


def table_in(text: str) -> str:
    """Give the table of a text, as it is between the marks."""
    return _parts(text)[1]


def in_chinese(table: str) -> str:
    """Give the table in Chinese; every cell has its words there."""
    return _CELL.sub(lambda found: _chinese(found[0]), table)


def _chinese(cell: str) -> str:
    words = _words()
    if cell in words:
        return words[cell]
    return words[_NUMBER.sub("{}", cell)].format(*_NUMBER.findall(cell))


@cache
def _words() -> dict[str, str]:
    return tomllib.loads(_WORDS.read_text("utf-8"))


def names_in(text: str) -> list[str]:
    """Give the kinds that the table in a text has rows for."""
    return [found[1] for found in _ROW.finditer(table_in(text))]
