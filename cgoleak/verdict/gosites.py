"""Where in Go the live heap grew: two readings of Go's own heap profile → places, most first; pure.

A stack's growth is put down to the innermost function on it that is not Go's own: nobody mends
``bytes.growSlice``. What Go knows of a profile is the state at the last completed collection, so
that there is growth to be seen only if one was completed in between.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Language
from cgoleak.model.golibrary import is_go_library
from cgoleak.model.notice import Notice
from cgoleak.model.report import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgoleak.model.capture import Capture
    from cgoleak.model.frames import Frame
    from cgoleak.model.goprofile import GoProfile, GoSiteGrowth
    from cgoleak.model.ids import Address

__all__ = ["go_site_notices", "grown_go_sites"]

_MOST: Final = 20
_Stack = tuple["Frame", ...]


def grown_go_sites(capture: Capture) -> tuple[GoSiteGrowth, ...]:
    """Give the places that grew from the first profile to the last, most growth first."""
    if len(capture.go_profiles) < 2:
        return ()
    from cgoleak.model.goprofile import GoSiteGrowth  # noqa: PLC0415 - not all captures need it

    first, last = (_by_stack(one, capture.frames) for one in _ends(capture))
    places: dict[tuple[str, str | None, int | None], list[tuple[int, int, _Stack]]]
    places = defaultdict(list)
    for stack in first.keys() | last.keys():
        own = _own(stack)
        if own is not None:
            now, before = last.get(stack, 0), first.get(stack, 0)
            places[own.function, own.file, own.line].append((now, now - before, stack))
    grown = []
    for (function, file, line), parts in places.items():
        change = sum(part[1] for part in parts)
        if change > 0:
            in_use = sum(part[0] for part in parts)
            stack = max(parts, key=lambda part: (part[1], repr(part[2])))[2]
            grown.append(GoSiteGrowth(function, file, line, in_use, change, stack))
    grown.sort(key=lambda one: (-one.change_bytes, one.function, one.file or "", one.line or 0))
    return tuple(grown[:_MOST])


def go_site_notices(capture: Capture, cause: Cause) -> tuple[Notice, ...]:
    """Say what is missing where the Go heap is to blame and its line would be wanted."""
    if cause is not Cause.GO_HEAP:
        return ()
    missing = next((one.missing for one in capture.go_profiles if one.missing), None)
    if missing is not None or len(capture.go_profiles) < 2:
        return (
            Notice(
                "go.no-heap-profile",
                f"which Go code holds the heap is not available: {missing}"
                if missing
                else "which Go code holds the heap is not available",
                "import net/http/pprof or runtime/pprof in the program",
            ),
        )
    if any(one.rate is None for one in _ends(capture)):
        return (
            Notice(
                "go.assumed-profile-rate",
                "how often Go samples its heap was not found in the executable; its default, one "
                "object per 512 KiB, is taken",
            ),
        )
    return ()


def _ends(capture: Capture) -> tuple[GoProfile, GoProfile]:
    return capture.go_profiles[0], capture.go_profiles[-1]


def _by_stack(
    profile: GoProfile, frames: Mapping[Address, tuple[Frame, ...]]
) -> Mapping[_Stack, int]:
    """Give the bytes in use per named stack, scaled up."""
    from cgoleak.target.go.sites import DEFAULT_RATE, scaled  # noqa: PLC0415 - few captures need it

    used: dict[_Stack, int] = defaultdict(int)
    rate = DEFAULT_RATE if profile.rate is None else profile.rate
    for use in profile.uses:
        # Inlined functions have addresses of their own: of each, only the innermost counts.
        stack = tuple(frames[at][0] for at in use.addresses if frames.get(at))
        used[stack] += scaled(use.objects * use.size, use.size, rate)
    return used


def _own(stack: _Stack) -> Frame | None:
    """Give the innermost frame of the program's own code, else of Go's library."""
    in_go = [frame for frame in stack if frame.lang is Language.GO]
    return next((frame for frame in in_go if not is_go_library(frame)), next(iter(in_go), None))
