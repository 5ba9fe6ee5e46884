"""The report as metrics, for a Prometheus that reads text files.

Report → OpenMetrics 1.0 text, of the part that Prometheus's older format knows too: gauges and
counters only, so that node_exporter's textfile collector takes it. Sites beyond the top ones are
one series, since each label set is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from cgoleak.model.report import Cause
from cgoleak.render.stacklines import site_words
from cgoleak.render.visible import shorten_middle, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.model.report import Finding, Report

__all__ = ["OpenMetricsRenderer"]

_OTHERS = "others"
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class OpenMetricsRenderer:
    """Writes UTF-8 with ``# EOF`` at its end.

    Attributes:
        top: how many sites have series of their own.
    """

    top: int = 10

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write all families."""
        lines = [line for family in _families(report, self.top) for line in family.lines()]
        out.write("\n".join([*lines, "# EOF", ""]).encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric: samples are label pairs and a value."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[dict[str, str], float], ...]

    def lines(self) -> Iterator[str]:
        if not self.samples:
            return
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        suffix = "_total" if self.kind == "counter" else ""
        for labels, value in self.samples:
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield (
                f"{self.name}{suffix}{{{inside}}} {_number(value)}"
                if inside
                else (f"{self.name}{suffix} {_number(value)}")
            )


def _families(report: Report, top: int) -> Iterator[_Family]:
    target, cost = report.target, report.cost
    process = {
        "exe": target.exe.rpartition("/")[2],
        "pid": str(target.pid),
        "go_version": target.go_version or "unknown",
    }
    yield _gauge("cgoleak_target", "The process that was measured.", [(process, 1)])
    causes = [({"cause": one.value}, int(one is report.cause)) for one in Cause]
    yield _gauge("cgoleak_cause", "What made RSS what it is; one of these is 1.", causes)
    window = report.window
    yield _gauge("cgoleak_window_seconds", "How long was measured.", [({}, window.seconds)])
    if window.started_unix_seconds is not None:
        began = window.started_unix_seconds
        text = "When measuring began."
        yield _gauge("cgoleak_started_timestamp_seconds", text, [({}, began)])
    parts = [({"part": one.part}, one.now_bytes) for one in report.balance]
    yield _gauge("cgoleak_balance_bytes", "What RSS consists of at the end.", parts)
    yield from _sites(report.findings, top)
    counters = (
        ("cgoleak_events", "Allocations and frees seen.", cost.events),
        ("cgoleak_dropped", "Blocks and stacks that found no room.", cost.dropped),
        ("cgoleak_unmatched_frees", "Frees of blocks from before attach.", cost.unmatched_frees),
    )
    for name, text, value in counters:
        yield _Family(name, "counter", text, (({}, max(0, value)),))


def _sites(findings: tuple[Finding, ...], top: int) -> Iterator[_Family]:
    """Give each top site its series, and the sum of all others one, so that all is the whole."""
    shown, rest = findings[:top], findings[top:]
    fields = (
        ("cgoleak_outstanding_bytes", "Allocated since attach and not freed.", "outstanding_bytes"),
        ("cgoleak_outstanding_blocks", "The same as blocks.", "outstanding_blocks"),
        ("cgoleak_growth_bytes_per_second", "Growth over the window.", "growth_bytes_per_second"),
    )
    for name, text, field in fields:
        samples = [(_labels(one), getattr(one, field)) for one in shown]
        if rest:
            others = {"site": _OTHERS, "verdict": _OTHERS, "name": f"{len(rest)} more"}
            samples.append((others, sum(getattr(one, field) for one in rest)))
        yield _gauge(name, text, samples)


def _labels(finding: Finding) -> dict[str, str]:
    return {
        "site": finding.site,
        "verdict": finding.verdict.value,
        "name": shorten_middle(site_words(finding.stack), _LONGEST),
    }


def _gauge(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> _Family:
    return _Family(name, "gauge", text, tuple(samples))


def _escaped(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("+Inf" if value > 0 else "-Inf")
