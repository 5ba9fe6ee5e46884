"""The file between recording and judging: an SQLite database that outlives its writer."""

from __future__ import annotations

from cgoleak.capture.reader import open_capture
from cgoleak.capture.writer import CaptureWriter

__all__ = ["CaptureWriter", "open_capture"]
