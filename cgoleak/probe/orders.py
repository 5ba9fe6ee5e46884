"""What the injector is told; shared by the two processes."""

from __future__ import annotations

from dataclasses import dataclass

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
