"""The step summary of GitHub Actions: Markdown, at most 1 MiB for all of a step.

Names come from files that anybody may have written, and Markdown takes HTML: every foreign text is
escaped for HTML and stands in ``<code>`` or ``<pre>``, where Markdown reads nothing.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from cgoleak.render.pipelines.ci import body_lines, cut, program_of, told
from cgoleak.render.stacklines import site_words
from cgoleak.render.visible import visible
from cgoleak.units import format_bytes, format_count

if TYPE_CHECKING:
    from cgoleak.model.report import Report
    from cgoleak.render.pipelines.ci import Told

__all__ = ["step_summary"]

_LONGEST_NAME: Final = 300
_LONGEST_BODY: Final = 8_000
_MARGIN: Final = 4_096


def step_summary(report: Report, *, room: int = 1 << 20) -> bytes:
    """Write the summary; what does not fit into ``room`` bytes is counted instead."""
    found = told(report)
    summary = visible(report.gate.summary if report.gate else report.summary)
    state = "✅" if not any(one.level == "error" for one in found) else "❌"
    text = f"### {state} cgoleak: {_code(program_of(report))}\n\n{_plain(summary)}\n\n"
    if found:
        text += "| | verdict | outstanding | blocks | site |\n|---|---|---:|---:|---|\n"
    parts = [text.encode("utf-8", "replace")]
    size = len(parts[0])
    for rows in (map(_row, found), map(_details, found)):
        for number, row in enumerate(rows):
            raw = row.encode("utf-8", "replace")
            if size + len(raw) + _MARGIN > room:
                parts.append(f"\n{len(found) - number} more do not fit here.\n".encode())
                break
            parts.append(raw)
            size += len(raw)
        else:
            parts.append(b"\n")
            continue
        break
    whole = b"".join(parts)
    return whole if len(whole) <= max(0, room) else b""


def _row(one: Told) -> str:
    mark = {"error": "❌", "warning": "⚠️", "note": "·"}[one.level]
    finding = one.finding
    return (
        f"| {mark} | {finding.verdict.value} | {format_bytes(finding.outstanding_bytes)} | "
        f"{format_count(finding.outstanding_blocks)} | {_code(site_words(finding.stack))} |\n"
    )


def _details(one: Told) -> str:
    body = cut("\n".join(body_lines(one)), _LONGEST_BODY)
    return (
        f"<details><summary>site {_plain(visible(one.finding.site))}</summary>\n\n"
        f"<pre>{_plain(body)}</pre>\n</details>\n\n"
    )


def _code(text: str) -> str:
    return f"<code>{_plain(cut(text, _LONGEST_NAME))}</code>"


def _plain(text: str) -> str:
    """Escape HTML, and what Markdown would still read within a line of a table."""
    safe = escape(text, quote=True)
    for sign in "|`*_[]\\~":
        safe = safe.replace(sign, f"&#{ord(sign)};")
    return safe
