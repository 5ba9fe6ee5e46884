"""What the page says of the measurement itself.

The run, what it cost, what the numbers can and cannot say, and what the words mean.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import cgoleak
from cgoleak.model.catalog import CAUSES, NOTICES, VERDICTS
from cgoleak.model.holding import AT_ITS_END
from cgoleak.model.report import Verdict
from cgoleak.render.estimates import is_estimated, sampling_facts
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_count, format_percent, format_seconds

if TYPE_CHECKING:
    from cgoleak.model.report import Report
    from cgoleak.model.words import Words

__all__ = ["cost_of", "known_from", "method_of", "notices_in", "run_of"]

_NOT_REACHABILITY: Final = (
    "Growth, age and who frees are measured, not reachability: C memory accumulates at these "
    "sites. Whether something still points to it is known only of a command that was held at its "
    "end (cgoleak check -- CMD); its sites say so then."
)
_AT_ITS_END: Final = (
    "Growth, age and who frees are measured. The command was held at its end, and its memory was "
    "searched for pointers to the outstanding blocks: sites say what was found. Pointers that are "
    "hidden (xor, offsets, files) are not seen."
)


def notices_in(report: Report, words: Words) -> list[tuple[str, str, str, str]]:
    """Give code, text, fix, and what the code means in general."""
    return [
        (
            visible(one.code),
            visible(words(one.text)),
            visible(words(one.fix)) if one.fix else "",
            words(NOTICES[one.code].meaning) if one.code in NOTICES else "",
        )
        for one in report.notices
    ]


def run_of(report: Report, words: Words) -> list[tuple[str, str]]:
    """Give the facts of the run. Neither environment nor arguments are among them."""
    target, window = report.target, report.window
    began = ""
    if window.started_unix_seconds is not None:
        began = f"{datetime.fromtimestamp(window.started_unix_seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    unknown = words("unknown")
    rows = [
        (words("program"), visible(target.exe)),
        ("pid", str(target.pid)),
        ("Go", visible(target.go_version or unknown)),
        (words("C library"), visible(target.libc or unknown)),
        (words("C allocator"), visible(target.allocator or unknown)),
        (words("machine"), f"linux/{visible(target.arch)}"),
        (words("symbols"), words("stripped") if target.stripped else words("not stripped")),
        (words("begun"), began),
        (words("measured for"), format_seconds(window.seconds)),
        (words("ended"), words(window.ended or "")),
        (words("mode"), " · ".join(sampling_facts(window, words)) or words(window.mode)),
        (words("snapshots"), format_count(window.snapshots)),
        (words("sites"), format_count(len(report.findings))),
        ("cgoleak", cgoleak.__version__),
    ]
    return [(name, value) for name, value in rows if value]


def cost_of(report: Report, words: Words) -> list[tuple[str, str]]:
    """Give what measuring cost the process, and what it lost."""
    cost = report.cost
    if report.window.mode == "watch" and not cost.target_bytes:
        return [(words("put into the process"), words("nothing: watched from outside"))]
    rows = [
        (words("stood still for"), format_seconds(cost.pause_seconds)),
        (words("memory in the process"), format_bytes(cost.target_bytes)),
        (words("allocations and frees seen"), format_count(cost.events)),
        (
            words("lost"),
            words("nothing") if not cost.dropped else words.count(cost.dropped, "record"),
        ),
        (words("frees of older blocks"), format_count(cost.unmatched_frees)),
    ]
    if cost.ns_per_event is not None:
        rows.append((words("time added to each"), f"{cost.ns_per_event:.0f} ns"))
    if cost.cpu_share is not None:
        rows.append((words("share of its CPU time"), format_percent(cost.cpu_share)))
    return rows


def known_from(report: Report, words: Words) -> list[str]:
    """Say what this measurement can know: of reachability, of sites, and of their numbers."""
    if report.window.mode == "watch" and not report.findings:
        return [
            words(
                "Watched from outside: what RSS consists of is read from the kernel and from Go; "
                "allocations were not followed, so that nothing is said of sites."
            )
        ]
    said = [words(_AT_ITS_END if _looked_at_the_end(report) else _NOT_REACHABILITY)]
    said.append(words("Memory from before the attach is not assigned to sites."))
    if is_estimated(report):
        said.append(
            words(
                "Numbers of sites are estimates from a sample: what is true lies in the range "
                "beside them with a confidence of 95 %."
            )
        )
    return said


def _looked_at_the_end(report: Report) -> bool:
    return any(line.startswith(AT_ITS_END) for one in report.findings for line in one.evidence)


def method_of(report: Report, words: Words) -> list[tuple[str, str, str]]:
    """Explain the words that this report uses: label, meaning, how it is decided."""
    entries = [CAUSES[report.cause]]
    entries += [VERDICTS[one] for one in Verdict if any(f.verdict is one for f in report.findings)]
    seen = {entry.label: entry for entry in entries}
    return [
        (words(entry.label), words(entry.meaning), words(entry.decided or ""))
        for entry in seen.values()
    ]
