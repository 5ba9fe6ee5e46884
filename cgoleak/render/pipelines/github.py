"""Annotations of GitHub Actions: workflow commands on standard output, one a line.

A step shows ten errors, ten warnings and ten notices (actions/toolkit, ``problem-matchers.md``):
nine sites of each kind are told, and a tenth line says how many more there are. The rest is in the
step summary (``stepsummary``) and in the SARIF file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.render.pipelines.ci import body_lines, cut, headline, program_of, told
from cgoleak.render.pipelines.sources import SourceTree, main_frame
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from cgoleak.model.report import Report
    from cgoleak.render.pipelines.ci import Told

__all__ = ["GithubRenderer"]

_MOST: Final = 9
"""Of each kind; the tenth is the line that says how many more."""
_COMMANDS: Final = {"error": "error", "warning": "warning"}
_LONGEST: Final = 4_000


@dataclass(frozen=True, slots=True)
class GithubRenderer:
    """Writes the commands; ``tree`` is the repository that paths are relative to."""

    tree: SourceTree = field(default_factory=SourceTree)

    def render(self, report: Report, out: BinaryIO) -> None:
        """Write them, errors first, and one line for people."""
        found = [one for one in told(report) if one.level in _COMMANDS]
        lines = []
        for level in _COMMANDS:
            some = [one for one in found if one.level == level]
            lines += [self._annotation(one) for one in some[:_MOST]]
            if len(some) > _MOST:
                title = _property(f"cgoleak {program_of(report)}")
                more = f"{len(some) - _MOST} more sites: see the step summary"
                lines.append(f"::{level} title={title}::{_data(more)}")
        summary = report.gate.summary if report.gate else report.summary
        # A line that began with :: would be taken for a command.
        lines.append(f"cgoleak: {visible(summary)}")
        out.write("\n".join(lines).encode("utf-8", "replace") + b"\n")

    def _annotation(self, one: Told) -> str:
        properties = {}
        main = main_frame(one.finding.stack, self.tree)
        path = self.tree.relative(main.file) if main else None
        if main is not None and path is not None:
            properties["file"] = visible(path)
            if main.line:
                properties["line"] = str(main.line)
        properties["title"] = f"cgoleak {one.finding.verdict.value}"
        text = cut("\n".join([headline(one), *body_lines(one)]), _LONGEST)
        words = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
        return f"::{_COMMANDS[one.level]} {words}::{_data(text)}"


def _data(text: str) -> str:
    """Escape as the runner undoes it (actions/runner, ``ActionCommand.cs``); ``%`` goes first."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
