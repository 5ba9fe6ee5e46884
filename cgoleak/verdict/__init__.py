"""Series → findings and the report: what is said of each site, why, and what to do."""

from __future__ import annotations

from cgoleak.verdict.judge import judge
from cgoleak.verdict.policy import Policy
from cgoleak.verdict.report import analyse
from cgoleak.verdict.suppress import Suppression, parse_suppressions

__all__ = ["Policy", "Suppression", "analyse", "judge", "parse_suppressions"]
