"""Mounts from which nothing may be run (``noexec``, mount(8)): path → yes or no."""

from __future__ import annotations

import os

__all__ = ["is_noexec"]


def is_noexec(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file lies on such a mount: neither programs nor libraries load from there."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False
