"""cgoleak: names native leaks in live Go/cgo processes, with their C and Go stacks.

The line is in ``cgoleak.pipeline``: read that first.
"""

from __future__ import annotations

from importlib import metadata

__all__ = ["__version__"]

__version__ = metadata.version("cgoleak")
