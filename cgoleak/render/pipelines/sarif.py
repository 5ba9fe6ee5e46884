"""SARIF 2.1.0 (OASIS), for code scanning: GitHub, Azure DevOps, editors.

One result a site. Its place is the innermost Go line in the repository, the C lines are related
places, the whole stack is a code flow. Limits are GitHub's (docs.github.com, "SARIF results exceed
limit"): it takes 25,000 results and shows 5,000, and 1,000 steps of a flow; larger reports are cut
here, worst sites kept, rather than refused there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from cgoleak.model.catalog import VERDICTS
from cgoleak.model.report import Verdict
from cgoleak.render.pipelines.ci import body_lines, cut, headline, program_of, told
from cgoleak.render.pipelines.sources import SourceTree, main_frame, other_frames
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.frames import Frame
    from cgoleak.model.report import Report
    from cgoleak.render.pipelines.ci import Told

__all__ = ["SarifRenderer"]

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_MOST_RESULTS: Final = 5_000
_MOST_STEPS: Final = 200
_MOST_RELATED: Final = 50
_LONGEST: Final = 8_000
"""Characters of a message."""
_RULES: Final = (Verdict.NATIVE_LEAK, Verdict.SUSPECT)


@dataclass(frozen=True, slots=True)
class SarifRenderer:
    """Writes one run; ``tree`` is the repository that paths are relative to."""

    tree: SourceTree = field(default_factory=SourceTree)

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the document."""
        text = json.dumps(self._document(report), indent=2, ensure_ascii=False, allow_nan=False)
        out.write(text.encode("utf-8", "replace") + b"\n")

    def _document(self, report: Report) -> dict[str, Any]:
        return {
            "$schema": _SCHEMA,
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "cgoleak", "rules": [_rule(v) for v in _RULES]}},
                    "automationDetails": {"id": f"cgoleak/{cut(program_of(report), 200)}/"},
                    "columnKind": "utf16CodeUnits",
                    "results": [self._result(one) for one in told(report)[:_MOST_RESULTS]],
                }
            ],
        }

    def _result(self, one: Told) -> dict[str, Any]:
        stack = one.finding.stack
        main = main_frame(stack, self.tree)
        text = "\n".join([headline(one), *body_lines(one)])
        result: dict[str, Any] = {
            "ruleId": one.finding.verdict.value,
            "ruleIndex": _RULES.index(one.finding.verdict),
            "level": one.level,
            "message": {"text": cut(text, _LONGEST)},
            "partialFingerprints": {"cgoleakSite/v1": visible(one.finding.site)},
        }
        if main is not None:
            result["locations"] = [self._location(main)]
        related = other_frames(stack, self.tree, main)[:_MOST_RELATED]
        if related:
            result["relatedLocations"] = [
                self._location(frame) | {"id": number, "message": {"text": _name(frame)}}
                for number, frame in enumerate(related, start=1)
            ]
        steps = [self._location(frame) for frame in reversed(stack[:_MOST_STEPS])]
        if steps:
            # Outermost first: a flow is read in the order in which it happened.
            flow = {"threadFlows": [{"locations": [{"location": step} for step in steps]}]}
            result["codeFlows"] = [flow]
        if one.violation is not None and one.violation.baseline is not None:
            result["baselineState"] = {"new": "new"}.get(one.violation.baseline, "updated")
        elif one.known:
            result["baselineState"] = "unchanged"
        return result

    def _location(self, frame: Frame) -> dict[str, Any]:
        found: dict[str, Any] = {
            "logicalLocations": [{"fullyQualifiedName": _name(frame), "kind": "function"}],
            "message": {"text": _name(frame)},
        }
        path = self.tree.relative(frame.file)
        if path is not None:
            artifact = {"uri": quote(path.encode("utf-8", "replace")), "uriBaseId": "%SRCROOT%"}
            place: dict[str, Any] = {"artifactLocation": artifact}
            if frame.line:
                place["region"] = {"startLine": frame.line}
            found["physicalLocation"] = place
        return found


def _name(frame: Frame) -> str:
    return cut(visible(frame.function), 1_000) or "unknown"


def _rule(verdict: Verdict) -> dict[str, Any]:
    entry = VERDICTS[verdict]
    return {
        "id": verdict.value,
        "name": "".join(word.capitalize() for word in verdict.value.split("-")),
        "shortDescription": {"text": entry.meaning},
        "fullDescription": {"text": f"{entry.meaning} {entry.decided or ''}".strip()},
        "help": {"text": entry.action or entry.meaning},
        "defaultConfiguration": {"level": "error" if verdict is Verdict.NATIVE_LEAK else "warning"},
        "properties": {"tags": ["memory", "cgo"]},
    }
