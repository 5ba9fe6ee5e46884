"""Whose memory is resident: every byte of RSS goes to one owner.

Rows of smaps and what is known of address ranges in, sums per owner out. A mapping that belongs to
one owner counts with its ``Rss``. The kernel joins neighbours of equal rights into one mapping, so
that a mapping may have several owners: then resident pages are counted range by range
(``/proc/PID/pagemap``), and the sum stays the mapping's ``Rss``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cgoleak.target.go.regions import GO_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cgoleak.target.kernel.smaps import Mapping

    Present = Callable[[int, int], int | None]

__all__ = ["Claim", "Owner", "Residence", "classify"]

_OWN: Final = "/memfd:cgoleak-"
_GLIBC_NAME: Final = "[anon: glibc: malloc"
_KERNEL_NAMES: Final = ("[vdso]", "[vvar", "[vsyscall]", "[uprobes]")


class Owner(Enum):
    """Who a resident byte belongs to; the names are those of ``NativeMemory``."""

    GO_HEAP = "go_heap"
    GO_METADATA = "go_metadata"
    HEAP = "heap"
    ANONYMOUS = "anonymous"
    STACKS = "stacks"
    FILES = "files"
    SHARED = "shared"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Claim:
    """A range of addresses and its owner."""

    start: int
    end: int
    owner: Owner


@dataclass(frozen=True, slots=True)
class Residence:
    """Bytes per owner; the sum is RSS. ``go_lazy_free`` and ``go_huge_pages`` are of arenas."""

    bytes: dict[Owner, int]
    go_lazy_free: int
    go_huge_pages: int

    @property
    def total(self) -> int:
        """RSS."""
        return sum(self.bytes.values())


def classify(
    mappings: Sequence[Mapping],
    claims: Iterable[Claim],
    present: Present,
    *,
    programs: Sequence[tuple[int, int]],
    go_pointers: Sequence[int] = (),
    go_metadata: int | None = None,
) -> Residence:
    """Divide RSS.

    Args:
        mappings: ascending, of one pass.
        claims: ranges with a known owner; where two overlap, the one that begins later gives way.
        present: gives how many bytes of a range are in RAM, or None.
        programs: start and end of each program and library.
        go_pointers: addresses, ascending, in mappings of Go's runtime.
        go_metadata: what the runtime says that it has, bytes: what is resident in its mappings
            beyond that is not its own.
    """
    ranges = _disjoint(claims)
    starts = [claim.start for claim in ranges]
    found = dict.fromkeys(Owner, 0)
    lazy = huge = 0
    for mapping in mappings:
        if not mapping.rss:
            continue
        owner = _owner(mapping, programs)
        if owner is not Owner.ANONYMOUS:
            found[owner] += mapping.rss
            continue
        rest = _rest(mapping, go_pointers)
        parts = _shares(mapping, _within(mapping, ranges, starts), rest, present)
        for one, size in parts:
            found[one] += size
        if any(one is Owner.GO_HEAP for one, _ in parts):
            lazy += mapping.lazy_free
            huge += mapping.huge_pages
    over = 0 if go_metadata is None else max(0, found[Owner.GO_METADATA] - go_metadata)
    found[Owner.GO_METADATA] -= over
    found[Owner.ANONYMOUS] += over
    go_heap = found[Owner.GO_HEAP]
    return Residence(found, min(lazy, go_heap), min(huge, go_heap))


def _owner(mapping: Mapping, programs: Sequence[tuple[int, int]]) -> Owner:
    """Tell by the mapping itself; ANONYMOUS where the address decides."""
    region = mapping.region
    path = region.path
    if path.startswith(_OWN):
        return Owner.OWN
    if path.startswith("[stack") and path.endswith("]"):
        return Owner.STACKS
    if path.startswith(_KERNEL_NAMES):
        return Owner.FILES
    if region.is_file and any(start <= region.start < end for start, end in programs):
        return Owner.FILES
    if region.inode or region.perms[3:4] == "s":
        return Owner.SHARED
    return Owner.ANONYMOUS


def _rest(mapping: Mapping, go_pointers: Sequence[int]) -> Owner:
    """Tell who has what nobody claims of an anonymous mapping."""
    region = mapping.region
    if region.path == "[heap]" or region.path.startswith(_GLIBC_NAME):
        return Owner.HEAP
    if region.path.startswith(GO_NAME):
        return Owner.GO_METADATA
    place = bisect_left(go_pointers, region.start)
    if place < len(go_pointers) and go_pointers[place] < region.end:
        return Owner.GO_METADATA
    return Owner.ANONYMOUS


def _disjoint(claims: Iterable[Claim]) -> list[Claim]:
    """Sort ranges; where two overlap, the later one gives way."""
    found: list[Claim] = []
    for claim in sorted(claims, key=lambda claim: claim.start):
        start = max(claim.start, found[-1].end) if found else claim.start
        if start < claim.end:
            found.append(Claim(start, claim.end, claim.owner))
    return found


def _within(mapping: Mapping, ranges: Sequence[Claim], starts: Sequence[int]) -> list[Claim]:
    """Give the claims on a mapping, cut to it."""
    low, high = mapping.region.start, mapping.region.end
    place = max(0, bisect_right(starts, low) - 1)
    found = []
    while place < len(ranges) and ranges[place].start < high:
        claim = ranges[place]
        if claim.end > low:
            found.append(Claim(max(low, claim.start), min(high, claim.end), claim.owner))
        place += 1
    return found


def _shares(
    mapping: Mapping, claims: Sequence[Claim], rest: Owner, present: Present
) -> list[tuple[Owner, int]]:
    """Divide the Rss of one mapping between those who claim parts of it and the rest."""
    whole = mapping.region.end - mapping.region.start
    claimed = sum(claim.end - claim.start for claim in claims)
    owners = {claim.owner for claim in claims}
    if claimed < whole:
        owners.add(rest)
    if len(owners) == 1:
        return [(owners.pop(), mapping.rss)]
    parts: list[tuple[Owner, int]] = []
    left = mapping.rss
    for claim in claims:
        size = claim.end - claim.start
        here = present(claim.start, claim.end)
        # Without pagemap: as much as fits, in proportion.
        here = mapping.rss * size // whole if here is None else here
        here = min(here, left)
        left -= here
        parts.append((claim.owner, here))
    parts.append((rest if claimed < whole else claims[-1].owner, left))
    return parts
