"""A capture → per stack its frames, leaf first; an address without a name is named by number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final, final

from cgoleak.model.frames import Frame, Language

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cgoleak.model.capture import Capture, Module
    from cgoleak.model.ids import Address, StackId

__all__ = ["DROPPED", "GAP", "Joined", "join", "leafward"]

GAP: Final = Frame(lang=Language.UNKNOWN, function="[frames missing here]")
"""Stands for the address 0: unwinding failed and what follows was found another way."""

DROPPED: Final = Frame(lang=Language.UNKNOWN, function="[stack not recorded]")
"""The only frame of stack 0: blocks whose stack found no room in the probe's table."""


def join(capture: Capture) -> Joined:
    """Give the frames of every stack of the capture, inlined ones as frames of their own."""
    return Joined(capture)


def leafward(stacks: Mapping[StackId, tuple[Frame, ...]], stack: StackId) -> Iterable[Frame]:
    """Give the frames of a stack, leaf first, to one who may need only the first of them."""
    return stacks.walk(stack) if isinstance(stacks, Joined) else stacks[stack]


@final
class Joined(Mapping["StackId", tuple[Frame, ...]]):
    """Frames by stack, leaf first, put together when they are asked for.

    What tells sites apart is told by address: of ten thousand stacks few are ever looked at.
    """

    __slots__ = ("_joined", "_names", "_stacks")

    def __init__(self, capture: Capture) -> None:
        self._stacks = capture.stacks
        self._names = _Names(capture)
        self._joined: dict[StackId, tuple[Frame, ...]] = {}

    def __getitem__(self, stack: StackId) -> tuple[Frame, ...]:
        found = self._joined.get(stack)
        if found is None:
            found = self._joined[stack] = tuple(self.walk(stack))
        return found

    def __iter__(self) -> Iterator[StackId]:
        return iter(self._stacks)

    def __len__(self) -> int:
        return len(self._stacks)

    def walk(self, stack: StackId) -> Iterator[Frame]:
        """Go through the frames of a stack, leaf first, without keeping them."""
        places = map(self._names.__getitem__, self._stacks[stack].addresses)
        return chain.from_iterable(places)

    def at(self, address: Address) -> tuple[Frame, ...]:
        """Give the frames at one address."""
        return self._names[address]


class _Names(dict["Address", tuple[Frame, ...]]):
    """Frames by address; an address that was not met before is looked up."""

    def __init__(self, capture: Capture) -> None:
        super().__init__()
        self._known = capture.frames
        self._modules = sorted(capture.modules, key=lambda module: module.start)
        self._starts = [module.start for module in self._modules]

    def __missing__(self, address: Address) -> tuple[Frame, ...]:
        found = self._known.get(address) or (_nameless(address, self._modules, self._starts),)
        self[address] = found
        return found


def _nameless(address: Address, modules: Sequence[Module], starts: Sequence[Address]) -> Frame:
    if not address:
        return GAP
    place = bisect_right(starts, address) - 1
    if place >= 0 and address < modules[place].end:
        module = modules[place]
        base = module.path.rpartition("/")[2]
        return Frame(
            lang=Language.UNKNOWN, function=f"{base}+{address - module.bias:#x}", module=base
        )
    return Frame(lang=Language.UNKNOWN, function=f"{address:#x}")
