"""What a report can be made from: a capture, or a JSON report of an earlier run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak import pipeline
from cgoleak.capture.reader import open_capture
from cgoleak.cli.garbage import uncollected
from cgoleak.errors import CaptureError

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.model.report import Report
    from cgoleak.verdict.policy import Policy

__all__ = ["open_report"]

_LARGEST: Final = 1 << 30


def open_report(path: Path, policy: Policy | None = None) -> Report:
    """Read a file, whatever its name is; a capture is judged anew, by ``policy``.

    Raises:
        CaptureError: it is neither, damaged, or of a newer version.
    """
    if not _is_json(path):
        with uncollected():
            return pipeline.analyse(open_capture(path), policy)
    from cgoleak.render.contract.reading import read_report  # noqa: PLC0415 - captures do not need it

    try:
        if path.stat().st_size > _LARGEST:
            raise CaptureError(f"{path} is too large for a report")
        return read_report(path.read_bytes(), str(path))
    except OSError as error:
        raise CaptureError(f"cannot read {path}", cause=error.strerror) from error


def _is_json(path: Path) -> bool:
    """Tell by the first character; a capture begins with ``SQLite format 3``."""
    try:
        if not path.is_file():
            return False  # a pipe can be read only once, and a capture cannot be read from one
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False  # opening it as a capture tells what is wrong
