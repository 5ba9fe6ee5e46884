"""Report and limits → the decision of ``cgoleak check``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.model.gate import Gate, Level, Violation
from cgoleak.model.report import Verdict
from cgoleak.units import format_bytes, format_count, format_rate, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cgoleak.model.ids import SiteKey
    from cgoleak.model.report import Finding, HandleFinding, Report
    from cgoleak.verdict.baseline import Baseline, Known
    from cgoleak.verdict.limits import Limits
    from cgoleak.verdict.suppress import Suppression

__all__ = ["decide", "guarded"]

_GUARDED: Final = (Verdict.NATIVE_LEAK, Verdict.SUSPECT)


def guarded(report: Report) -> tuple[Finding, ...]:
    """Give the findings that a policy speaks of; handles are counted as blocks are."""
    findings = (*report.findings, *(one.as_finding() for one in report.handles))
    return tuple(one for one in findings if one.verdict in _GUARDED)


def decide(
    report: Report,
    limits: Limits,
    *,
    program: str,
    policy: str | None = None,
    baseline: Baseline | None = None,
    suppressions: Sequence[Suppression] = (),
) -> Gate:
    """Hold the findings against the limits and the baseline."""
    known = baseline.of(program) if baseline is not None else {}
    violations: list[Violation] = []
    kinds = {one.site: one.family for one in report.handles}
    tolerated = []
    for one in guarded(report):
        reasons = _over(one, limits)
        then = known.get(one.site)
        grown = _grown(one, then, limits) if then is not None else None
        if reasons is None or (then is not None and grown is None):
            tolerated.append(one.site)
            continue
        compared = None
        if baseline is not None:
            compared = "new" if then is None else "grown"
        violations.append(
            Violation(
                site=one.site,
                level=_level(one, limits),
                text="; ".join([_words(one, limits, kinds), *reasons, *([grown] if grown else [])]),
                baseline=compared,
                bytes_per_iteration=(
                    one.outstanding_bytes / limits.per
                    if limits.per and one.site not in kinds
                    else None
                ),
            )
        )
    seen = {one.site for one in report.findings} | set(kinds)
    errors = sum(one.level is Level.ERROR for one in violations)
    return Gate(
        passed=not errors,
        program=program,
        policy=policy,
        summary=_summary(program, errors, len(violations) - errors, len(tolerated)),
        violations=tuple(violations),
        iterations=limits.per,
        tolerated=tuple(tolerated),
        unused_suppressions=_unused(suppressions, (*report.findings, *report.handles)),
        stale_baseline=tuple(sorted(known.keys() - seen)),
        compared=baseline is not None,
    )


def _level(finding: Finding, limits: Limits) -> Level:
    if finding.verdict is Verdict.SUSPECT and limits.suspect == "warn":
        return Level.WARNING
    return Level.ERROR


def _over(finding: Finding, limits: Limits) -> list[str] | None:
    """Say which limits a site is over; None if limits are set and it keeps to all of them."""
    size, blocks = finding.outstanding_bytes, finding.outstanding_blocks
    found = []
    if limits.max_bytes is not None and size > limits.max_bytes:
        found.append(f"allowed are {format_bytes(limits.max_bytes)}")
    if limits.max_blocks is not None and blocks > limits.max_blocks:
        found.append(f"allowed are {plural(limits.max_blocks, 'block')}")
    if limits.max_growth is not None and finding.growth_bytes_per_second > limits.max_growth:
        grows = format_rate(finding.growth_bytes_per_second)
        found.append(f"grows by {grows}, allowed are {format_rate(limits.max_growth)}")
    times = limits.per
    if times:
        allowed = limits.max_bytes_per_iteration
        if allowed is not None and size > allowed * times:
            found.append(f"allowed are {format_bytes(allowed)} per iteration")
        allowed = limits.max_blocks_per_iteration
        if allowed is not None and blocks > allowed * times:
            found.append(f"allowed are {allowed:g} blocks per iteration")
    if not found and limits.has_limits:
        return None
    return found


def _grown(finding: Finding, then: Known, limits: Limits) -> str | None:
    """Say by how much a known site has grown beyond the tolerance, or None."""
    now_per, then_per = limits.per, then.per
    comparable = now_per and then_per
    scale = now_per / then_per if now_per and then_per else 1.0
    room = 1 + limits.tolerance
    size, blocks = then.outstanding_bytes * scale, then.outstanding_blocks * scale
    if finding.outstanding_bytes <= size * room and finding.outstanding_blocks <= blocks * room:
        return None
    words = f"{format_bytes(size)} in {format_count(round(blocks))}"
    return f"the baseline has {words}{' at this many iterations' if comparable else ''}"


def _words(finding: Finding, limits: Limits, kinds: Mapping[SiteKey, str]) -> str:
    if finding.site in kinds:
        count = format_count(finding.outstanding_blocks)
        return f"{finding.verdict.value}: {count} {kinds[finding.site]} not given up"
    text = (
        f"{finding.verdict.value}: {format_bytes(finding.outstanding_bytes)} in "
        f"{plural(finding.outstanding_blocks, 'block')} outstanding"
    )
    if limits.per:
        each = format_bytes(finding.outstanding_bytes / limits.per)
        text += f", {each} per iteration"
    return text


def _summary(program: str, errors: int, warnings: int, tolerated: int) -> str:
    parts = []
    if errors:
        parts.append(f"{plural(errors, 'site')} over policy")
    if warnings:
        parts.append(f"{plural(warnings, 'suspect site')}")
    if tolerated:
        parts.append(f"{plural(tolerated, 'site')} tolerated")
    state = "over policy" if errors else "within policy"
    return f"{program}: {state}" + (f" ({', '.join(parts)})" if parts else ", no leak found")


def _unused(
    suppressions: Iterable[Suppression], findings: Sequence[Finding | HandleFinding]
) -> tuple[str, ...]:
    return tuple(
        str(one)
        for one in suppressions
        if not any(one.matches(finding.stack) for finding in findings)
    )
