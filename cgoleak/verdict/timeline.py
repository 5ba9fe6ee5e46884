"""The window as columns for a chart, and the instants at which sites are drawn.

Ledger → ``Timeline``. A long watch has more snapshots than a chart has pixels; what is kept shows
each peak.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.ledger import Ledger

__all__ = ["history_places", "timeline_of"]

_MOST: Final = 600
"""Instants; a chart is seldom wider in pixels than twice that."""
_HISTORY: Final = 24
"""Instants of one site: a sparkline."""


def timeline_of(ledger: Ledger, hooked: Ledger | None, hooked_since_ns: int) -> Timeline | None:
    """Give the columns; None without snapshots.

    ``hooked`` is the part that was measured with hooks where that is not all; its times count from
    ``hooked_since_ns``.
    """
    if not ledger.times_ns:
        return None
    measured, since = (ledger, 0) if hooked is None else (hooked, hooked_since_ns)
    counted = {at + since: place for place, at in enumerate(measured.times_ns)}
    places = _thinned([one.rss if one else 0 for one in ledger.process])
    times, process, go = ledger.times_ns, ledger.process, ledger.go
    native = ledger.native
    return Timeline(
        seconds=tuple(round(times[place] / 1e9, 3) for place in places),
        rss_bytes=tuple(one.rss if (one := process[place]) else None for place in places),
        go_in_use_bytes=tuple(
            go_one.heap_in_use if (go_one := go[place]) else None for place in places
        ),
        go_held_bytes=tuple(
            go_one.heap_free if (go_one := go[place]) else None for place in places
        ),
        outstanding_bytes=tuple(
            None if (at := counted.get(times[place])) is None else measured.outstanding_bytes[at]
            for place in places
        ),
        slack_bytes=tuple(chunk.free if (chunk := native[place]) else None for place in places),
        gc_cycles=tuple(go_one.gc_cycles if (go_one := go[place]) else None for place in places),
    )


@lru_cache(maxsize=8)
def history_places(instants: int) -> tuple[int, ...]:
    """Choose instants of a series, evenly, the first and the last among them."""
    if instants <= _HISTORY:
        return tuple(range(instants))
    return tuple(round(step * (instants - 1) / (_HISTORY - 1)) for step in range(_HISTORY))


def _thinned(sizes: Sequence[int]) -> list[int]:
    """Choose places: of each part of the window the highest, and both ends."""
    count = len(sizes)
    if count <= _MOST:
        return list(range(count))
    kept = {0, count - 1}
    for part in range(_MOST - 2):
        begin, end = part * count // (_MOST - 2), (part + 1) * count // (_MOST - 2)
        kept.add(max(range(begin, end), key=sizes.__getitem__))
    return sorted(kept)
