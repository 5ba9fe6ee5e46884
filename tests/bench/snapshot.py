"""Reading one snapshot of a million outstanding blocks, as the recorder does at each interval."""

from __future__ import annotations

import os
import statistics
import time
from array import array
from typing import Final

from cgoleak.probe.wire.layout import LEVEL0_BITS
from tests.bench.attach import Cost
from tests.support.probe_tables import MadeTables

__all__ = ["snapshot_costs"]

BLOCKS: Final = 1_000_000
STACKS: Final = 10_000
_SHARDS: Final = 4
"""Threads that allocate on each stack."""
_BLOCK_BYTES: Final = 16


def snapshot_costs(rounds: int) -> list[Cost]:
    """Read the tables several times; beside it, only copy the bytes of the blocks out of them."""
    made = MadeTables()
    try:
        places = _fill(made)
        tables = made.open()
        try:
            read, copied = [], []
            for _ in range(rounds + 1):
                began = time.process_time()
                for at, size in places:
                    os.pread(made.fd, size, at)
                copied.append((time.process_time() - began) * 1e3)
                began = time.process_time()
                counts = tables.counts()
                read.append((time.process_time() - began) * 1e3)
                assert sum(one.old_blocks or 0 for one in counts.values()) in {0, BLOCKS}
        finally:
            tables.close()
    finally:
        made.close()
    del read[0], copied[0]  # they map the pages
    what = f"snapshot of {BLOCKS:,} blocks on {STACKS:,} stacks: read"
    plain = statistics.median(copied)
    return [
        Cost("the same blocks: only copied", "ms", plain, max(copied)),
        Cost(what, "ms", statistics.median(read), max(read), statistics.median(read) / plain),
    ]


def _fill(made: MadeTables) -> list[tuple[int, int]]:
    """Enter the blocks as the probe does, level after level; give where they lie."""
    for stack in range(1, STACKS + 1):
        made.stack(stack, [0x400000 + 16 * stack])
        for shard in range(_SHARDS):
            born = BLOCKS // STACKS // _SHARDS
            made.row(stack, shard=shard, born_blocks=born, born_bytes=64 * born)
    places, left, level = [], BLOCKS, 0
    while left:
        count = min(left, 1 << LEVEL0_BITS + level)
        words = array("Q")
        for number in range(left - count, left):
            words.append((0x1000 + number) << 20 | 1 + number % STACKS)
            words.append(64 << 28 | 1 + number % 1000)
        places.append((made.level_at(level), count * _BLOCK_BYTES))
        os.pwrite(made.fd, words.tobytes(), places[-1][0])
        left, level = left - count, level + 1
    made.set(levels_used=level, tick=1001)
    return places
