"""A difference as JSON, by the contract ``cgoleak.diff/1``; ``diff.schema.json`` describes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from cgoleak.render.balances import balance_changes
from cgoleak.render.contract.document import plain

if TYPE_CHECKING:
    from cgoleak.model.difference import Difference, SiteChange
    from cgoleak.model.report import Finding, Report

__all__ = ["DIFF_SCHEMA", "DiffJsonRenderer", "diff_document", "diff_schema_text"]

DIFF_SCHEMA: Final = "cgoleak.diff/1"


@dataclass(frozen=True, slots=True)
class DiffJsonRenderer:
    """Writes UTF-8 with a newline at the end."""

    def render(self, difference: Difference, out: BinaryIO) -> None:
        """Write the document."""
        document = diff_document(difference)
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        out.write(text.encode() + b"\n")


def diff_document(difference: Difference) -> dict[str, Any]:
    """Return the difference as what ``json`` can write."""
    return {
        "schema": DIFF_SCHEMA,
        "summary": plain(difference.summary),
        "by_rate": difference.rates,
        "base": _side(difference.base),
        "new": _side(difference.new),
        "balance": [
            {
                "part": plain(line.part),
                "base_bytes": line.start_bytes,
                "new_bytes": line.now_bytes,
                "change_bytes": line.change_bytes,
            }
            for line in balance_changes(difference)
        ],
        "sites": [_site(one) for one in difference.sites],
    }


def diff_schema_text() -> str:
    """Return the JSON Schema of the document."""
    return files("cgoleak.render.contract").joinpath("diff.schema.json").read_text("utf-8")


def _side(report: Report) -> dict[str, Any]:
    return {
        "target": plain(report.target),
        "window": plain(report.window),
        "cause": report.cause.value,
        "summary": plain(report.summary),
    }


def _site(one: SiteChange) -> dict[str, Any]:
    return {
        "site": plain(one.site),
        "change": one.change.value,
        "change_bytes": one.change_bytes,
        "base": None if one.base is None else _numbers(one.base),
        "new": None if one.new is None else _numbers(one.new),
        "stack": plain(one.shown.stack),
        "advice": plain(one.shown.advice),
        "suppression": plain(one.shown.suppression),
    }


def _numbers(finding: Finding) -> dict[str, Any]:
    return {
        "verdict": finding.verdict.value,
        "outstanding_bytes": finding.outstanding_bytes,
        "outstanding_blocks": finding.outstanding_blocks,
        "growth_bytes_per_second": plain(finding.growth_bytes_per_second),
    }
