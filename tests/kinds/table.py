"""Rows as text, and in the README between two marks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kinds.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kinds.measuring import Row

__all__ = ["names_in", "refresh", "refreshed", "row_line", "table_head"]

README: Final = Path(__file__).parents[2] / "README.md"
_HEADS: Final = ("kind", "attach", "stack", "leaking", "clean", "short stress")
_WIDTHS: Final = (36, 14, 28, 24, 16, 0)
_MARKS: Final = ("<!-- kinds: make kinds KINDS=--markdown -->", "<!-- /kinds -->")
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
    """Put rows into the README, in the order of the kinds; the others stay."""
    README.write_text(refreshed(README.read_text("utf-8"), rows), "utf-8")


def refreshed(text: str, rows: Sequence[Row]) -> str:
    """Give the text with these rows; one that was skipped does not take another's place."""
    before, start, rest = text.partition(_MARKS[0])
    table, end, after = rest.partition(_MARKS[1])
    assert start, "the README has no place for the table"
    assert end, "the README has no place for the table"
    lines = {found[1]: found[0] for found in _ROW.finditer(table)}
    for row in rows:
        if not row.attach.startswith("skipped") or row.name not in lines:
            lines[row.name] = f"| {' | '.join(cell or '–' for cell in _cells(row))} |"  # noqa: RUF001
    head = f"| {' | '.join(_HEADS)} |\n|{'---|' * len(_HEADS)}"
    body = "\n".join(lines[kind.name] for kind in KINDS if kind.name in lines)
    return f"{before}{start}\n{head}\n{body}\n{end}{after}"


def names_in(text: str) -> list[str]:
    """Give the kinds that the table in a text has rows for."""
    table = text.partition(_MARKS[0])[2].partition(_MARKS[1])[0]
    return [found[1] for found in _ROW.finditer(table)]
