"""Sums a capture per counter of the sample: what the probe saw beside what the worker counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from support.findings import is_called

if TYPE_CHECKING:
    from collections.abc import Collection

    from cgoleak.model.capture import Capture
    from cgoleak.model.ids import StackId

__all__ = ["MORE_CALLS", "seen_by_counter"]

MORE_CALLS: Final = {"meta_caption", "meta_first_line"}
"""libc allocates more than once for them (``exact_calls`` in scenarios.toml)."""


def seen_by_counter(capture: Capture, counters: Collection[str]) -> dict[str, dict[str, int]]:
    """Give, per counter, the last snapshot's numbers under the names of ``GET /counters``.

    A block belongs to the function nearest to malloc that has a counter (``counters.h``), which is
    also how the worker counts; what has none is no block of the worker's own code.
    """
    seen: dict[str, dict[str, int]] = {}
    for stack, counts in capture.snapshots[-1].stacks.items():
        counter = _counter_of(capture, stack, counters)
        if counter is None:
            continue
        total = seen.setdefault(
            counter,
            dict.fromkeys(("allocs", "alloc_bytes", "frees", "free_bytes", "blocks", "bytes"), 0),
        )
        total["allocs"] += counts.born_blocks
        total["alloc_bytes"] += counts.born_bytes
        total["frees"] += counts.freed_blocks
        total["free_bytes"] += counts.freed_bytes
        total["blocks"] += counts.outstanding_blocks
        total["bytes"] += counts.outstanding_bytes
    return seen


def _counter_of(capture: Capture, stack: StackId, counters: Collection[str]) -> str | None:
    for address in capture.stacks[stack].addresses:
        for frame in capture.frames.get(address, ()):
            name = "C.CString" if is_called(frame.function, "_Cfunc__Cmalloc") else None
            name = name or frame.function.partition("(")[0]
            if name in counters:
                return name
    return None
