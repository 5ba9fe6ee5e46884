"""Finds the repository around a directory, for the formats that point into it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from cgoleak.render.pipelines.sources import SourceTree

__all__ = ["source_tree", "working_directory"]

_MODULE: Final = re.compile(r"^module[ \t]+\"?([^\s\"]+)", re.MULTILINE)
_LARGEST: Final = 1 << 20


def working_directory() -> Path:
    """Where we are; where we were if it has been removed, so that it is read no more."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(os.readlink("/proc/self/cwd").removesuffix(" (deleted)"))  # noqa: PTH115


def source_tree(start: Path) -> SourceTree:
    """Look upwards for ``.git`` and ``go.mod``; pipelines say where the repository is as well."""
    start = start.resolve()
    above = (start, *start.parents)
    root = next((folder for folder in above if (folder / ".git").exists()), None)
    module = next((folder for folder in above if (folder / "go.mod").is_file()), None)
    if root is None:
        named = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR")
        root = Path(named).resolve() if named and start.is_relative_to(named) else module or start
    modules: tuple[tuple[str, str], ...] = ()
    if module is not None and module.is_relative_to(root):
        with suppress(OSError, UnicodeDecodeError):
            found = _MODULE.search((module / "go.mod").read_text("utf-8")[:_LARGEST])
            if found is not None:
                modules = ((found[1], str(module.relative_to(root))),)
    return SourceTree(str(root), modules)
