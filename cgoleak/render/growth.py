"""How fast a site grows, as the tables for people show it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Verdict

if TYPE_CHECKING:
    from cgoleak.model.report import Finding

__all__ = ["growth_shown"]

_FEWEST: Final = 6
"""Instants of a history, below which its last third says nothing."""


def growth_shown(finding: Finding) -> float:
    """Return bytes a second; 0 for a bounded site that had all it has by the last third.

    The rate is a mean over the window. Of a cache that filled in its first seconds that is a rate
    at which nothing grows any more, and it would stand beside the word that says so. The JSON
    keeps the mean.
    """
    rate = finding.growth_bytes_per_second
    history = finding.history_bytes
    if finding.verdict is not Verdict.BOUNDED or len(history) < _FEWEST or not math.isfinite(rate):
        return rate
    before = history[: len(history) - len(history) // 3]
    return 0.0 if rate > 0 and history[-1] <= max(before) else rate
