"""A sealed capture → the report. Pure: it reads no file and asks no process."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from cgoleak.ledger import Ledger
from cgoleak.model.notice import Notice
from cgoleak.model.report import Cause, Report, ReportCost, ReportWindow, Verdict
from cgoleak.model.snapshot import ProbeCounters
from cgoleak.stacks import find_sites
from cgoleak.units import format_percent, format_seconds, plural
from cgoleak.verdict.balance import balance_notices, balance_of
from cgoleak.verdict.cause import conclude
from cgoleak.verdict.gosites import go_site_notices, grown_go_sites
from cgoleak.verdict.handback import go_return_of
from cgoleak.verdict.handles import handle_findings, handle_sentence, without_handles
from cgoleak.verdict.judge import judge
from cgoleak.verdict.policy import Policy
from cgoleak.verdict.restarts import by_process, conclude_restarts, restarts_of
from cgoleak.verdict.sampling import sampling_notices
from cgoleak.verdict.timeline import history_places, timeline_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cgoleak.model.capture import Capture, Module
    from cgoleak.model.report import Finding
    from cgoleak.model.snapshot import Snapshot

__all__ = ["analyse", "report_of"]


def analyse(capture: Capture, policy: Policy | None = None) -> Report:
    """Judge a capture.

    Raises:
        DamagedCapture: its snapshots are out of order.
    """
    policy = policy or Policy()
    memory = without_handles(capture)
    if capture.processes:
        report = _report_of_watch(memory, policy)
    else:
        report = report_of(memory, Ledger(memory.snapshots), policy)
    notices = _of_handles(capture)
    if not capture.families and not notices:
        return report
    handles = handle_findings(capture, _hooked(capture), policy) if capture.families else ()
    return replace(
        report,
        handles=handles,
        families=capture.families,
        summary=report.summary + handle_sentence(handles),
        notices=(*report.notices, *notices),
    )


def _hooked(capture: Capture) -> tuple[Snapshot, ...]:
    """Give the snapshots with stacks, counted from when the hooks went in."""
    if not capture.processes:
        return capture.snapshots
    span = capture.hooked
    return tuple(
        replace(one, at_ns=one.at_ns - span.since_ns)
        for one in capture.snapshots
        if span is not None and span.since_ns <= one.at_ns <= span.until_ns
    )


def report_of(
    capture: Capture, ledger: Ledger, policy: Policy, *, hooked: Ledger | None = None
) -> Report:
    """Judge what was counted; ``hooked`` is the part with stacks, where that is not all of it."""
    measured = ledger if hooked is None else hooked
    findings = _judged(capture, measured, policy) if measured.times_ns else ()
    processes = by_process(capture)
    balance = balance_of(ledger)
    cause, summary, _ = conclude(ledger, findings, balance)
    counters = measured.counters[-1] if measured.counters else None
    return Report.later(
        # To find them all frames of all findings are looked at, and few formats tell of them.
        lambda _: {"modules": _modules_of(capture, findings)},
        target=capture.target,
        window=ReportWindow(
            seconds=capture.window.seconds,
            snapshots=len(ledger.times_ns),
            gc_cycles=_gc_cycles(processes) if capture.processes else ledger.gc_cycles,
            mode=capture.window.mode,
            started_unix_seconds=capture.window.started_unix_ns / 1e9,
            ended=capture.window.ended,
            sample_bytes=capture.sampling[-1].rate if capture.sampling else None,
            sampled_since_seconds=(
                capture.sampling[0].since_ns / 1e9 if capture.sampling else None
            ),
            go_owners_change=None if capture.processes else ledger.owners,
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
            cpu_share=capture.cost.cpu_share,
        ),
        notices=(
            *capture.notices,
            *sampling_notices(capture),
            *_lost(counters),
            *balance_notices(ledger),
            *_thin(cause, ledger, findings, policy),
            *go_site_notices(capture, cause),
        ),
        go_return=go_return_of(capture.target, processes[-1], capture.window.started_unix_ns),
        go_sites=grown_go_sites(capture),
        timeline=timeline_of(ledger, hooked, capture.hooked.since_ns if capture.hooked else 0),
        history_seconds=_history_seconds(measured) if findings else (),
        restarts=(),
        gate=None,
        handles=(),
        families=(),
    )


def _report_of_watch(capture: Capture, policy: Policy) -> Report:
    """Judge a watch: the sheet over all of it, sites from the part that was measured with hooks.

    That part is judged for itself, since its stacks count from its own beginning. Restarts come
    before all other causes: what the process before did is gone with it.
    """
    outside = [replace(one, stacks={}, counters=ProbeCounters()) for one in capture.snapshots]
    inside = _hooked(capture)
    report = report_of(capture, Ledger(outside), policy, hooked=Ledger(inside))
    restarts = restarts_of(capture)
    restarted = conclude_restarts(capture, restarts)
    if restarted is None:
        return replace(report, restarts=restarts)
    leaks = [one for one in report.findings if one.verdict is Verdict.NATIVE_LEAK]
    sites = plural(len(leaks), "site")
    also = f" {sites} in the code lost C memory while hooks were in." if leaks else ""
    return replace(
        report,
        restarts=restarts,
        cause=restarted.cause,
        summary=restarted.summary + also,
        notices=tuple(one for one in report.notices if one.code != "verdict.thin-evidence"),
    )


def _history_seconds(ledger: Ledger) -> tuple[float, ...]:
    """Give the instants of the findings' history, since the hooks went in."""
    times = (0, *ledger.times_ns)
    return tuple(round(times[place] / 1e9, 3) for place in history_places(len(times)))


