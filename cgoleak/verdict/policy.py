"""How much evidence a verdict needs. None of these numbers was fitted to a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgoleak.errors import PolicyError

if TYPE_CHECKING:
    from cgoleak.verdict.suppress import Suppression

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds; each says what it guards against.

    Attributes:
        min_age_seconds: a site whose oldest block is younger only has blocks in flight.
        min_seconds: in a shorter window growth is at most suspect.
        min_blocks: fewer blocks that stay are at most suspect: three may be three connections.
        min_suspect_blocks: fewer are not worth a line: one or two are what is made once.
        slowing: growth in the last third, compared with the two before, below which it is slowing,
            and may be a cache that fills.
        levelled: the same, below which it is taken to have levelled off.
        cleaned_share: of the blocks that nobody freed explicitly, the share that Go's finalizers
            or cleanups freed from which on the site is taken to be owned by Go objects.
        gc_cycles: cycles after which a dead Go object must have given up its C memory: one finds
            the object dead and queues its finalizer, which runs before the next ends.
        big_bytes: growth in bytes by fewer than ``min_blocks`` blocks that is worth a line.
        suppressions: sites that the user knows about.
    """

    min_age_seconds: float = 5.0
    min_seconds: float = 10.0
    min_blocks: int = 10
    min_suspect_blocks: int = 3
    slowing: float = 0.4
    levelled: float = 0.15
    cleaned_share: float = 0.1
    gc_cycles: int = 2
    big_bytes: int = 1 << 20
    suppressions: tuple[Suppression, ...] = ()

    def __post_init__(self) -> None:
        for name in ("min_age_seconds", "min_seconds", "min_blocks", "gc_cycles", "big_bytes"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise PolicyError(
                    f"{name} must not be negative", fix="leave it out for the default"
                )
        for name in ("slowing", "levelled", "cleaned_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise PolicyError(f"{name} is a share from 0 to 1")
