"""What the hooks cost the target while they are in, and what is done if it is too much.

Events per second times nanoseconds per event, which the probe measures on some of them, against
the CPU time that the target takes. Above the limit the probe goes from every block to a sample, and
to fewer, as ``rates`` decides; where the limit cannot be held even so, a notice says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from cgoleak.model.capture import Sampling
from cgoleak.model.notice import Notice
from cgoleak.probe.rates import RARE, Load, Rates, Why
from cgoleak.units import format_bytes
from cgoleak.verdict.policy import Policy

if TYPE_CHECKING:
    from cgoleak.probe.session import ProbeSession

__all__ = ["Overhead"]

_EVERY_S: Final = 1.0
_LEAST_CPU_S: Final = 0.02
"""Two ticks of the clock that the kernel counts in: with less, a share means nothing."""
_LEAST_TIMED: Final = 100
_ABOVE: Final = "probe.above-limit"


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    events: int
    timed: int
    timed_ns: float
    cpu_s: float


@final
class Overhead:
    """Looks about once a second.

    ``limit`` is a share of the target's CPU time, None for none; ``seconds`` is how long is
    measured, None if nobody knows.
    """

    def __init__(
        self, session: ProbeSession, limit: float | None, seconds: float | None = None
    ) -> None:
        self._session = session
        self._limit = limit
        self._seconds = seconds
        asked = max(session.tables.rates(), default=0)
        self._rates = None if limit is None else Rates(limit, now=asked)
        self._last: _Reading | None = None
        self._ns_per_event: float | None = None
        self._all = _Paid()
        self._since_change = _Paid()
        self.changes: list[Sampling] = []

    @property
    def ns_per_event(self) -> float | None:
        """Mean of all events of the window, or None if none was timed."""
        paid = self._all
        return paid.ns / paid.events if paid.events and paid.ns else None

    @property
    def share(self) -> float | None:
        """Share of the target's CPU time that the hooks took; None if it is not known."""
        return self._all.share

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
        if self._rates is not None and not last:
            rate = self._rates.next(self._load(share, at_s))
            if rate is not None:
                assert share is not None
                self._session.sample(rate, rare=RARE)
                self.changes.append(Sampling(at_ns, rate, share))
                self._since_change = _Paid()

    def notices(self) -> list[Notice]:
        """Say so if the limit was not held with the rate that there was in the end."""
        share, rates = self._since_change.share, self._rates
        if rates is None or rates.why is None or share is None or share <= (self._limit or 0.0):
            return []
        size = format_bytes(rates.now or 1)
        if rates.why is Why.SAMPLES:
            fix = "allow more with --max-overhead, or measure longer"
            few = Notice(
                _ABOVE,
                f"hooks still took {100 * share:.1f} % of the target's CPU time, more than "
                f"allowed, with one block per {size} followed: fewer samples would be too few to "
                "judge by",
                fix,
            )
            every = Notice(
                _ABOVE,
                f"hooks took {100 * share:.1f} % of the target's CPU time, more than allowed, with "
                "every block followed: a sample would be too small to judge by",
                fix,
            )
        else:
            fix = "allow more with --max-overhead"
            few = Notice(
                _ABOVE,
                f"hooks still took {100 * share:.1f} % of the target's CPU time, more than "
                f"allowed, with one block per {size} followed: fewer samples would cost as much",
                fix,
            )
            every = Notice(
                _ABOVE,
                f"hooks took {100 * share:.1f} % of the target's CPU time, more than allowed, with "
                "every block followed: a sample would cost as much",
                fix,
            )
        return [few if rates.now else every]

    def _load(self, share: float | None, at_s: float) -> Load:
        """Tell the time that is left; of a window that has no end, that it lasts as long again."""
        seconds = max(at_s, Policy().min_seconds) if self._seconds is None else self._seconds - at_s
        sites = self._session.tables.births
        return Load(share, self._ns_per_event or 0.0, sites, max(0.0, seconds))

    def _share(self, before: _Reading, now: _Reading) -> float | None:
        """Give the share of the CPU time between two readings that went into hooks."""
        timed = now.timed - before.timed
        if timed >= _LEAST_TIMED or (timed > 0 and self._ns_per_event is None):
            # Here and not in the sums: a sum that was lifted would make the next difference wrong.
            self._ns_per_event = max(0.0, now.timed_ns - before.timed_ns) / timed
        cpu_s, events = now.cpu_s - before.cpu_s, max(0, now.events - before.events)
        paid_ns = events * (self._ns_per_event or 0.0)
        for paid in (self._all, self._since_change):
            paid.add(max(0.0, cpu_s), events, paid_ns)
        if self._ns_per_event is None or cpu_s < _LEAST_CPU_S:
            return None
        return paid_ns / 1e9 / cpu_s


@dataclass(slots=True)
class _Paid:
    """What a time has cost."""

    cpu_s: float = 0.0
    events: int = 0
    ns: float = 0.0

    def add(self, cpu_s: float, events: int, ns: float) -> None:
        self.cpu_s += cpu_s
        self.events += events
        self.ns += ns

    @property
    def share(self) -> float | None:
        return self.ns / 1e9 / self.cpu_s if self.cpu_s and self.ns else None