def _modules_of(capture: Capture, findings: Sequence[Finding]) -> tuple[Module, ...]:
    """Give the ELF files that the findings' frames lie in, by address."""
    frames = chain.from_iterable(finding.stack for finding in findings)
    used = set(map(attrgetter("module"), frames))
    return tuple(one for one in capture.modules if one.path.rpartition("/")[2] in used)


def _judged(capture: Capture, ledger: Ledger, policy: Policy) -> tuple[Finding, ...]:
    return judge(
        ledger,
        find_sites(capture),
        policy,
        holdings=capture.holdings,
        mappings=capture.mappings,
        sample_bytes=capture.sampling[-1].rate if capture.sampling else 0,
    )


def _gc_cycles(parts: Iterable[Sequence[Snapshot]]) -> int | None:
    """Count the collections in all processes of the window; None if no two readings know."""
    counted = None
    for part in parts:
        known = [one.go.gc_cycles for one in part if one.go is not None]
        if len(known) > 1:
            counted = (counted or 0) + max(0, known[-1] - known[0])
    return counted


def _of_handles(capture: Capture) -> list[Notice]:
    """Say what the numbers of handles lack."""
    dropped = sum(one.dropped for one in capture.families)
    notices: list[Notice] = []
    if dropped:
        notices.append(
            Notice(
                "pairs.dropped",
                f"{plural(dropped, 'handle')} found no room in the probe's table; the numbers of"
                " their kinds are too low by as much",
                "measure a shorter time, or name fewer kinds",
            )
        )
    if capture.families and capture.sampling:
        notices.append(
            Notice(
                "pairs.sampled",
                "while blocks are sampled it is not seen that a library frees a handle's memory"
                " itself: handles that it did give up may still be counted",
                "follow every block with --exact",
            )
        )
    return notices


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


def _thin(
    cause: Cause, ledger: Ledger, findings: Sequence[Finding], policy: Policy
) -> list[Notice]:
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
    if not missing:
        suspects = any(one.verdict is Verdict.SUSPECT for one in findings)
        missing.append("see the suspects" if suspects else "no site grew to the end")
    return [
        Notice(
            "verdict.thin-evidence",
            f"there is not enough evidence for a cause: {', '.join(missing)}",
            "measure longer, under load",
        )
    ]
