"""What changed between two reports; field names are those of ``cgoleak.diff/1``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgoleak.model.ids import SiteKey
    from cgoleak.model.report import Finding, Report

__all__ = ["Change", "Difference", "SiteChange"]


class Change(StrEnum):
    """What became of a site, in the order of reports."""

    GAINED = "gained"
    GROWN = "grown"
    SHRUNK = "shrunk"
    GONE = "gone"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class SiteChange:
    """One site in both reports; one of them may lack it, never both."""

    site: SiteKey
    change: Change
    base: Finding | None
    new: Finding | None

    @property
    def shown(self) -> Finding:
        """The newer of the two."""
        finding = self.new or self.base
        assert finding is not None
        return finding

    @property
    def base_bytes(self) -> int:
        """Outstanding before; 0 if it was not there."""
        return self.base.outstanding_bytes if self.base else 0

    @property
    def new_bytes(self) -> int:
        """Outstanding now; 0 if it is gone."""
        return self.new.outstanding_bytes if self.new else 0

    @property
    def change_bytes(self) -> int:
        """By how much it grew."""
        return self.new_bytes - self.base_bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """Two reports and what became of each site, worst first.

    Attributes:
        summary: one sentence.
        rates: the windows are of different length, so that sites were compared by what they gained
            in a second rather than by what is outstanding.
    """

    base: Report
    new: Report
    summary: str
    rates: bool
    sites: tuple[SiteChange, ...]
