"""The sites as folded stacks, one a line: for flamegraph.pl, inferno and everything alike.

Report → ``root;…;leaf bytes``, sorted, so that two files can be compared line by line.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.frames import Frame
    from cgoleak.model.report import Report

__all__ = ["FoldedRenderer", "folded_name"]


@dataclass(frozen=True, slots=True)
class FoldedRenderer:
    """Writes every frame; sites without outstanding bytes have no line."""

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the lines."""
        sizes: defaultdict[str, int] = defaultdict(int)
        for finding in report.findings:
            names = [folded_name(frame) for frame in reversed(finding.stack)]
            sizes[";".join(names) or "unknown stack"] += max(0, finding.outstanding_bytes)
        lines = [f"{stack} {size}\n" for stack, size in sorted(sizes.items()) if size]
        out.write("".join(lines).encode("utf-8", "replace") or b"\n")


def folded_name(frame: Frame) -> str:
    """Name a frame without what parts frames; blanks may stay, the number follows the last."""
    return visible(frame.function).replace(";", ":") or "?"
