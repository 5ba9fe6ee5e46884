"""Who owns blocks in Go, and who still knew those of a command when it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["AT_ITS_END", "OWNED_BLOCKS", "Holding"]

AT_ITS_END: Final = "when the command ended, "
"""How evidence begins that rests on this; a report knows by it that somebody looked."""

OWNED_BLOCKS: Final = 10
"""Of one site, that a Go object with a finalizer may own where nobody looked: a connection has the
columns of its tables."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Outstanding blocks of one stack at the end, by who holds a pointer to them.

    Attributes:
        lost_blocks: nothing in the process points to them: no code can free them any more.
        lost_bytes: their bytes.
        owned_blocks: a Go object with a finalizer or cleanup points to them.
        known_blocks: a variable, a stack, another block or a live Go object does.
    """

    lost_blocks: int = 0
    lost_bytes: int = 0
    owned_blocks: int = 0
    known_blocks: int = 0
