"""The findings as the page shows them, every name made visible."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.frames import Language
from cgoleak.render.estimates import range_of
from cgoleak.render.growth import growth_shown
from cgoleak.render.html.sourcelines import excerpts_of
from cgoleak.render.html.timechart import sparkline
from cgoleak.render.stacklines import GUTTER, site_names, stack_lines
from cgoleak.render.visible import shorten_middle, visible
from cgoleak.units import format_bytes, format_count, format_rate, format_seconds, is_growth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cgoleak.model.frames import Frame
    from cgoleak.model.report import Finding, HandleFinding
    from cgoleak.model.words import Words
    from cgoleak.render.html.sourcelines import Excerpt

__all__ = [
    "LANGUAGE_CLASSES",
    "HandleView",
    "Line",
    "SiteView",
    "growth_text",
    "handle_view_of",
    "name_of",
    "view_of",
]

LANGUAGE_CLASSES: Final = {
    Language.C: "c",
    Language.CPP: "cpp",
    Language.GO: "go",
    Language.BRIDGE: "bridge",
    Language.RUNTIME: "runtime",
    Language.UNKNOWN: "unknown",
}
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a stack: class and letter of the language, its name, and its place."""

    lang: str
    letter: str
    language: str
    text: str
    place: str


@dataclass(frozen=True, slots=True)
class SiteView:
    """One finding, in words; ``range`` is where an estimated size truly lies, or empty."""

    key: str
    verdict: str
    label: str
    name: str
    size: str
    range: str
    blocks: str
    growth: str
    oldest: str
    spark: str
    lines: tuple[Line, ...]
    evidence: tuple[str, ...]
    advice: str
    suppression: str
    source: tuple[Excerpt, ...] = ()


@dataclass(frozen=True, slots=True)
class HandleView:
    """A place where handles are made, in words."""

    key: str
    verdict: str
    label: str
    family: str
    name: str
    count: str
    growth: str
    oldest: str
    lines: tuple[Line, ...]
    evidence: tuple[str, ...]
    advice: str
    suppression: str


def handle_view_of(
    finding: HandleFinding, words: Words, *, full_stacks: bool = False
) -> HandleView:
    """Put it into words."""
    rate = finding.growth_per_second
    return HandleView(
        key=visible(finding.site),
        verdict=finding.verdict.value,
        label=words(VERDICTS[finding.verdict].label),
        family=visible(finding.family),
        name=_named(finding.stack),
        count=format_count(finding.outstanding),
        growth=f"{rate:.3g}/s" if is_growth(rate) else words("flat"),
        oldest=_age(finding.oldest_seconds),
        lines=_lines(finding.stack, words, full=full_stacks),
        evidence=tuple(visible(words(one)) for one in finding.evidence),
        advice=visible(words(finding.advice)),
        suppression=visible(finding.suppression),
    )


def _lines(stack: Sequence[Frame], words: Words, *, full: bool) -> tuple[Line, ...]:
    return tuple(
        Line(LANGUAGE_CLASSES[one.lang], GUTTER[one.lang], one.lang.value, one.text, one.place)
        for one in stack_lines(stack, full=full, words=words)
    )


def view_of(
    finding: Finding, words: Words, *, full_stacks: bool = False, source: Path | None = None
) -> SiteView:
    """Put a finding into words."""
    return SiteView(
        key=visible(finding.site),
        verdict=finding.verdict.value,
        label=words(VERDICTS[finding.verdict].label),
        name=name_of(finding),
        size=format_bytes(finding.outstanding_bytes),
        range=range_of(finding, words),
        blocks=format_count(finding.outstanding_blocks),
        growth=growth_text(growth_shown(finding), words),
        oldest=_age(finding.oldest_seconds),
        spark=sparkline(finding.history_bytes),
        lines=_lines(finding.stack, words, full=full_stacks),
        evidence=tuple(visible(words(one)) for one in finding.evidence),
        advice=visible(words(finding.advice)),
        suppression=visible(finding.suppression),
        source=() if source is None else excerpts_of(finding.stack, source),
    )


def name_of(finding: Finding) -> str:
    """Name a site in one line that is not too long for a page."""
    return _named(finding.stack)


def _named(stack: Sequence[Frame]) -> str:
    """Leave the path of the Go package to the stack, which is searched as well."""
    return shorten_middle(" ← ".join(site_names(stack)), _LONGEST_NAME)


def growth_text(rate: float, words: Words) -> str:
    """Give the rate, if there is one."""
    if not math.isfinite(rate):
        return "-"
    return format_rate(rate) if is_growth(rate) else words("flat")


def _age(seconds: float) -> str:
    return format_seconds(seconds) if math.isfinite(seconds) else "-"
