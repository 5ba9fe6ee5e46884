"""The lines of the balance sheet in plain words, for readers who do not know the terms."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OUTSIDE_HEAPS", "PLAIN_WORDS"]

PLAIN_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Go heap in use": "alive, or garbage not collected yet",
        "Go heap held back": "free; Go hands it back later",
        "Go heap released": "handed back, not taken by the kernel",
        "Go stacks and metadata": "goroutines, and the runtime's own",
        "native outstanding": "C memory since attach, not freed",
        "malloc's headers": "malloc's own bytes beside blocks",
        "native from before": "C memory from before the attach",
        "native in use": "C memory that is not free",
        "native, not split": "C memory, in use or free",
        "allocator slack": "freed by C, kept by malloc",
        "thread stacks": "stacks of threads",
        "files and code": "programs and libraries",
        "other files, shared": "mapped files and shared memory",
        "cgoleak's own": "the probe and its tables",
        "unexplained": "RSS less the lines above",
    }
)
"""Line of the sheet → what it is."""

OUTSIDE_HEAPS: Final = (
    "other files, shared",
    "thread stacks",
    "Go stacks and metadata",
    "files and code",
)
"""Lines that are in neither heap and say where they come from."""
