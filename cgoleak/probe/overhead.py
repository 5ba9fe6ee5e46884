"""What the hooks cost the target while they are in, and what is done if it is too much.

Events per second times nanoseconds per event, which the probe measures on some of them, against
the CPU time that the target takes. Above the limit, twice in a row, the probe goes from every block
to a sample; if that is still too much, to fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from cgoleak.model.capture import Sampling

if TYPE_CHECKING:
    from cgoleak.probe.session import ProbeSession

__all__ = ["RATES", "Overhead"]

RATES: Final = (512 << 10, 4 << 20, 32 << 20)
"""Bytes per sample, tried in this order."""
_EVERY_S: Final = 1.0
_PATIENCE: Final = 2
"""So many looks in a row above the limit: a burst is no reason to lose sight of single blocks."""
_LEAST_CPU_S: Final = 0.02
"""Two ticks of the clock that the kernel counts in: with less, a share means nothing."""
_LEAST_TIMED: Final = 100
_NO_LESS_NS: Final = 5.0
"""What an event that is passed over takes, about: fewer samples would not make it cheaper."""


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    events: int
    timed: int
    timed_ns: float
    cpu_s: float


@final
class Overhead:
    """Looks about once a second; ``limit`` is a share of the target's CPU time, None for none."""

    def __init__(self, session: ProbeSession, limit: float | None) -> None:
        self._session = session
        self._limit = limit
        self._last: _Reading | None = None
        self._above = 0
        self._ns_per_event: float | None = None
        self._paid_ns = 0.0
        self._cpu_s = 0.0
        self._events = 0
        self.changes: list[Sampling] = []

    @property
    def ns_per_event(self) -> float | None:
        """Mean of all events of the window, or None if none was timed."""
        return self._paid_ns / self._events if self._events and self._paid_ns else None

    @property
    def share(self) -> float | None:
        """Share of the target's CPU time that the hooks took; None if it is not known."""
        return self._paid_ns / 1e9 / self._cpu_s if self._cpu_s and self._paid_ns else None

    def look(self, at_s: float, *, at_ns: int, last: bool = False) -> None:
        """Measure the time since the last look, if it is long enough; change the rate if need be.

        ``at_ns`` is the time in the capture's window. ``last``: nothing is changed any more.

        Raises:
            ProbeError, TargetExited: the probe does not obey.
        """
        if self._last is not None and at_s - self._last.at_s < _EVERY_S and not last:
            return
        cpu_s = self._session.cpu_seconds()
        if cpu_s is None:
            return
        tables = self._session.tables
        timed, timed_ns = tables.event_cost()
        now = _Reading(at_s, tables.totals()[0], timed, timed_ns, cpu_s)
        before = self._last
        self._last = now
        if before is None:
            return
        share = self._share(before, now)
        if self._limit is None or share is None or last:
            return
        self._above = self._above + 1 if share > self._limit else 0
        if self._above >= _PATIENCE:
            self._above = 0
            self._slow_down(at_ns, share)

    def _share(self, before: _Reading, now: _Reading) -> float | None:
        """Give the share of the CPU time between two readings that went into hooks."""
        timed = now.timed - before.timed
        if timed >= _LEAST_TIMED or (timed > 0 and self._ns_per_event is None):
            self._ns_per_event = (now.timed_ns - before.timed_ns) / timed
        cpu_s, events = now.cpu_s - before.cpu_s, max(0, now.events - before.events)
        self._cpu_s += max(0.0, cpu_s)
        self._events += events
        if self._ns_per_event is None:
            return None
        paid_ns = events * self._ns_per_event
        self._paid_ns += paid_ns
        return paid_ns / 1e9 / cpu_s if cpu_s >= _LEAST_CPU_S else None

    def _slow_down(self, at_ns: int, share: float) -> None:
        now = max(self._session.tables.rates(), default=0)
        rate = next((one for one in RATES if one > now), None)
        if rate is None or (now and (self._ns_per_event or 0.0) < _NO_LESS_NS):
            return
        self._session.sample(rate)
        self.changes.append(Sampling(at_ns, rate, share))
