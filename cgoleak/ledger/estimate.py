"""What a sampled number may be: an estimate and its standard error → an interval.

Few samples stand for much: their number goes up and down as a Poisson variable does, and its
interval is not symmetric. Byar's approximation of the exact one is used (Breslow and Day,
Statistical Methods in Cancer Research II, 1987, formula 2.13), for as many samples of equal weight
as would have this error.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["interval", "seen", "unseen"]

_QUANTILE: Final = 1.96
"""Standard errors that 95 % of a normal distribution lie within."""


def interval(estimate: int, error: int) -> tuple[int, int]:
    """Give the least and the most that the true value is, with a confidence of 95 %."""
    if error <= 0 or estimate <= 0:
        return estimate, estimate
    samples = seen(estimate, error)
    low = (1 - 1 / (9 * samples) - _QUANTILE / (3 * math.sqrt(samples))) ** 3
    more = samples + 1
    high = (1 - 1 / (9 * more) + _QUANTILE / (3 * math.sqrt(more))) ** 3
    return max(0, round(estimate * max(0.0, low))), round(estimate * high * more / samples)


def unseen(weight: int) -> int:
    """Give the most that is true, with the same confidence, where no sample was found.

    ``weight`` is what one would stand for. It is Byar's upper end for none.
    """
    return round(weight * (1 - 1 / 9 + _QUANTILE / 3) ** 3)


def seen(estimate: int, error: int) -> float:
    """Give how many blocks, each looked at and each standing for as many, have this error.

    Without an error that is the estimate: every block was looked at.
    """
    return (estimate / error) ** 2 if error > 0 and estimate > 0 else float(estimate)
