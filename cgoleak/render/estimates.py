"""What a report says of a sample: how blocks were chosen, and how far an estimate may be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from cgoleak.model.report import Finding, Report, ReportWindow
    from cgoleak.model.words import Words

__all__ = ["is_estimated", "range_of", "sampling_facts"]


def sampling_facts(window: ReportWindow, words: Words) -> tuple[str, ...]:
    """Say how blocks were chosen, and since when if not from the begin; empty if all were."""
    if window.sample_bytes is None:
        return () if window.mode in {"exact", "watch"} else (words(window.mode),)
    chosen = words("one block per {size}", size=format_bytes(window.sample_bytes))
    since = window.sampled_since_seconds
    later = (words("from {time} on", time=format_seconds(since)),) if since else ()
    return (words("sampled"), chosen, *later)


def is_estimated(report: Report) -> bool:
    """Whether numbers of a site are estimates."""
    return any(one.samples for one in report.findings)


def range_of(finding: Finding, words: Words) -> str:
    """Say between what the true bytes lie; empty if every block was followed."""
    if finding.interval_bytes is None:
        return ""
    low, high = map(format_bytes, finding.interval_bytes)
    return words("{low} to {high}", low=low, high=high)
