"""The report as JSON, by the contract ``cgoleak.report/1``.

Field names are those of the model, which took them from the contract; ``report.schema.json`` in
this package describes them. Fields may be added within major version 1, never renamed or removed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.model.frames import Frame

if TYPE_CHECKING:
    from cgoleak.model.report import Report

__all__ = ["SCHEMA", "JsonRenderer", "plain", "report_document", "schema_text"]

SCHEMA: Final = "cgoleak.report/1"

_ORDER: Final = (
    "target",
    "window",
    "cause",
    "summary",
    "balance",
    "go_return",
    "restarts",
    "findings",
    "cost",
    "notices",
)
"""The reading order of the contract; fields added later follow."""

_COLUMN: Final = re.compile(r"\[\n\s+((?:-?[\d.e+-]+|null)(?:,\n\s+(?:-?[\d.e+-]+|null))*)\n\s+\]")
"""A list of numbers. It cannot occur in a string, where a line break is written as an escape."""


@dataclass(frozen=True, slots=True)
class JsonRenderer:
    """Writes UTF-8 with a newline at the end, indented, because people read it too."""

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write the document."""
        text = json.dumps(report_document(report), indent=2, ensure_ascii=False, allow_nan=False)
        out.write(_COLUMN.sub(_on_one_line, text).encode() + b"\n")


def report_document(report: Report) -> dict[str, object]:
    """Return the report as what ``json`` can write."""
    names = [field.name for field in fields(report)]
    ordered = [*_ORDER, *(name for name in names if name not in _ORDER)]
    return {"schema": SCHEMA} | {name: plain(getattr(report, name)) for name in ordered}


def schema_text() -> str:
    """Return the JSON Schema of the document."""
    return files("cgoleak.render.contract").joinpath("report.schema.json").read_text("utf-8")


def _on_one_line(column: re.Match[str]) -> str:
    """Columns of a time line are read across, not down."""
    return f"[{', '.join(column[1].replace(',', ' ').split())}]"


def plain(value: object) -> object:
    """Turn values of the model into JSON's; numbers that are not finite become null."""
    match value:
        case StrEnum():
            return value.value
        case str():
            # Paths that are not UTF-8 come with surrogates, which JSON readers refuse.
            return value.encode("utf-8", "replace").decode("utf-8")
        case float():
            return value if math.isfinite(value) else None
        case Frame():
            return {name: plain(part) for name, part in value._asdict().items()}
        case tuple():
            return [plain(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value
