"""Go's own heap profile, as it was read from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgoleak.model.frames import Frame
    from cgoleak.model.ids import Address

__all__ = ["GoProfile", "GoSiteGrowth", "GoUse"]


@dataclass(frozen=True, slots=True)
class GoUse:
    """Objects of one size from one stack: what was sampled there and is in use.

    Attributes:
        addresses: return addresses, leaf first; inlined frames have entries of their own, so that
            each stands for its innermost function only (``runtime.Callers``).
        size: of each of them, in bytes.
        objects: how many were sampled, not scaled up.
    """

    addresses: tuple[Address, ...]
    size: int
    objects: int


@dataclass(frozen=True, slots=True)
class GoProfile:
    """The profile at one instant: the state at the last completed garbage collection.

    Attributes:
        at_ns: since attach, like that of a snapshot.
        rate: one object is sampled per so many bytes; None if that could not be read.
        uses: empty if there is no profile.
        missing: why there is none, in words; None if there is.
    """

    at_ns: int
    rate: int | None = None
    uses: tuple[GoUse, ...] = ()
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class GoSiteGrowth:
    """A place in Go that allocates; field names are those of the JSON report.

    ``function`` is the innermost on ``stack`` (leaf first) that is not Go's own; bytes are scaled
    up for what sampling left out, as pprof does.
    """

    function: str
    file: str | None
    line: int | None
    in_use_bytes: int
    change_bytes: int
    stack: tuple[Frame, ...]
