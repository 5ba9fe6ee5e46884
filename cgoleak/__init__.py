"""cgoleak: names native leaks in live Go/cgo processes, with their C and Go stacks.

The line is in ``cgoleak.pipeline``: read that first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: what finds it takes a third of ``--help``."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib import metadata  # noqa: PLC0415

    return metadata.version("cgoleak")
