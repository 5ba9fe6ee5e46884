"""Series of one site written as text: a few rows of numbers that a person can picture.

::

    Thirty blocks, one a second, none freed.
    every 1 s, blocks of 64 B
    outstanding  1..30

Words of a row: ``7`` one value, ``7*5`` five of them, ``1..30`` all from one to the other,
``0..300/10`` in steps of ten. Rows: ``outstanding`` blocks at each snapshot, ``old`` of them those
that the snapshot before had, ``gc`` cycles so far, ``cleaned`` freed by cleanups so far,
``churn`` further blocks born and freed per interval, ``unmatched`` frees of unknown blocks so far,
``events`` and ``cpu`` milliseconds of the process so far, ``oldest`` ages in seconds, ``sizes`` of
blocks that are resized,
``allocated`` by Go so far in MiB, beside ``gc``. Short rows repeat their last value. A fall in
``outstanding`` frees blocks. ``lifetime`` is that of freed blocks, in seconds.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from cgoleak.model.snapshot import ProbeCounters
from support.builders import (
    a_capture,
    a_frame,
    a_snapshot,
    counts,
    frames,
    go_memory,
    process_memory,
)

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture
    from cgoleak.model.snapshot import StackCounts

ROWS = (
    "outstanding",
    "old",
    "gc",
    "cleaned",
    "churn",
    "unmatched",
    "events",
    "oldest",
    "sizes",
    "allocated",
    "cpu",
)
DEFAULT_STACK = ("C subject row.c:41", "bridge main._Cfunc_row", "Go main.encode encode.go:88")


def draw(text: str) -> Capture:
    """Turn a drawing into a capture with one site, called ``subject``."""
    rows = {
        words[0]: numbers(words[1:])
        for line in text.splitlines()
        if (words := line.split()) and words[0] in ROWS
    }
    every = find(r"every ([\d.]+) s", text, 1.0)
    size = int(find(r"blocks of (\d+) B", text, 64))
    lifetime = find(r"lifetime ([\d.]+)", text, 0.01)
    stack = re.findall(r"^stack (.+)$", text, re.MULTILINE)
    snapshots = []
    born = freed = before = 0
    first = None
    for place, now in enumerate(rows["outstanding"]):
        at = (place + 1) * every
        churn = value(rows, "churn", place) or 0
        born += max(0, now - before) + churn
        freed += max(0, before - now) + churn
        first = at - every / 2 if now and first is None else first
        oldest = value(rows, "oldest", place)
        gc = value(rows, "gc", place)
        allocated = value(rows, "allocated", place) or 0
        cpu = value(rows, "cpu", place)
        grown = now * ((value(rows, "sizes", place) or size) - size)
        snapshots.append(
            a_snapshot(
                at,
                {
                    1: resized(
                        counts(
                            born,
                            freed,
                            block_bytes=size,
                            cleaned=value(rows, "cleaned", place) or 0,
                            lifetime_s=lifetime,
                            oldest_s=(at - (first or at)) * (now > 0) if oldest is None else oldest,
                            old=value(rows, "old", place),
                        ),
                        grown,
                    )
                },
                counters=ProbeCounters(
                    unmatched_frees=value(rows, "unmatched", place) or 0,
                    events=value(rows, "events", place) or 0,
                ),
                process=None if cpu is None else replace(process_memory(), cpu_ms=cpu),
                go=None
                if gc is None
                else replace(go_memory(gc_cycles=gc), total_alloc=allocated << 20),
            )
        )
        before = now
    found = tuple(map(a_frame, stack)) or frames(*DEFAULT_STACK)
    return a_capture(snapshots, {1: found}, incomplete=[1] if "cut off" in text else [])


def resized(counted: StackCounts, by: int) -> StackCounts:
    """Give the blocks that are there more bytes."""
    return replace(counted, born_bytes=counted.born_bytes + by)


def numbers(words: list[str]) -> list[int]:
    """Read the words of a row."""
    found: list[int] = []
    for word in words:
        if ".." in word:
            start, _, rest = word.partition("..")
            end, _, step = rest.partition("/")
            low, high, by = int(start), int(end), int(step or 1)
            found += range(low, high + 1, by) if low <= high else range(low, high - 1, -by)
        else:
            number, _, times = word.partition("*")
            found += [int(number)] * int(times or 1)
    return found


def value(rows: dict[str, list[int]], name: str, place: int) -> int | None:
    row = rows.get(name)
    return None if not row else row[min(place, len(row) - 1)]


def find(pattern: str, text: str, default: float) -> float:
    match = re.search(pattern, text)
    return float(match[1]) if match else default
