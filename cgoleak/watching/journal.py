"""Writes the capture of a watch as it goes, and keeps it small.

Processes and readings in, rows of a ``CaptureWriter`` out. What a later part of the watch needs of
an earlier one (how many restarts, the RSS before them) is kept here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.capture.thinning import Taken, surplus
from cgoleak.model.capture import WatchedProcess
from cgoleak.model.report import Restart
from cgoleak.model.snapshot import ProbeCounters, Snapshot

if TYPE_CHECKING:
    from cgoleak.capture.writer import CaptureWriter
    from cgoleak.model.notice import Notice
    from cgoleak.target.observer import Observation
    from cgoleak.target.succession import Subject

__all__ = ["Journal"]

_THIN_EVERY: Final = 300
"""Readings between two thinnings."""
_COMMIT_EVERY_NS: Final = 10_000_000_000
"""As much is lost at most if the watch is killed."""


class Journal:
    """The book of one watch; times are nanoseconds in its window."""

    def __init__(self, sink: CaptureWriter) -> None:
        self.sink = sink
        self._processes: list[WatchedProcess] = []
        self._taken: list[Taken] = []
        self._told: set[str] = set()
        self._rss = 0
        self._commit_at_ns = 0
        self._until_thinning = _THIN_EVERY

    @property
    def is_empty(self) -> bool:
        """Whether no reading was stored yet."""
        return not self._taken

    @property
    def restarts(self) -> int:
        """How many processes took the place of one before."""
        return max(0, len(self._processes) - 1)

    @property
    def last_reason(self) -> str:
        """Why the newest process ended."""
        return (self._processes[-1].reason if self._processes else None) or "reason unknown"

    def begin(self, subject: Subject, at_ns: int) -> None:
        """Begin the pages of a process."""
        found = WatchedProcess(subject.pid, subject.start_ticks, subject.exe, at_ns)
        self._processes.append(found)
        self.sink.put_process(len(self._processes), found)

    def end(self, at_ns: int, reason: str) -> None:
        """Close the pages of a process."""
        one = self._processes[-1]
        ended = WatchedProcess(one.pid, one.start_ticks, one.exe, one.since_ns, at_ns, reason)
        self._processes[-1] = ended
        self.sink.put_process(len(self._processes), ended)

    def add(self, at_ns: int, seen: Observation) -> tuple[Snapshot, Restart | None]:
        """Store a reading; the first of a process that took another's place gives the restart."""
        restart = self._restart(seen)
        snapshot = Snapshot(
            at_ns=at_ns,
            stacks={},
            counters=ProbeCounters(),
            process=seen.process,
            go=seen.go,
            native=seen.native,
        )
        is_due = restart is not None or at_ns >= self._commit_at_ns
        number = self.sink.add_snapshot(snapshot, commit=is_due)
        if is_due:
            self._commit_at_ns = at_ns + _COMMIT_EVERY_NS
        self._rss = seen.process.rss if seen.process else 0
        self._taken.append(
            Taken(number, at_ns, len(self._processes), self._rss, seen.native is not None)
        )
        self._until_thinning -= 1
        if self._until_thinning <= 0:
            self._thin(at_ns)
        return snapshot, restart

    def tell(self, notice: Notice) -> None:
        """Store a notice, each code once."""
        if notice.code not in self._told:
            self._told.add(notice.code)
            self.sink.add_notice(notice)

    def _restart(self, seen: Observation) -> Restart | None:
        here = len(self._processes)
        if here < 2 or (self._taken and self._taken[-1].process == here):
            return None
        old, new = self._processes[-2:]
        return Restart(
            at=(old.ended_ns or 0) / 1e9,
            old_pid=old.pid,
            new_pid=new.pid,
            reason=old.reason or "",
            rss_before_bytes=self._rss,
            rss_after_bytes=seen.process.rss if seen.process else 0,
        )

    def _thin(self, now_ns: int) -> None:
        self._until_thinning = _THIN_EVERY
        dropped = surplus(self._taken, now_ns)
        if dropped:
            self.sink.drop_snapshots(dropped)
            self._taken = [one for one in self._taken if one.number not in dropped]
