"""A sealed capture → the report. Pure: it reads no file and asks no process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.ledger import Ledger
from cgoleak.model.notice import Notice
from cgoleak.model.report import Cause, Report, ReportCost, ReportWindow
from cgoleak.stacks import find_sites
from cgoleak.units import format_percent, format_seconds, plural
from cgoleak.verdict.balance import balance_of
from cgoleak.verdict.cause import conclude
from cgoleak.verdict.judge import judge
from cgoleak.verdict.policy import Policy

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture
    from cgoleak.model.snapshot import ProbeCounters

__all__ = ["analyse", "report_of"]


def analyse(capture: Capture, policy: Policy | None = None) -> Report:
    """Judge a capture.

    Raises:
        DamagedCapture: its snapshots are out of order.
    """
    ledger = Ledger()
    for snapshot in capture.snapshots:
        ledger.fold(snapshot)
    return report_of(capture, ledger, policy or Policy())


def report_of(capture: Capture, ledger: Ledger, policy: Policy) -> Report:
    """Judge what was folded so far; the live view and ``analyse`` share this path."""
    findings = judge(ledger, find_sites(capture), policy)
    balance = balance_of(ledger)
    cause, summary = conclude(ledger, findings, balance)
    counters = ledger.counters[-1] if ledger.counters else None
    return Report(
        target=capture.target,
        window=ReportWindow(
            seconds=capture.window.seconds,
            snapshots=len(ledger.times_ns),
            gc_cycles=ledger.gc_cycles,
            mode=capture.window.mode,
        ),
        cause=cause,
        summary=summary,
        balance=balance,
        findings=findings,
        cost=ReportCost(
            pause_seconds=capture.cost.pause_seconds,
            target_bytes=capture.cost.target_bytes,
            events=counters.events if counters else 0,
            dropped=counters.dropped_blocks + counters.dropped_stacks if counters else 0,
            unmatched_frees=counters.unmatched_frees if counters else 0,
            ns_per_event=capture.cost.ns_per_event,
        ),
        notices=(*capture.notices, *_lost(counters), *_thin(cause, ledger, policy)),
    )


def _lost(counters: ProbeCounters | None) -> list[Notice]:
    """Say what the probe could not keep."""
    if counters is None:
        return []
    notices: list[Notice] = []
    if counters.dropped_blocks:
        share = format_percent(counters.dropped_blocks / max(1, counters.events))
        notices.append(
            Notice(
                "probe.dropped-blocks",
                f"{plural(counters.dropped_blocks, 'block')} found no room in the probe's table "
                f"({share} of the events); the sites' numbers are too low by as much",
                "measure a shorter time, or with --sample",
            )
        )
    if counters.dropped_stacks:
        notices.append(
            Notice(
                "probe.dropped-stacks",
                f"{plural(counters.dropped_stacks, 'stack')} found no room in the probe's table; "
                "their blocks are counted under one site without frames",
                "measure a shorter time",
            )
        )
    if counters.truncated_stacks:
        notices.append(
            Notice(
                "probe.truncated-stacks",
                f"{plural(counters.truncated_stacks, 'stack')} could not be followed to the end",
            )
        )
    return notices


def _thin(cause: Cause, ledger: Ledger, policy: Policy) -> list[Notice]:
    """Say what is missing where the cause is unknown."""
    if cause is not Cause.UNKNOWN:
        return []
    missing = []
    if ledger.seconds < policy.min_seconds:
        missing.append(f"only {format_seconds(ledger.seconds)} were measured")
    if not any(ledger.go):
        missing.append("Go's own numbers were not read")
    if not any(ledger.process):
        missing.append("RSS was not read")
    return [
        Notice(
            "verdict.thin-evidence",
            f"there is not enough evidence for a cause: {', '.join(missing) or 'see the suspects'}",
            "measure longer, under load",
        )
    ]
