"""The sheet where only totals are known: Go's numbers, the probe's, and ``other``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.report import BalanceLine

if TYPE_CHECKING:
    from cgoleak.ledger import Ledger

__all__ = ["narrow_sheet", "outstanding_bytes"]


def narrow_sheet(ledger: Ledger) -> tuple[BalanceLine, ...]:
    """Give the lines that Go's numbers and the probe's allow, where mappings were not looked at."""
    lines = [*_go(ledger), _native(ledger), _own(ledger)]
    process = [one for one in ledger.process if one is not None]
    if not process:
        return tuple(lines)
    start, now = process[0].rss, process[-1].rss
    known = [line.change_bytes for line in lines if line.change_bytes is not None]
    rest_now = now - sum(line.now_bytes for line in lines)
    return (
        BalanceLine("RSS", start, now, now - start, "/proc/PID/smaps_rollup"),
        *lines,
        BalanceLine(
            part="other",
            start_bytes=rest_now - (now - start - sum(known)),
            now_bytes=rest_now,
            change_bytes=now - start - sum(known),
            source="RSS less the lines above",
        ),
    )


def outstanding_bytes(ledger: Ledger) -> int:
    """Native bytes allocated since the attach and not freed."""
    return ledger.outstanding_bytes[-1]


def _go(ledger: Ledger) -> list[BalanceLine]:
    known = [one for one in ledger.go if one is not None]
    if not known:
        return []
    first, last = known[0], known[-1]
    rows = (
        ("Go heap in use", first.heap_in_use, last.heap_in_use, "gcController.heapInUse"),
        ("Go heap held back", first.heap_free, last.heap_free, "gcController.heapFree"),
        (
            "Go stacks and metadata",
            first.stacks_in_use + first.metadata,
            last.stacks_in_use + last.metadata,
            "memstats",
        ),
    )
    return [BalanceLine(part, start, now, now - start, source) for part, start, now, source in rows]


def _native(ledger: Ledger) -> BalanceLine:
    now = outstanding_bytes(ledger)
    return BalanceLine("native outstanding", 0, now, now, "allocated since attach and not freed")


def _own(ledger: Ledger) -> BalanceLine:
    now = ledger.counters[-1].table_bytes
    return BalanceLine("cgoleak's own", 0, now, now, "the probe's tables")
