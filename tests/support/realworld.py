"""The Go module of ``tests/realworld``: who runs its tests, and how its programs are built."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.go_programs import go_commands, missing_tools

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MARKS", "build_packages"]

MARKS: Final = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif("CGOLEAK_REALWORLD" not in os.environ, reason="run by: make realworld"),
]

_MODULE: Final = Path(__file__).parents[1] / "realworld"


def build_packages(folder: Path, pattern: str, settings: Mapping[str, str] | None = None) -> None:
    """Build a program of each package; their modules come from the Go proxy, and take minutes."""
    fixed = {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    subprocess.run(
        [str(go_commands()[0]), "build", "-buildvcs=false", "-o", f"{folder}/", pattern],
        cwd=_MODULE,
        env=os.environ | fixed | dict(settings or {}),
        check=True,
        timeout=1800,
    )
