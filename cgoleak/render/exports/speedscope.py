"""The sites as a file for speedscope.app: one profile of bytes and one of blocks.

Report → JSON by ``file-format-spec.ts`` of jlfwong/speedscope: shared frames, stacks root first, a
weight for each. The viewer refuses weights below zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import cgoleak
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.frames import Frame
    from cgoleak.model.report import Report

__all__ = ["SpeedscopeRenderer"]

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


@dataclass(frozen=True, slots=True)
class SpeedscopeRenderer:
    """Writes one file with both profiles."""

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the document."""
        frames: dict[Frame, int] = {}
        stacks = [
            [frames.setdefault(frame, len(frames)) for frame in reversed(finding.stack)]
            for finding in report.findings
        ]
        sizes = [max(0, finding.outstanding_bytes) for finding in report.findings]
        counts = [max(0, finding.outstanding_blocks) for finding in report.findings]
        name = visible(report.target.exe.rpartition("/")[2])
        document = {
            "$schema": _SCHEMA,
            "exporter": f"cgoleak@{cgoleak.__version__}",
            "name": f"{name} {report.target.pid}: C memory outstanding",
            "activeProfileIndex": 0,
            "shared": {"frames": [_frame(frame) for frame in frames]},
            "profiles": [
                _profile("outstanding bytes", "bytes", stacks, sizes),
                _profile("outstanding blocks", "none", stacks, counts),
            ],
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        out.write(text.encode() + b"\n")


def _frame(frame: Frame) -> dict[str, Any]:
    made: dict[str, Any] = {"name": visible(frame.function) or "?"}
    if frame.file:
        made["file"] = visible(frame.file)
        if frame.line is not None:
            made["line"] = frame.line
    return made


def _profile(
    name: str, unit: str, stacks: Sequence[Sequence[int]], weights: Sequence[int]
) -> dict[str, Any]:
    return {
        "type": "sampled",
        "name": name,
        "unit": unit,
        "startValue": 0,
        "endValue": sum(weights),
        "samples": stacks,
        "weights": weights,
    }
