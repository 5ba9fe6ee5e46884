"""What ``cgoleak check`` decided, as a part of the report; field names are those of the JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgoleak.model.ids import SiteKey

__all__ = ["Gate", "Level", "Violation"]


class Level(StrEnum):
    """Whether it fails the build."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Violation:
    """A site that the policy does not allow.

    Attributes:
        baseline: ``new`` or ``grown`` where there is a baseline to compare with, else None.
        bytes_per_iteration: outstanding bytes by the number of iterations, if that is known.
    """

    site: SiteKey
    level: Level
    text: str
    baseline: str | None = None
    bytes_per_iteration: float | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The decision.

    Attributes:
        passed: no violation is an error.
        program: what was checked, as reports and baselines name it.
        policy: the file with the policy; None for the defaults.
        summary: one sentence.
        iterations: of ``--per``.
        tolerated: sites that the limits or the baseline allow.
        unused_suppressions: lines that match no site of this run.
        stale_baseline: sites of the baseline that were not found.
        compared: there was a baseline to compare with.
    """

    passed: bool
    program: str
    policy: str | None
    summary: str
    violations: tuple[Violation, ...] = ()
    iterations: int | None = None
    tolerated: tuple[SiteKey, ...] = ()
    unused_suppressions: tuple[str, ...] = ()
    stale_baseline: tuple[SiteKey, ...] = ()
    compared: bool = False
