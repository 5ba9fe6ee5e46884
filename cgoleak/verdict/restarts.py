"""Restarts during a watch: what happened, and whether they are why RSS is what it is.

A process that grows until it dies gives all of its memory back. The curve of its service then falls
and looks healed; nothing was.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cgoleak.model.report import Cause, Restart
from cgoleak.units import format_bytes, format_seconds
from cgoleak.verdict.cause import Conclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.capture import Capture, WatchedProcess
    from cgoleak.model.snapshot import Snapshot

__all__ = ["by_process", "conclude_restarts", "restarts_of"]

_LEAST: Final = 4 << 20
_SHARE: Final = 0.05
"""A change of RSS below both is what any busy process shows."""
_OOM: Final = "OOM killer"


def by_process(capture: Capture) -> list[tuple[Snapshot, ...]]:
    """Part the snapshots by the process that they are of; one part if it is no watch."""
    if not capture.processes:
        return [capture.snapshots]
    starts = [*(one.since_ns for one in capture.processes[1:]), None]
    parts: list[tuple[Snapshot, ...]] = []
    begin = 0
    for start in starts:
        end = len(capture.snapshots)
        if start is not None:
            end = next(
                (place for place in range(begin, end) if capture.snapshots[place].at_ns >= start),
                end,
            )
        parts.append(capture.snapshots[begin:end])
        begin = end
    return parts


def restarts_of(capture: Capture) -> tuple[Restart, ...]:
    """List the restarts in order of time."""
    pairs = zip(pairwise(capture.processes), pairwise(by_process(capture)), strict=True)
    return tuple(_restart(old, new, before, after) for (old, new), (before, after) in pairs)


def conclude_restarts(capture: Capture, restarts: Sequence[Restart]) -> Conclusion | None:
    """Say that a restart made the curve, if one did.

    It did if the kernel took the process for want of memory; if the process was still growing in
    the second half of what was seen of it, and what took its place is smaller; or if RSS is lower
    at the end than before the restart. A deployment that comes back to the level of before is none
    of these.
    """
    parts = by_process(capture)
    now = _rss(parts[-1])[-1:]
    telling = []
    for restart, part in zip(restarts, parts, strict=False):
        sizes = _rss(part)
        half = sizes[len(sizes) // 2 :]
        is_growing = _is_more(restart.rss_before_bytes, min(half, default=0))
        fell = _is_more(restart.rss_before_bytes, restart.rss_after_bytes)
        stays_low = bool(now) and _is_more(restart.rss_before_bytes, now[0])
        if _OOM in restart.reason or (fell and (is_growing or stays_low)):
            telling.append((restart, is_growing))
    if not telling:
        return None
    last, largest = restarts[-1], max(telling, key=lambda one: one[0].rss_before_bytes)[0]
    times = "once" if len(restarts) == 1 else f"{len(restarts)} times"
    growing = ", growing" if all(one for _, one in telling) else ""
    window, size = format_seconds(capture.window.seconds), format_bytes(last.rss_before_bytes)
    most = ""
    if largest.rss_before_bytes > last.rss_before_bytes:
        most = f", at most at {format_bytes(largest.rss_before_bytes)}"
    ended = f"The process ended {times} in {window}{growing}"
    said = [f"{ended}; the last time at {size}{most}: {last.reason}."]
    if largest.reason != last.reason:
        said.append(f"The largest one ended otherwise: {largest.reason}.")
    said.append("RSS fell because a new process began, not because memory was freed.")
    return Conclusion(Cause.RESTART, " ".join(said))


def _restart(
    old: WatchedProcess,
    new: WatchedProcess,
    before: Sequence[Snapshot],
    after: Sequence[Snapshot],
) -> Restart:
    return Restart(
        at=(new.since_ns if old.ended_ns is None else old.ended_ns) / 1e9,
        old_pid=old.pid,
        new_pid=new.pid,
        reason=old.reason or "ended, reason unknown",
        rss_before_bytes=next(iter(_rss(before)[-1:]), 0),
        rss_after_bytes=next(iter(_rss(after)), 0),
    )


def _rss(snapshots: Sequence[Snapshot]) -> list[int]:
    return [one.process.rss for one in snapshots if one.process is not None]


def _is_more(size: int, than: int) -> bool:
    return size - than > max(_LEAST, _SHARE * than)
