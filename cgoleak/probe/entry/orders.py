"""What the injector is told; shared by the two processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgoleak.target.kernel.memory import Memory

__all__ = ["Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to inject, and where it is safe.

    Attributes:
        image: path of the shared object.
        start: address of an idle resident copy's start function, or 0 for a new copy.
        namespaced: its thread ids are others than those we see: it has a PID namespace of its own.
        held: the process is stopped already, at its entry point: no need to look for a place.
        risky: code of libc, the loader and whoever else provides malloc, as [start, end).
        risky_data: their writable memory.
        returns: addresses that a signal handler returns to.
        arch: as ``platform.machine()``.
        dead: code of the target that runs no more, as [start, end), for the way in that needs no
            loader (``borrow``); empty: Frida's way.
        dead_code: what its file has there, in hex.
        mark_at, mark: where the program that was surveyed has its mark, and that in hex; empty if
            it is not known.
    """

    pid: int
    image: str
    start: int
    namespaced: bool
    held: bool
    risky: list[tuple[int, int]]
    risky_data: list[tuple[int, int]]
    returns: list[int]
    arch: str
    dead: tuple[int, ...] = ()
    dead_code: str = ""
    mark_at: int = 0
    mark: str = ""

    def is_for(self, memory: Memory) -> bool:
        """Tell whether this is the memory of the program that was surveyed, by its mark."""
        mark = bytes.fromhex(self.mark)
        return bool(mark) and memory.read(self.mark_at, len(mark)) == mark
