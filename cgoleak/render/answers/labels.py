"""What stands before the sentence: the cause, and the leak beside it if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.catalog import CAUSES
from cgoleak.model.report import Cause, Verdict

if TYPE_CHECKING:
    from cgoleak.model.report import Report
    from cgoleak.model.words import Words

__all__ = ["cause_label", "causes_told", "is_leaking"]


def cause_label(report: Report, words: Words) -> str:
    """Name the causes by what they are called."""
    return " + ".join(words(CAUSES[cause].label) for cause in causes_told(report))


def causes_told(report: Report) -> tuple[Cause, ...]:
    """Give the cause; a leak that is not the cause comes first: it is what has to be mended."""
    if report.cause is Cause.NATIVE_LEAK or not is_leaking(report):
        return (report.cause,)
    return (Cause.NATIVE_LEAK, report.cause)


def is_leaking(report: Report) -> bool:
    """Tell if any site leaks; the worst come first."""
    return any(one.verdict is Verdict.NATIVE_LEAK for one in report.findings[:1])
