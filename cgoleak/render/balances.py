"""The balance sheets of two reports as one: what each part was at the end of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.report import BalanceLine

if TYPE_CHECKING:
    from cgoleak.model.difference import Difference

__all__ = ["balance_changes"]


def balance_changes(difference: Difference) -> tuple[BalanceLine, ...]:
    """Give base as start and new as now, part by part; a part that one lacks is zero there."""
    before = {line.part: line for line in difference.base.balance}
    after = {line.part: line for line in difference.new.balance}
    if not before or not after:
        return ()
    lines = []
    for part in [*after, *(part for part in before if part not in after)]:
        start = before[part].now_bytes if part in before else 0
        now = after[part].now_bytes if part in after else 0
        source = (after.get(part) or before[part]).source
        lines.append(BalanceLine(part, start, now, now - start, source))
    return tuple(lines)
