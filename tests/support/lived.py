"""Watches of hours, written in a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.snapshot import NativeMemory
from cgoleak.target.observer import Observation
from cgoleak.target.succession import Subject
from cgoleak.watching.journal import Journal
from support.builders import SECOND, a_target, go_memory, process_memory

if TYPE_CHECKING:
    from cgoleak.capture import CaptureWriter

__all__ = ["a_watched_day"]


def a_watched_day(sink: CaptureWriter, *, hours: int) -> int:
    """Write a reading each second through a journal; give the RSS of one that stands out.

    Of what is more than 75 minutes old, only those readings are written that thinning keeps.
    """
    journal = Journal(sink)
    sink.write_target(a_target(), mode="watch")
    journal.begin(Subject(4242, 99, "/srv/worker", ("worker",)), 0)
    peak = 3 << 30
    recent = hours * 3600 - 4500
    # What is asked is the size, not how safe it is.
    sink._db.connection.execute("PRAGMA synchronous=OFF")
    sheet = NativeMemory(
        *(n << 20 for n in (50, 3, 90, 40, 1, 8, 2, 0)),
        free=9 << 20,
        cached=1 << 20,
        handed_out=70 << 20,
        mapped_blocks=30 << 20,
        arenas=8,
    )
    for second in (*range(0, recent, 60), *range(recent, hours * 3600)):
        rss = (64 << 20) + second * 4096 if second != 6000 else peak
        seen = Observation(
            process_memory(rss=rss),
            go_memory(gc_cycles=second, heap_in_use=rss // 3, heap_free=rss // 7),
            sheet if second % 4 == 0 else None,
        )
        journal.add(second * SECOND, seen)
    return peak
