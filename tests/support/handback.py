"""The classic: a burst on Go's heap, silence, and memory that comes back minutes later.

``watched`` runs it; ``hand_back_of`` reads the story out of the capture: where RSS was before, at
the peak and after, what cgoleak foretold, and what came of it.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.units import format_bytes, format_seconds
from cgoleak.verdict.handback import go_return_of
from support.live import Cgoleak, Load, Worker, wait_until

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture
    from cgoleak.model.report import GoReturn
    from cgoleak.model.snapshot import GoMemory, Snapshot

__all__ = ["HandBack", "Moment", "hand_back_of", "story", "watched"]

BURST_S: Final = 5
CLIENTS: Final = 100
NATURAL_S: Final = 450
"""Two forced collections two minutes apart, each noticed a minute late, the scavenger's minute."""
_WARM: Final = 20 << 20
"""What a worker is larger by after its first requests."""
_GONE: Final = 0.95
"""Of what went in the end; with it gone the hand-back is taken to be done."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading: seconds since the watch began, RSS, Go's numbers, and the forecast of then."""

    at_s: float
    rss: int
    go: GoMemory
    forecast: GoReturn


@dataclass(frozen=True, slots=True)
class HandBack:
    """Moments of the story.

    Attributes:
        before: the first reading.
        peak: the highest RSS.
        over: the first reading after the burst.
        quiet: the last one before the collection that found the garbage.
        found: the first one after it: the forecast is taken here.
        done: the first one at which it had come back.
        last: the end of the watch.
    """

    before: Moment
    peak: Moment
    over: Moment
    quiet: Moment
    found: Moment
    done: Moment
    last: Moment

    @property
    def returned_bytes(self) -> int:
        """By how much RSS has fallen from the forecast to the end."""
        return self.found.rss - self.last.rss

    @property
    def seconds(self) -> float:
        """How long that took."""
        return self.done.at_s - self.found.at_s


def watched(programs: Path, folder: Path, *, trickle: float = 0) -> Cgoleak:
    """Watch a worker through a burst of ``/bar`` until its memory has come back.

    ``trickle`` is how many pictures a second it goes on to make, so that its next collections come
    soon; 0 leaves it idle.
    """
    with (
        Worker(programs, "-scenario", "clean") as worker,
        Cgoleak(folder, "watch", worker.pid, "--interval", "500ms") as running,
    ):
        wait_until(lambda: "RSS" in running.stderr, "the watch to begin")
        enough = 2 * _rss(worker.pid) + _WARM
        with Load(
            programs, worker.address, seconds=BURST_S, rate=0, concurrency=CLIENTS, path="/bar"
        ) as load:
            assert load.answered()["errors"] == 0
        assert _rss(worker.pid) > 2 * enough, "the burst was none"
        with ExitStack() as stack:
            if trickle:
                after = Load(programs, worker.address, seconds=NATURAL_S, rate=trickle)
                stack.enter_context(after)
            wait_until(lambda: _rss(worker.pid) < enough, "memory to come back", NATURAL_S)
        # A few readings more, for what goes last.
        end = time.monotonic() + 3
        wait_until(lambda: time.monotonic() >= end, "the last readings", 5)
        running.interrupt()
        assert running.finish() == 0, running.stderr
        assert worker.answers()
    return running


def hand_back_of(capture: Capture) -> HandBack:
    """Find the moments in a capture.

    Raises:
        AssertionError: there was no burst, or no collection after it.
    """
    moments = [
        moment
        for place in range(len(capture.snapshots))
        if (moment := _moment(capture, capture.snapshots[: place + 1])) is not None
    ]
    top = max(moments, key=lambda one: one.rss)
    most = moments[-1].go.total_alloc - moments[0].go.total_alloc
    busy = [
        later.at_s
        for one, later in pairwise(moments)
        if later.go.total_alloc - one.go.total_alloc > most / 50
    ]
    idle = [one for one in moments if one.at_s > max(busy)]
    # One that ran while the last requests were answered found a part only.
    little = max(one.go.heap_in_use for one in moments) // 8
    place = next((place for place, one in enumerate(idle) if one.go.heap_in_use < little), None)
    assert place, "no collection found the garbage"
    quiet, found = idle[place - 1], idle[place]
    last = moments[-1]
    fallen = found.rss - _GONE * (found.rss - last.rss)
    done = next(one for one in idle if one.at_s >= found.at_s and one.rss <= fallen)
    return HandBack(moments[0], top, idle[0], quiet, found, done, last)


def story(found: HandBack) -> list[str]:
    """Give a Markdown table of it."""
    rows = [
        ("before", found.before, ""),
        ("at the peak, under load", found.peak, ""),
        ("the load has ended, Go waits", found.quiet, _said(found.quiet)),
        (f"{_later(found.over, found.found)}: Go collects", found.found, _said(found.found)),
        (
            f"{_later(found.found, found.done)}: it has come back",
            found.last,
            f"{format_bytes(found.returned_bytes)} went",
        ),
    ]
    lines = [
        "| moment | RSS | Go heap in use | held back | cgoleak's forecast |",
        "|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {what} | {format_bytes(one.rss)} | {format_bytes(one.go.heap_in_use)} "
        f"| {format_bytes(one.go.heap_free)} | {said} |"
        for what, one, said in rows
    ]
    return lines


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _said(one: Moment) -> str:
    size = format_bytes(one.forecast.returning_bytes)
    more = ", and what is garbage of the rest" if "On top comes" in one.forecast.why else ""
    if one.forecast.within_seconds is None:
        return f"{size}{more}"
    low, high = (format_seconds(one) for one in one.forecast.within_seconds)
    return f"{size} within {low} to {high}{more}"


def _later(one: Moment, other: Moment) -> str:
    return f"{format_seconds(other.at_s - one.at_s)} later"


def _moment(capture: Capture, so_far: tuple[Snapshot, ...]) -> Moment | None:
    last = so_far[-1]
    forecast = go_return_of(capture.target, so_far, capture.window.started_unix_ns)
    if last.process is None or last.go is None or forecast is None:
        return None
    return Moment(last.at_ns / 1e9, last.process.rss, last.go, forecast)
