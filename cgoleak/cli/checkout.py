"""Where the results of a check go: a folder with a file per format, and what a pipeline shows."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgoleak.errors import OutputError
from cgoleak.render.base import RENDERERS

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.cli.options import ReportOptions
    from cgoleak.cli.outputs import Outputs
    from cgoleak.model.report import Report

__all__ = ["announce", "in_folder"]

_FORMATS: Final = ("json", "sarif", "junit", "terminal")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def in_folder(outputs: Outputs, folder: Path, program: str) -> Outputs:
    """Add a file per format, named after the program; the folder is made.

    Raises:
        OutputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot make {folder}", cause=exc.strerror) from exc
    name = _UNSAFE.sub("-", program).strip("-.")[:150] or "program"
    more = [
        (folder / f"{name}{known.suffix}", known) for known in RENDERERS if known.name in _FORMATS
    ]
    return replace(outputs, reports=(*outputs.reports, *more))


def announce(report: Report, options: ReportOptions) -> ReportOptions:
    """Write the step summary where GitHub wants one, and say little when all is well."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.format == "github" and path:
        from cgoleak.render.stepsummary import step_summary  # noqa: PLC0415

        # A summary that cannot be written must not fail the build.
        with suppress(OSError), open(path, "ab") as file:  # noqa: PTH123
            file.write(step_summary(report, room=_room(path)))
    return options


def _room(path: str) -> int:
    """How much of the step's 1 MiB other programs, or other packages, have left."""
    with suppress(OSError):
        return (1 << 20) - os.stat(path).st_size  # noqa: PTH116
    return 1 << 20
