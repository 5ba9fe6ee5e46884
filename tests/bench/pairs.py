"""Nanoseconds per pair: a load alone and under cgoleak, exact and sampled, in turns."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require
from tests.bench.loads import running

if TYPE_CHECKING:
    from tests.bench.loads import Load

__all__ = ["PEER_S", "Pairs", "cgoleak_pairs", "plain_pairs"]

_BEST_S: Final = 3.2
"""Two whole seconds, and what of a second was under way."""
PEER_S: Final = 2.2
"""One whole second: of others, whose cost is no matter of single nanoseconds."""
_SAMPLE_BYTES: Final = 512 << 10


@dataclass(frozen=True, slots=True)
class Pairs:
    """One row; ``frames`` is what the tool's stack held, C and Go, where that is known."""

    tool: str
    load: str
    plain_ns: float = 0.0
    with_ns: float = 0.0
    frames: int = 0
    skipped: str = ""

    @property
    def added_ns(self) -> float:
        """What the tool adds to each pair."""
        return self.with_ns - self.plain_ns

    @property
    def times(self) -> float:
        """How many times as long a pair takes."""
        return self.with_ns / self.plain_ns if self.plain_ns else 0.0

    def as_json(self) -> dict[str, Any]:
        """Give the row with what follows from it."""
        return {**asdict(self), "added_ns": self.added_ns, "times": self.times}


def cgoleak_pairs(load: Load, turns: int) -> list[Pairs]:
    """Attach and detach in turns to one running program: exact, then sampled."""
    plain: list[float] = []
    ways: dict[str, int | None] = {"cgoleak, exact": None, "cgoleak, sampled": _SAMPLE_BYTES}
    measured: dict[str, list[float]] = {way: [] for way in ways}
    frames = 0
    with running(load) as program:
        for _ in range(turns):
            plain.append(program.best(_BEST_S))
            for way, sample_bytes in ways.items():
                with (
                    Injector() as injector,
                    contextlib.closing(ProbeSession(require(program.pid))) as session,
                ):
                    session.attach(injector, sample_bytes=sample_bytes)
                    measured[way].append(program.best(_BEST_S))
                    frames = frames or _frames(session)
                    session.detach()
    return [
        Pairs(way, load.name, min(plain), min(found), frames) for way, found in measured.items()
    ]


def plain_pairs(load: Load, turns: int) -> Pairs:
    """Measure nothing against nothing: how far two numbers can be apart here."""
    with running(load) as program:
        first = min(program.best(_BEST_S) for _ in range(turns))
        second = min(program.best(_BEST_S) for _ in range(turns))
    return Pairs("nothing (noise)", load.name, first, second)


def _frames(session: ProbeSession) -> int:
    counts = session.tables.counts()
    stacks = {stack.id: stack for stack in session.tables.new_stacks()}
    if not counts:
        return 0
    busiest = max(counts, key=lambda stack: counts[stack].born_blocks)
    return len(stacks[busiest].addresses)
