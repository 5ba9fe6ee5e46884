"""The table of sites, one line each, with a cursor; as many columns as the width allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.model.catalog import VERDICTS
from cgoleak.render.live.view import Order
from cgoleak.render.stacklines import fitted_site
from cgoleak.render.text.findings import VERDICT_STYLES, growth_words
from cgoleak.render.text.paper import left_in, right_in
from cgoleak.render.text.styled import Text
from cgoleak.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.report import Finding
    from cgoleak.model.words import Words

__all__ = ["has_room_beside", "site_rows"]

_WIDE: Final = 110
"""From this width on the site with its lines stands in its row; below it under the cursor's."""
_VERDICT: Final = 13
_COLUMNS: Final = {
    Order.BYTES: 11,
    Order.GROWTH: 12,
    Order.BLOCKS: 11,
    Order.AGE: 12,
}
_LEAST_NAME: Final = 22
"""Columns that a site's name is left with by bytes and growth, and"""
_FAIR_NAME: Final = 33
"""by what is nicer to have: who allocates and for whom says more than how many blocks."""
_NICER: Final = frozenset({Order.BLOCKS, Order.AGE})


def has_room_beside(width: int) -> bool:
    """Whether each site stands in its row with its lines."""
    return width >= _WIDE


def site_rows(
    findings: Sequence[Finding], cursor: int, order: Order, width: int, words: Words
) -> list[Text]:
    """Write the heading and a row for each; where rows are short, the cursor's site below it."""
    columns = _columns(order, width)
    mark = "↓" if order is Order.VERDICT else ""
    head = left_in(f" {words('verdict')}{mark}", _VERDICT)
    heading = Text(head, style="bold")
    for column in columns:
        name = f"{words(column.value)}{'↓' if column is order else ''}"
        heading.append(right_in(name, _COLUMNS[column]), style="bold")
    heading.append(f"  {words('site')}", style="bold")
    lines = [heading]
    for place, finding in enumerate(findings):
        here = place == cursor
        row = Text("▸" if here else " ", style="bold" if here else "")
        row.append(
            left_in(words(VERDICTS[finding.verdict].label), _VERDICT - 1),
            style=VERDICT_STYLES[finding.verdict],
        )
        for column in columns:
            row.append(right_in(_number(finding, column, words), _COLUMNS[column]))
        row.append("  ")
        row.append(fitted_site(finding.stack, width - row.cell_len))
        row.truncate(width, overflow="ellipsis")
        lines.append(row)
        if here and not has_room_beside(width):
            below = Text(f"   {fitted_site(finding.stack, width - 3)}", style="dim")
            below.truncate(width, overflow="ellipsis")
            lines.append(below)
    return lines


def _columns(order: Order, width: int) -> list[Order]:
    """Choose columns: the one that sites are sorted by always, the others while they fit."""
    room = width - _VERDICT - 2
    chosen = {order} & _COLUMNS.keys() or {Order.BYTES}
    room -= sum(_COLUMNS[one] for one in chosen)
    for column, size in _COLUMNS.items():
        least = _FAIR_NAME if column in _NICER else _LEAST_NAME
        if column not in chosen and size <= room - least:
            chosen.add(column)
            room -= size
    return [column for column in _COLUMNS if column in chosen]


def _number(finding: Finding, column: Order, words: Words) -> str:
    if column is Order.BYTES:
        return format_bytes(finding.outstanding_bytes)
    if column is Order.GROWTH:
        return growth_words(finding, words)
    if column is Order.BLOCKS:
        return format_count(finding.outstanding_blocks)
    return format_seconds(finding.oldest_seconds)
