"""Stacks → sites: the identity of allocating code.

Two stacks are one site if the functions on them have the same names in the same order, leaving out
plumbing (its names carry a hash of the package), repetitions (a recursion of 20 or of 21 calls is
the same code, through however many functions), lines, addresses, and what a compiler appends to
names. A key made of that survives a rebuild, a line shift and an update of a library.

What it cannot know: a function that was renamed, or merged into another without debug information,
is another site.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap, Counter
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.frames import Language
from cgoleak.model.ids import SiteKey, StackId
from cgoleak.model.names import plain_function, plain_module
from cgoleak.model.ownership import allocating_frame, innermost_go, is_plumbing
from cgoleak.stacks.infrastructure import infrastructure_of
from cgoleak.stacks.join import DROPPED, join, leafward

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cgoleak.model.capture import Capture
    from cgoleak.model.frames import Frame
    from cgoleak.model.ids import Address
    from cgoleak.stacks.join import Joined

__all__ = [
    "Site",
    "find_sites",
    "group",
    "native_part",
    "only",
    "signature",
    "the_rest",
    "together",
]

_KEY_DIGITS: Final = 6
_KEY_DIGITS_TOGETHER: Final = 9
"""Others have an even number of digits."""

Signature = tuple[str, ...]


class Site(NamedTuple):
    """Allocating code.

    Attributes:
        key: a short hash of the signature.
        stack_ids: its stacks, lowest first; they differ in lines and depth of recursion.
        complete: whether all of them reach their outer end.
        stacks: frames by stack, leaf first, of these stacks and of others.
        callers: how many sites this one is made of, which differ in their Go part only.
    """

    key: SiteKey
    stack_ids: tuple[StackId, ...]
    complete: bool
    stacks: Mapping[StackId, tuple[Frame, ...]]
    callers: int = 1

    @property
    def variants(self) -> tuple[tuple[Frame, ...], ...]:
        """The frames of each stack."""
        return tuple(map(self.stacks.__getitem__, self.stack_ids))

    @property
    def infrastructure(self) -> str | None:
        """What allocates here if it is no user code, such as ``starting a thread``."""
        return infrastructure_of(self.leafward, complete=self.complete)

    @property
    def leafward(self) -> Iterable[Frame]:
        """The frames of the first stack, leaf first, for one who may need only the first few."""
        return leafward(self.stacks, self.stack_ids[0])

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames of the first stack, leaf first."""
        return self.stacks[self.stack_ids[0]]

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
    joined = join(capture)
    signatures = _signatures(capture, joined)
    incomplete = {stack for stack, raw in capture.stacks.items() if not raw.complete}
    stacks: Mapping[StackId, tuple[Frame, ...]] = joined
    undescribed = {
        stack
        for snapshot in capture.snapshots[-1:]
        for stack in snapshot.stacks
        if stack not in signatures
    }
    if undescribed:
        stacks = ChainMap(dict.fromkeys(undescribed, (DROPPED,)), joined)  # type: ignore[arg-type]
        signatures |= dict.fromkeys(undescribed, _text(signature((DROPPED,))))
    return _sites(signatures, stacks, incomplete | undescribed)


def group(
    stacks: Mapping[StackId, tuple[Frame, ...]], incomplete: set[StackId] | frozenset[StackId]
) -> tuple[Site, ...]:
    """Group stacks (leaf first) into sites; the order of ``stacks`` does not matter."""
    signatures = {one: _text(signature(frames)) for one, frames in stacks.items()}
    return _sites(signatures, stacks, incomplete)


def signature(frames: Sequence[Frame]) -> Signature:
    """Give the names that identify a stack, leaf first; plumbing only if there is nothing else."""
    own = tuple(filter(None, map(_own_part, frames)))
    return _without_repetitions(own or map(_part, frames))


def native_part(frames: Iterable[Frame]) -> Signature:
    """Give the names from the leaf to where Go called C; empty if there is no code in C there."""
    found: dict[str, None] = {}
    for frame in frames:
        if frame.lang is Language.GO:
            break
        if part := _own_part(frame):
            found[part] = None
    return tuple(found)


