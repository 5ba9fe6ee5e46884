"""What Go will hand back, from the newest snapshot that knows; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.target.go.handback import forecast
from cgoleak.target.go.version import go_minor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.capture import Target
    from cgoleak.model.report import GoReturn
    from cgoleak.model.snapshot import Snapshot

__all__ = ["gc_interval", "go_return_of"]

_RECENT_NS: Final = 60_000_000_000
_IDLE_S: Final = 5.0
_MISSED: Final = 3


def go_return_of(
    target: Target, snapshots: Sequence[Snapshot], started_unix_ns: int
) -> GoReturn | None:
    """Foretell it for the process of the last snapshot; None without Go's numbers.

    ``snapshots`` are in order of time and of one process.
    """
    minor = go_minor(target.go_version or "")
    known = [snapshot for snapshot in snapshots if snapshot.go is not None]
    if minor is None or not known or known[-1].go is None:
        return None
    now = started_unix_ns + known[-1].at_ns
    interval = gc_interval(known, now)
    return forecast(
        known[-1].go,
        minor,
        now_unix_ns=now,
        gc_interval_s=interval,
        godebug=target.godebug,
    )


def gc_interval(snapshots: Sequence[Snapshot], now_unix_ns: int) -> float | None:
    """Give the mean time between collections in the last minute; None for an idle process.

    One collection shows no rhythm: an idle process has one every two minutes. And when several
    were due and did not come, the work that made them is over.
    """
    recent = [one for one in snapshots if one.at_ns >= snapshots[-1].at_ns - _RECENT_NS]
    first, last = recent[0], recent[-1]
    if first.go is None or last.go is None:
        return None
    cycles = last.go.gc_cycles - first.go.gc_cycles
    if cycles < 2:
        return None
    interval = (last.at_ns - first.at_ns) / 1e9 / cycles
    age = (now_unix_ns - last.go.last_gc_unix_ns) / 1e9
    return None if age > max(_IDLE_S, _MISSED * interval) else interval
