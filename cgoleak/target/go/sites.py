"""Go's own heap profile, read from outside: bucket list of the runtime → bytes in use per Go stack.

The runtime samples one allocation per 512 KiB by default and adds it up per stack, for
``runtime.MemProfile`` to tell. The records lie in a list that is only ever extended at its head
(``mprof.go``, ``type bucket``; the same 48 bytes of head from 1.18 to 1.27), so that they can be
read while the process runs. What is read is what ``pprof`` shows: the state at the last completed
garbage collection.

If nothing in the program can call ``runtime.MemProfile``, the linker turns sampling off
(``disableMemoryProfiling``): then there is no profile, which is not the same as no memory.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.model.goprofile import GoProfile, GoUse
from cgoleak.model.ids import Address
from cgoleak.model.notice import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_RATE", "GoSite", "go_profile", "go_sites", "scaled"]

DEFAULT_RATE: Final = 512 << 10  # runtime.MemProfileRate

_HEAD: Final = struct.Struct("<6Q")  # next, allnext, typ, hash, size, nstk
_MEMORY_BUCKET: Final = 1  # memProfile
_MAX_DEPTH: Final = 1024  # GODEBUG=profstackdepth goes no further
_MAX_BUCKETS: Final = 200_000
_MAX_COUNT: Final = 1 << 48
_USER_END: Final = 1 << 47
_NOT_SAMPLED: Final = (
    "Go does not sample its heap, as the program does not import runtime/pprof or has set "
    "runtime.MemProfileRate to 0"
)


@dataclass(frozen=True, slots=True)
class GoSite:
    """One stack of the heap profile.

    Attributes:
        addresses: return addresses, leaf first; inlined frames have entries of their own, so that
            each stands for its innermost function only (``runtime.Callers``).
        objects: sampled objects in use.
        bytes: their size.
        estimated_bytes: the same scaled up for what sampling left out.
    """

    addresses: tuple[int, ...]
    objects: int
    bytes: int
    estimated_bytes: int


def go_sites(
    read: Callable[[int, int], bytes | None],
    mbuckets: int | None,
    *,
    rate: int = DEFAULT_RATE,
) -> tuple[GoSite, ...] | Notice:
    """Walk the list at ``runtime.mbuckets``, most bytes first, or say why there is no profile.

    ``mbuckets`` is the variable's address in the process.
    """
    first = read(mbuckets, 8) if mbuckets is not None else None
    if first is None or len(first) != 8:
        return _none("its variable runtime.mbuckets was not found")
    address = int.from_bytes(first, "little")
    if address == 0:
        return _none(_NOT_SAMPLED)
    sites = []
    seen: set[int] = set()
    while address:
        if address in seen or len(seen) >= _MAX_BUCKETS:
            return _none("its records go round in a circle")
        seen.add(address)
        found = _bucket(read, address)
        if found is None:
            return _none("its records could not be read")
        address, stack, size, objects = found
        if objects:
            used = objects * size
            sites.append(GoSite(stack, objects, used, scaled(used, size, rate)))
    return tuple(sorted(sites, key=lambda site: -site.estimated_bytes))


def go_profile(
    read: Callable[[int, int], bytes | None],
    mbuckets: int | None,
    rate: int | None,
    at_ns: int,
) -> GoProfile:
    """Read the profile as a capture stores it.

    ``rate`` is the address of ``runtime.MemProfileRate``, or None.
    """
    raw = read(rate, 8) if rate is not None else None
    known = int.from_bytes(raw, "little", signed=True) if raw and len(raw) == 8 else None
    if known is not None and not 0 <= known <= _MAX_COUNT:
        known = None
    if known == 0:
        # A few objects of the runtime's own start may have been sampled before it was turned off.
        return GoProfile(at_ns, known, missing=_NOT_SAMPLED)
    if known and mbuckets is not None and read(mbuckets, 8) == bytes(8):
        return GoProfile(at_ns, known)  # sampled, and nothing was met so far
    found = go_sites(read, mbuckets)
    if isinstance(found, Notice):
        return GoProfile(at_ns, known, missing=found.text.partition(": ")[2])
    uses = tuple(
        GoUse(tuple(map(Address, site.addresses)), site.bytes // site.objects, site.objects)
        for site in found
        if all(address < _USER_END for address in site.addresses)
    )
    return GoProfile(at_ns, known, uses)


def _none(reason: str) -> Notice:
    return Notice(
        code="go.no-heap-profile",
        text=f"Go's heap profile is left out: {reason}",
        fix="import net/http/pprof or runtime/pprof in the program",
    )


def _bucket(
    read: Callable[[int, int], bytes | None], address: int
) -> tuple[int, tuple[int, ...], int, int] | None:
    """Give next address, stack, object size and objects in use of one record, or None."""
    head = read(address, _HEAD.size)
    if head is None or len(head) != _HEAD.size:
        return None
    _, following, kind, _, size, depth = _HEAD.unpack(head)
    if kind != _MEMORY_BUCKET or depth > _MAX_DEPTH:
        return None
    # memRecord.active comes first: {allocs, frees, …}; its byte counts are gone in 1.27, and
    # allocs times size is the same in every release.
    length = 8 * depth + 16
    tail = read(address + _HEAD.size, length)
    if tail is None or len(tail) != length:
        return None
    *stack, allocs, frees = struct.unpack(f"<{depth + 2}Q", tail)
    objects = allocs - frees
    if not 0 <= objects <= allocs <= _MAX_COUNT or size > _MAX_COUNT:
        return None
    return following, tuple(stack), size, objects


def scaled(used: int, size: int, rate: int) -> int:
    """Undo the sampling as pprof does: a block of this size is met with 1 - exp(-size/rate)."""
    if rate <= 1 or size <= 0:
        return used
    return round(used / -math.expm1(-size / rate))
