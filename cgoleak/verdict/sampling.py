"""What a report says of sampling: that it was, since when, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.notice import Notice
from cgoleak.units import format_bytes, format_percent, format_seconds

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture

__all__ = ["sampling_notices"]


def sampling_notices(capture: Capture) -> list[Notice]:
    """Give a notice if blocks were sampled: what was asked for, or what cost too much."""
    if not capture.sampling:
        return []
    first, last = capture.sampling[0], capture.sampling[-1]
    size = format_bytes(last.rate)
    if last.share is None:
        return [
            Notice(
                "probe.sampled",
                f"one block per {size} was followed: numbers are estimates, and sites that hold "
                "less may be missing",
                "follow every block with --exact",
            )
        ]
    share, since = format_percent(first.share or 0.0), format_seconds(first.since_ns / 1e9)
    if first is not last:
        size = f"{format_bytes(first.rate)}, later per {size}"
    return [
        Notice(
            "probe.overhead",
            f"hooks took {share} of the target's CPU time, more than allowed: from {since} on one "
            f"block per {size} was followed, and numbers are estimates",
            "allow more with --max-overhead, or follow every block with --exact",
        )
    ]
