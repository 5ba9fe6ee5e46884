"""The one value that every renderer takes. Field names and enums are those of the JSON contract."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cgoleak.model.later import Later

if TYPE_CHECKING:
    from cgoleak.model.capture import Module, Target
    from cgoleak.model.frames import Frame
    from cgoleak.model.gate import Gate
    from cgoleak.model.goprofile import GoSiteGrowth
    from cgoleak.model.handles import HandleFamily
    from cgoleak.model.ids import SiteKey
    from cgoleak.model.notice import Notice

__all__ = [
    "BalanceLine",
    "Cause",
    "Finding",
    "GoReturn",
    "HandleFinding",
    "Report",
    "ReportCost",
    "ReportWindow",
    "Restart",
    "Timeline",
    "Verdict",
]


class Cause(StrEnum):
    """What made RSS what it is in this window (``contract``)."""

    NATIVE_LEAK = "native-leak"
    GO_HELD = "go-held"
    GO_HEAP = "go-heap"
    GO_RETAINED = "go-retained"
    ALLOCATOR_RETAINED = "allocator-retained"
    RESTART = "restart"
    OTHER = "other"
    STABLE = "stable"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What is said of one site."""

    NATIVE_LEAK = "native-leak"
    SUSPECT = "suspect"
    GO_HELD = "go-held"
    BOUNDED = "bounded"
    SUPPRESSED = "suppressed"

    __hash__ = str.__hash__  # as that of Language


@dataclass(frozen=True, slots=True)
class BalanceLine:
    """One line of the sheet that explains RSS."""

    part: str
    start_bytes: int | None
    now_bytes: int
    change_bytes: int | None
    source: str


@dataclass(frozen=True, slots=True)
class GoReturn:
    """What Go's runtime will hand back, and when."""

    held_bytes: int
    returning_bytes: int
    buffer_bytes: int
    within_seconds: tuple[float, float] | None
    why: str


@dataclass(frozen=True, slots=True)
class Restart:
    """The process ended and another took its place."""

    at: float
    old_pid: int
    new_pid: int
    reason: str
    rss_before_bytes: int
    rss_after_bytes: int


@dataclass(frozen=True, slots=True)
class Finding(Later):
    """A site, what is said of it, and why; ``stack`` is leaf first.

    ``history_bytes`` is what was outstanding at each of the report's ``history_seconds``; empty
    where that is not known. ``samples`` are the sampled blocks that stand for the outstanding ones,
    and the true bytes lie in ``interval_bytes`` with a confidence of 95 %; 0 and None where every
    block was followed, 0 and an interval where none that stayed is among those that were sampled.
    """

    site: SiteKey
    verdict: Verdict
    outstanding_bytes: int
    outstanding_blocks: int
    growth_bytes_per_second: float
    oldest_seconds: float
    stack: tuple[Frame, ...]
    evidence: tuple[str, ...]
    advice: str
    suppression: str
    history_bytes: tuple[int, ...] = ()
    samples: int = 0
    interval_bytes: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class HandleFinding:
    """A place where handles are made, what is said of it, and why; ``stack`` is leaf first.

    Attributes:
        family: the kind of handles.
        outstanding: handles that were made since the attach and not given up.
        outstanding_bytes: what their create function was asked for, if that is known; else 0. It
            is in no total: the memory itself is among the findings.
        growth_per_second: handles.
        creates: the functions that make them.
        destroys: the functions that give them up.
    """

    site: SiteKey
    family: str
    verdict: Verdict
    outstanding: int
    outstanding_bytes: int
    growth_per_second: float
    oldest_seconds: float
    stack: tuple[Frame, ...]
    evidence: tuple[str, ...]
    advice: str
    suppression: str
    creates: tuple[str, ...]
    destroys: tuple[str, ...]

    def as_finding(self) -> Finding:
        """See the handles as blocks without bytes: these are other findings'."""
        return Finding(
            site=self.site,
            verdict=self.verdict,
            outstanding_bytes=0,
            outstanding_blocks=self.outstanding,
            growth_bytes_per_second=0.0,
            oldest_seconds=self.oldest_seconds,
            stack=self.stack,
            evidence=self.evidence,
            advice=self.advice,
            suppression=self.suppression,
        )


@dataclass(frozen=True, slots=True)
class ReportWindow:
    """The time that was measured; ``started_unix_seconds`` is the wall clock at its begin.

    ``go_owners_change`` is by how many Go's objects with a finalizer or cleanup rose; None where
    that is not known.
    """

    seconds: float
    snapshots: int
    gc_cycles: int | None
    mode: str
    started_unix_seconds: float | None = None
    ended: str | None = None
    """``detached``, ``target-exited``, ``interrupted`` or ``lost``: why measuring stopped."""
    sample_bytes: int | None = None
    """Bytes per sampled block, in the mean; None if every block was followed."""
    sampled_since_seconds: float | None = None
    """When sampling began in the window; every block was followed before."""
    go_owners_change: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The window as columns of equal length, in order of time; None where nobody looked.

    Attributes:
        seconds: since the begin of the window.
        rss_bytes: resident memory.
        go_in_use_bytes: Go heap in use, garbage that is not swept yet included.
        go_held_bytes: free in the Go heap and not handed back.
        outstanding_bytes: native memory allocated since attach and not freed.
        slack_bytes: what the C allocator holds free.
        gc_cycles: collections completed since the process began.
    """

    seconds: tuple[float, ...]
    rss_bytes: tuple[int | None, ...]
    go_in_use_bytes: tuple[int | None, ...]
    go_held_bytes: tuple[int | None, ...]
    outstanding_bytes: tuple[int | None, ...]
    slack_bytes: tuple[int | None, ...]
    gc_cycles: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class ReportCost:
    """What the measurement cost."""

    pause_seconds: float
    target_bytes: int
    events: int
    dropped: int
    unmatched_frees: int
    ns_per_event: float | None
    cpu_share: float | None = None
    """Share of the target's CPU time that the hooks took, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Report(Later):
    """Everything that is told of one measurement; findings worst first.

    ``go_sites`` are those of Go's own heap profile that grew most, most first; empty without one.
    ``timeline`` is None if there was no snapshot. ``modules`` are the ELF files that frames of the
    findings lie in. ``handles`` are findings of another kind, worst first; ``families`` the kinds
    that were counted.
    """

    target: Target
    window: ReportWindow
    cause: Cause
    summary: str
    balance: tuple[BalanceLine, ...]
    findings: tuple[Finding, ...]
    cost: ReportCost
    notices: tuple[Notice, ...] = ()
    go_return: GoReturn | None = None
    restarts: tuple[Restart, ...] = ()
    go_sites: tuple[GoSiteGrowth, ...] = ()
    gate: Gate | None = None
    timeline: Timeline | None = None
    history_seconds: tuple[float, ...] = ()
    modules: tuple[Module, ...] = ()
    handles: tuple[HandleFinding, ...] = ()
    families: tuple[HandleFamily, ...] = ()
