"""Stacks → sites: the identity of allocating code.

Two stacks are one site if the functions on them have the same names in the same order, leaving out
plumbing (its names carry a hash of the package), repetitions (a recursion of 20 or of 21 calls is
the same code), lines, addresses, and what a compiler appends to names. A key made of that survives
a rebuild, a line shift and an update of a library.

What it cannot know: a function that was renamed, or merged into another without debug information,
is another site.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from operator import eq
from typing import TYPE_CHECKING, Final

from cgoleak.model.frames import Language
from cgoleak.model.ids import SiteKey, StackId
from cgoleak.model.names import plain_function, plain_module
from cgoleak.model.ownership import allocating_frame, innermost_go, is_plumbing
from cgoleak.stacks.infrastructure import infrastructure_of
from cgoleak.stacks.join import DROPPED, join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgoleak.model.capture import Capture
    from cgoleak.model.frames import Frame

__all__ = ["Site", "find_sites", "group", "signature"]

_KEY_DIGITS: Final = 6

Signature = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """Allocating code.

    Attributes:
        key: a short hash of the signature.
        variants: per stack its frames, leaf first; they differ in lines and depth of recursion.
        complete: whether all stacks reach their outer end.
        infrastructure: what allocates here if it is no user code, such as ``starting a thread``.
    """

    key: SiteKey
    variants: Mapping[StackId, tuple[Frame, ...]]
    complete: bool = True
    infrastructure: str | None = None

    @property
    def stack_ids(self) -> tuple[StackId, ...]:
        """The stacks of the site, lowest first."""
        return tuple(sorted(self.variants))

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames of the first stack, leaf first."""
        return self.variants[min(self.variants)]

    @property
    def leaf(self) -> Frame | None:
        """The first frame of the user's code: the allocating function; None if there is none."""
        return allocating_frame(self.frames)

    @property
    def go(self) -> Frame | None:
        """The innermost Go function that is neither bridge nor runtime, or None."""
        return innermost_go(self.frames)


def find_sites(capture: Capture) -> tuple[Site, ...]:
    """Give the sites of a capture in order of their keys; every stack belongs to exactly one.

    Stacks that are counted but were never described (stack 0: dropped) are sites of their own.
    """
    stacks = join(capture)
    for snapshot in capture.snapshots[-1:]:
        for stack in snapshot.stacks:
            stacks.setdefault(stack, (DROPPED,))
    incomplete = {stack for stack, raw in capture.stacks.items() if not raw.complete}
    incomplete |= stacks.keys() - capture.stacks.keys()
    return group(stacks, incomplete)


def group(
    stacks: Mapping[StackId, tuple[Frame, ...]], incomplete: set[StackId] | frozenset[StackId]
) -> tuple[Site, ...]:
    """Group stacks (leaf first) into sites; the order of ``stacks`` does not matter."""
    members: dict[Signature, dict[StackId, tuple[Frame, ...]]] = defaultdict(dict)
    for stack in sorted(stacks):
        members[signature(stacks[stack])][stack] = stacks[stack]
    keys = _keys(list(members))
    sites = [
        _site(keys[found], variants, complete=incomplete.isdisjoint(variants))
        for found, variants in members.items()
    ]
    return tuple(sorted(sites, key=lambda site: site.key))


def signature(frames: Sequence[Frame]) -> Signature:
    """Give the names that identify a stack, leaf first; plumbing only if there is nothing else."""
    own = list(filter(None, map(_own_part, frames))) or list(map(_part, frames))
    if any(map(eq, own, islice(own, 1, None))):
        return tuple([part for part, _ in groupby(own)])
    return tuple(own)


@lru_cache(maxsize=65536)
def _own_part(frame: Frame) -> str:
    return "" if is_plumbing(frame) else _part(frame)


def _part(frame: Frame) -> str:
    # Go names hold the package's path; the executable's own name may change.
    module = "" if frame.lang is Language.GO else plain_module(frame.module)
    return f"{module}!{plain_function(frame)}"


def _site(key: SiteKey, variants: Mapping[StackId, tuple[Frame, ...]], *, complete: bool) -> Site:
    first = variants[min(variants)]
    return Site(
        key=key,
        variants=variants,
        complete=complete,
        infrastructure=infrastructure_of(first, complete=complete),
    )


def _keys(signatures: Sequence[Signature]) -> dict[Signature, SiteKey]:
    """Hash each signature; those that collide get as many digits as tell them apart."""
    digests = {
        one: hashlib.sha256("\n".join(one).encode("utf-8", "surrogatepass")).hexdigest()
        for one in signatures
    }
    keys: dict[Signature, SiteKey] = {}
    open_ones, digits = list(signatures), _KEY_DIGITS
    while open_ones:
        taken = Counter(digests[one][:digits] for one in open_ones)
        for one in open_ones:
            if taken[digests[one][:digits]] == 1:
                keys[one] = SiteKey(digests[one][:digits])
        open_ones = [one for one in open_ones if one not in keys]
        digits += 2
    return keys
