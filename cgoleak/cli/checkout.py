"""Where the results of a check go: a folder with a file per format, and what a pipeline shows."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgoleak.errors import OutputError
from cgoleak.render.base import RENDERERS
from cgoleak.render.visible import visible

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.cli.options import ReportOptions
    from cgoleak.cli.outputs import Outputs
    from cgoleak.model.report import Report

__all__ = ["in_folder", "make_folder", "step_summary_for", "told_briefly"]

_FORMATS: Final = ("json", "sarif", "junit", "terminal")
_MAY_HIDE: Final = frozenset(
    {"closing.no-go-heap", "closing.not-looked", "probe.dropped-blocks", "probe.late-library"}
)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def make_folder(folder: Path) -> None:
    """Make the folder, before anything is measured.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot make {folder}", cause=exc.strerror) from exc


def in_folder(outputs: Outputs, folder: Path, program: str) -> Outputs:
    """Add a file per format, named after the program."""
    name = _UNSAFE.sub("-", program).strip("-.")[:150] or "program"
    more = [
        (folder / f"{name}{known.suffix}", known) for known in RENDERERS if known.name in _FORMATS
    ]
    return replace(outputs, reports=(*outputs.reports, *more))


def told_briefly(report: Report, options: ReportOptions) -> str | None:
    """Give what is printed where all is well: a line, and what may have hidden a leak.

    None where there is more to tell, or another format is asked for.
    """
    gate = report.gate
    if gate is None or options.format != "terminal":
        return None
    if gate.violations or gate.unused_suppressions or gate.stale_baseline:
        return None
    lines = [gate.summary]
    lines += [
        f"{one.text} ({one.fix})" if one.fix else one.text
        for one in report.notices
        if one.code in _MAY_HIDE
    ]
    return "".join(f"cgoleak: {visible(line)}\n" for line in lines)


def step_summary_for(report: Report, options: ReportOptions) -> None:
    """Write the step summary where GitHub wants one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.format == "github" and path:
        from cgoleak.render.pipelines.stepsummary import step_summary  # noqa: PLC0415

        # A summary that cannot be written must not fail the build.
        with suppress(OSError), open(path, "ab") as file:  # noqa: PTH123
            file.write(step_summary(report, room=_room(path)))


def _room(path: str) -> int:
    """How much of the step's 1 MiB other programs, or other packages, have left."""
    with suppress(OSError):
        return (1 << 20) - os.stat(path).st_size  # noqa: PTH116
    return 1 << 20
