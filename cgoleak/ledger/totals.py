"""A small value with plus and minus: sites are sums of stacks, intervals are differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cgoleak.capture.history import CountRow

__all__ = ["Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Blocks and bytes born and freed; over an interval, or since attach."""

    born_blocks: int = 0
    born_bytes: int = 0
    freed_blocks: int = 0
    freed_bytes: int = 0
    cleaned_blocks: int = 0
    lifetime_ns_sum: int = 0

    @classmethod
    def of(cls, counts: CountRow) -> Self:
        """Take the additive part of a stack's counts."""
        return cls(
            counts.born_blocks,
            counts.born_bytes,
            counts.freed_blocks,
            counts.freed_bytes,
            counts.cleaned_blocks,
            counts.lifetime_ns_sum,
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.born_blocks + other.born_blocks,
            self.born_bytes + other.born_bytes,
            self.freed_blocks + other.freed_blocks,
            self.freed_bytes + other.freed_bytes,
            self.cleaned_blocks + other.cleaned_blocks,
            self.lifetime_ns_sum + other.lifetime_ns_sum,
        )

    def __sub__(self, other: Totals) -> Totals:
        return Totals(
            self.born_blocks - other.born_blocks,
            self.born_bytes - other.born_bytes,
            self.freed_blocks - other.freed_blocks,
            self.freed_bytes - other.freed_bytes,
            self.cleaned_blocks - other.cleaned_blocks,
            self.lifetime_ns_sum - other.lifetime_ns_sum,
        )

    @property
    def outstanding_blocks(self) -> int:
        """Born less freed."""
        return self.born_blocks - self.freed_blocks

    @property
    def outstanding_bytes(self) -> int:
        """Born less freed."""
        return self.born_bytes - self.freed_bytes
