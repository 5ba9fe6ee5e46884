"""Which sampling rate comes next: what the cost demands, within what a verdict needs. Pure.

The cost of an event that is passed over is a floor that no rate lowers, and a block as large as
the rate is followed at nearly every rate. So a step is taken only where it saves something, and
never beyond the rate at which the least leak that must be seen still has its samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, final

from cgoleak.probe.wire.layout import EPOCHS, RATE_MOST
from cgoleak.verdict.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FIRST", "LEAST_GROWTH", "RARE", "SAMPLES", "Load", "Rates", "Why", "most_rate"]

FIRST: Final = 16 << 10
"""Bytes per sample of the first step: small blocks are nearly all passed over, and one of 16 KiB is
still followed two times in three."""
LEAST_GROWTH: Final = 16 << 10
"""Bytes per second of the least leak of small blocks that a verdict must not miss: 1.3 GiB a day.

Slower ones are seen as well where their call is rare, for those are followed for sure."""
RARE: Final = 64
"""Blocks a second that each place is followed with for sure: a leak of a block a second is seen as
in exact mode, and a place costs 3 to 10 µs a second at most."""
SAMPLES: Final = 4 * Policy().min_blocks
"""So many samples has that leak at the least. The rules ask for ``min_blocks`` that stay, and for a
rise in each third that chance does not make: with so many, 97 of 100 steady leaks are called so."""
_STEP: Final = 4
_PATIENCE: Final = 2
"""So many looks in a row above the limit: a burst is no reason to lose sight of single blocks."""
_PASSED_NS: Final = 5.0
"""What an event that is passed over takes, about."""
_WORTH: Final = 0.1
"""Share of the cost that a step must save."""


class Why(Enum):
    """Why the rate is what it is although the limit is not held."""

    SAMPLES = "fewer would be too few to judge by"
    FLOOR = "fewer would cost as much"


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen since the last look.

    Attributes:
        share: of the target's CPU time that the hooks took; None if it is not known.
        ns: what an event took, in the mean.
        sites: asks for the blocks and bytes that were born at each stack.
        seconds: how long blocks will be sampled; see ``most_rate``.
    """

    share: float | None
    ns: float
    sites: Callable[[], Sequence[tuple[int, int]]]
    seconds: float


def most_rate(seconds: float) -> int:
    """Give the bytes per sample that leave ``SAMPLES`` to the least leak in so many seconds."""
    return min(int(LEAST_GROWTH * seconds / SAMPLES), RATE_MOST)


@final
class Rates:
    """Goes up while the cost is above ``limit``, a share of the target's CPU time."""

    def __init__(self, limit: float, *, now: int = 0) -> None:
        """``now``: bytes per sample that were asked for; 0: every block is followed."""
        self._limit = limit
        self._above = 0
        self._ns_before: float | None = None
        self._changes = 1 if now else 0
        self.now = now
        self.why: Why | None = None

    def next(self, load: Load) -> int | None:
        """Weigh what was seen; give another rate, or None to leave it."""
        if load.share is None:
            return None
        self._above = self._above + 1 if load.share > self._limit else 0
        if self._above < _PATIENCE:
            return None
        self._above = 0
        most = most_rate(load.seconds)
        rate = min(max(FIRST, _STEP * self.now) if self.now else FIRST, most)
        if rate <= self.now or self._changes >= EPOCHS - 1:
            self.why = Why.SAMPLES
            return None
        if self._last_was_in_vain(load.ns):
            self.why = Why.FLOOR
            return None
        if _saving(self.now, rate, load) < _WORTH:
            self.why = Why.SAMPLES if rate == most else Why.FLOOR
            return None
        self.now, self._ns_before, self.why = rate, load.ns, None
        self._changes += 1
        return rate

    def _last_was_in_vain(self, ns: float) -> bool:
        """What the last step did not make cheaper, another will not either."""
        return self._ns_before is not None and ns > (1 - _WORTH) * self._ns_before


def _saving(now: int, rate: int, load: Load) -> float:
    """Give the share of the cost that goes if the rate changes: of what is above the floor."""
    sites = load.sites()
    before, after = (_followed(one, sites) for one in (now, rate))
    if not before or load.ns <= _PASSED_NS:
        return 0.0
    return (load.ns - _PASSED_NS) / load.ns * (1 - after / before)


def _followed(rate: int, sites: Sequence[tuple[int, int]]) -> float:
    """Give how many blocks are followed at a rate, in the mean; sites have blocks of one size."""
    if not rate:
        return float(sum(blocks for blocks, _ in sites))
    return sum(-blocks * math.expm1(-size / blocks / rate) for blocks, size in sites if blocks)