def together(sites: Sequence[Site]) -> Site:
    """Make one site of several with the same native part; its key is longer than that of others."""
    part = "\n".join(native_part(sites[0].frames))
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()
    return Site(
        SiteKey(digest[:_KEY_DIGITS_TOGETHER]),
        tuple(sorted(chain.from_iterable(site.stack_ids for site in sites))),
        all(site.complete for site in sites),
        sites[0].stacks,
        len(sites),
    )


def only(site: Site, stack_ids: Collection[StackId]) -> Site:
    """Give a site with some of its stacks; its key stays."""
    return site._replace(stack_ids=tuple(one for one in site.stack_ids if one in stack_ids))


def the_rest(site: Site, stack_ids: Collection[StackId]) -> Site:
    """Give what ``only`` leaves of a site; its key is longer than that of others."""
    digest = hashlib.sha256(f"{site.key} but some of its lines".encode()).hexdigest()
    others = tuple(one for one in site.stack_ids if one not in stack_ids)
    return site._replace(key=SiteKey(digest[:_KEY_DIGITS_TOGETHER]), stack_ids=others)


def _signatures(capture: Capture, joined: Joined) -> dict[StackId, str]:
    """Give the signature of each stack, a line per name; those at an address are found once."""
    names = _OwnParts(joined)
    found: dict[StackId, str] = {}
    for stack, raw in capture.stacks.items():
        own = list(filter(None, map(names.__getitem__, raw.addresses)))
        text = _text(own)
        # Several names at an address are told from one as there are more lines than addresses.
        if len(set(own)) < len(own) or text.count("\n") >= len(own) > 0:
            text = _text(dict.fromkeys(text.split("\n")))
        found[stack] = text or _text(signature(joined[stack]))
    return found


class _OwnParts(dict["Address", str]):
    """What the frames at an address add to a signature, a line per name; empty for plumbing."""

    def __init__(self, joined: Joined) -> None:
        super().__init__()
        self._joined = joined

    def __missing__(self, address: Address) -> str:
        parts = self[address] = _text(filter(None, map(_own_part, self._joined.at(address))))
        return parts


def _text(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _without_repetitions(parts: Iterable[str]) -> Signature:
    return tuple(dict.fromkeys(parts))


@lru_cache(maxsize=65536)
def _own_part(frame: Frame) -> str:
    return "" if is_plumbing(frame) else _part(frame)


def _part(frame: Frame) -> str:
    # Go names hold the package's path; the executable's own name may change.
    module = "" if frame.lang is Language.GO else plain_module(frame.module)
    return f"{module}!{plain_function(frame)}"


def _sites(
    signatures: Mapping[StackId, str],
    stacks: Mapping[StackId, tuple[Frame, ...]],
    incomplete: set[StackId] | frozenset[StackId],
) -> tuple[Site, ...]:
    members: dict[str, list[StackId]] = {}
    for stack, text in sorted(signatures.items()):
        members.setdefault(text, []).append(stack)
    keys = _keys(list(members))
    sites = [
        Site(key, tuple(ids), incomplete.isdisjoint(ids), stacks)
        for key, ids in zip(keys, members.values(), strict=True)
    ]
    return tuple(sorted(sites, key=itemgetter(0)))


def _keys(texts: Sequence[str]) -> list[SiteKey]:
    """Hash each text; those that collide get as many digits as tell them apart."""
    digests = [hashlib.sha256(one.encode("utf-8", "surrogatepass")).hexdigest() for one in texts]
    keys = [SiteKey(one[:_KEY_DIGITS]) for one in digests]
    digits = _KEY_DIGITS
    while len(taken := Counter(keys)) < len(keys):
        digits += 2
        keys = [
            key if taken[key] == 1 else SiteKey(one[:digits])
            for key, one in zip(keys, digests, strict=True)
        ]
    return keys
