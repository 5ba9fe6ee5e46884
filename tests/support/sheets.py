"""Balance sheets over time written as text: a row of numbers for each part, in MiB.

::

    A burst: Go's heap grows, is collected, and is not handed back yet.
    every 1 s
    in-use   8*5 200*5 8*20
    free     0*10 192*20
    gc       1*9 2*21

Words of a row are those of ``drawings``. Rows of Go: ``in-use`` and ``free`` heap, ``marked`` by
the last collection, ``alloc`` in all since start, ``gc`` cycles so far. Of C: ``lost`` is
outstanding at the site ``subject`` in blocks of 16 KiB, ``cleaned`` of them freed so far by
cleanups beside that; ``slack`` is what malloc holds free, ``before`` what is in use from before the
attach. ``stacks`` of threads, ``files`` that are mapped. Short rows repeat their last value; a row
left out is 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgoleak.model.snapshot import ProbeCounters
from support.builders import (
    a_capture,
    a_snapshot,
    counts,
    frames,
    go_memory,
    native_memory,
    process_memory,
)
from support.drawings import DEFAULT_STACK, find, numbers, value

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture
    from cgoleak.model.snapshot import Snapshot

__all__ = ["MIB", "draw_sheets", "sheets_of"]

MIB: Final = 1 << 20
_BLOCK: Final = 16 << 10
_ROWS: Final = (
    *("in-use", "free", "marked", "alloc", "gc"),
    *("lost", "cleaned", "slack", "before", "stacks", "files"),
)


def draw_sheets(text: str) -> Capture:
    """Turn a drawing into a capture whose snapshots all have a whole sheet."""
    rows = {
        words[0]: numbers(words[1:])
        for line in text.splitlines()
        if (words := line.split()) and words[0] in _ROWS
    }
    return sheets_of(rows, every=find(r"every ([\d.]+) s", text, 1.0))


def sheets_of(rows: dict[str, list[int]], *, every: float = 1.0) -> Capture:
    """Give the capture of these rows, as long as the longest of them."""
    length = max(map(len, rows.values()))
    snapshots = [_snapshot(rows, place, (place + 1) * every) for place in range(length)]
    return a_capture(snapshots, {1: frames(*DEFAULT_STACK)})


def _snapshot(rows: dict[str, list[int]], place: int, at_s: float) -> Snapshot:
    def mib(name: str) -> int:
        return (value(rows, name, place) or 0) * MIB

    lost, cleaned = mib("lost") // _BLOCK, mib("cleaned") // _BLOCK
    headers = 16 * lost
    native = native_memory(
        go_heap=mib("in-use") + mib("free"),
        heap=mib("before") + mib("lost") + headers + mib("slack"),
        stacks=mib("stacks"),
        files=mib("files"),
        free=mib("slack"),
    )
    go = go_memory(
        gc_cycles=value(rows, "gc", place) or 0,
        heap_in_use=mib("in-use"),
        heap_free=mib("free"),
    )
    return a_snapshot(
        at_s,
        {
            1: counts(
                lost + cleaned,
                cleaned,
                block_bytes=_BLOCK,
                cleaned=cleaned,
                oldest_s=at_s if lost else 0,
            )
        },
        counters=ProbeCounters(events=lost + 2 * cleaned + place + 1),
        process=process_memory(rss=native.resident),
        go=replace(
            go, stacks_in_use=0, heap_marked=mib("marked"), total_alloc=mib("alloc"), metadata=0
        ),
        native=native,
    )
