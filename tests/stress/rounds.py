"""Attach, measure for a moment, detach, again and again, while the target allocates without end."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgoleak.cli.pairs import PairOptions
from cgoleak.errors import TargetBusy, UnsupportedTarget
from cgoleak.model.handles import Family, PairFunction, Role
from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stress.target import Residue, Running

__all__ = [
    "Rounds",
    "attached",
    "check_residue",
    "check_visit",
    "rate_again",
    "refusal",
    "run_rounds",
    "settled",
]

_SEEN_WITHIN_S: Final = 10.0
_SETTLE_S = 15.0
# What a first round leaves for good: the probe's copy, a thread's stack that libc keeps, an arena
# of malloc (64 MiB of addresses each; libc makes a new one when all are locked at that moment).
_RATES: Final = (4096, 64 << 10)
"""Bytes per sample: so few that every round takes some."""
_FAMILIES: Final = (
    # Freed behind the back of its destroy function, as fast as blocks are.
    Family(
        "text",
        (PairFunction("strdup", Role.CREATE, 0), PairFunction("strcasecmp", Role.DESTROY, 1)),
    ),
    *PairOptions(pair_set=("threads",)).families(),
)
_MORE_MAPPINGS = 24
_MORE_KIB = 4 * 65536 + 16384
_MORE_THREADS = 2
"""Go and libc start threads of their own as they please, and keep them."""
_THREAD_KIB = 65536 + 8192 + 64
"""Addresses of a thread that Go starts: an arena, a stack and its guard."""


@dataclass(slots=True)
class Rounds:
    """What many rounds were like."""

    done: int = 0
    busy: int = 0
    seconds: float = 0.0
    pauses_ms: list[float] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    rate_before: float = 0.0
    rate_after: float = 0.0
    unclean: list[str] = field(default_factory=list)

    @property
    def row(self) -> str:
        """One line for the table."""
        pause = (
            f"{statistics.median(self.pauses_ms):.0f}/{max(self.pauses_ms):.0f}"
            if self.pauses_ms
            else "-"
        )
        looks = (
            f"{statistics.mean(self.attempts):.1f}/{max(self.attempts)}" if self.attempts else "-"
        )
        ratio = self.rate_after / self.rate_before if self.rate_before else 0.0
        return (
            f"{self.done} rounds, {self.busy} refused, pause ms {pause}, looks {looks},"
            f" speed after/before {ratio:.2f}, {self.seconds:.0f} s"
        )


def attached(
    running: Running, way: int = 0, families: Sequence[Family] = _FAMILIES
) -> ProbeSession:
    """Attach; whatever goes wrong, our side is closed.

    ``way``: in turns every block, a sample, and first the one and then the other; every other time
    handles as well.
    """
    with Injector() as injector:
        session = ProbeSession(require(running.pid), families=families if way % 2 else ())
        try:
            session.attach(injector, sample_bytes=_RATES[0] if way % 3 == 1 else None)
            if way % 3 == 2:
                for rate in _RATES:
                    session.sample(rate, rare=64)
        except BaseException:
            session.close()
            raise
    return session


def refusal(running: Running) -> str:
    """Try to attach, which must be refused; give the cause that is told."""
    try:
        attached(running).close()
    except UnsupportedTarget as exc:
        return exc.cause or ""
    return "it was not refused"


def check_visit(before: Residue, running: Running) -> None:
    """Attach and detach once more; it must be as it was ``before``."""
    session = attached(running)
    try:
        assert session.detach().clean
    finally:
        session.close()
    check_residue(before, running)


def settled(
    running: Running, is_so: Callable[[Residue], bool], seconds: float = _SETTLE_S
) -> Residue:
    """Wait until the process looks as it should; return how it looks then, or at the end."""
    deadline = time.monotonic() + seconds
    while True:
        residue = running.residue()
        if is_so(residue) or time.monotonic() > deadline:
            return residue
        time.sleep(0.02)


def check_residue(before: Residue, running: Running) -> Residue:
    """Look that all is as before the first attach but for one probe image and what libc keeps."""
    after = settled(
        running,
        lambda r: (
            r.threads <= before.threads + _MORE_THREADS
            and r.files <= before.files
            and r.tables == 0
            and r.tracer == 0
            and r.state not in "Tt"
            and r.foreign == before.foreign
            and r.edited == before.edited
        ),
    )
    assert after.threads <= before.threads + _MORE_THREADS, (before, after)
    assert after.files <= before.files, (before, after)
    assert after.images <= 1, after
    assert after.tables == 0, after
    assert after.state not in "TtZ", after
    assert after.tracer == 0, after
    assert after.slots >= before.slots, (before, after)
    assert after.foreign == before.foreign, (before, after)
    assert after.edited == before.edited, (before, after)
    assert after.mappings <= before.mappings + _MORE_MAPPINGS, (before, after)
    started = max(0, after.threads - before.threads)
    more = _MORE_KIB + started * _THREAD_KIB
    assert after.virtual_kib <= before.virtual_kib + more, (before, after)
    return after


def run_rounds(
    running: Running,
    count: int,
    *,
    seconds_each: float = 0.02,
    tell: Callable[[str], None] = lambda _: None,
    families: Sequence[Family] = _FAMILIES,
    idle: bool = False,
) -> Rounds:
    """Attach and detach ``count`` times; every round must leave the target clean.

    ``families`` are followed in every other round. ``idle``: it makes no blocks, so that nothing is
    seen in the others.
    """
    found = Rounds(rate_before=running.rate())
    before = running.residue()
    began = time.monotonic()
    for number in range(count):
        assert running.is_alive(), (
            f"it ended with {running.process.poll()} in round {number}: {running.lines()[-80:]}"
        )
        try:
            session = attached(running, number, families)
        except TargetBusy:
            found.busy += 1
            continue
        try:
            time.sleep(seconds_each)
            # On a busy machine none of its threads may have run in so short a round.
            deadline = time.monotonic() + (0 if idle else _SEEN_WITHIN_S)
            while not session.tables.totals()[0] and time.monotonic() < deadline:
                time.sleep(0.02)
            farewell = session.detach()
            seen = session.tables.totals()[0] + sum(one.created for one in session.families)
        finally:
            session.close()
        assert seen > 0 or idle, f"round {number} saw nothing: {session.summary_notices()}"
        if not farewell.clean:
            found.unclean += [f"round {number}: {notice.text}" for notice in farewell.notices]
        found.done += 1
        found.pauses_ms.append(session.pause_seconds * 1000)
        found.attempts.append(session.attempts)
        if number % 50 == 49:
            check_residue(before, running)
            tell(f"  {number + 1}: {found.row}")
    found.seconds = time.monotonic() - began
    check_residue(before, running)
    found.rate_after = rate_again(running, found.rate_before)
    assert found.unclean == []
    assert running.is_alive()
    assert found.rate_after > 0.4 * found.rate_before, found.row
    return found


def rate_again(running: Running, before: float) -> float:
    """Return the best rate within half a minute, or the first that is nearly as good as before.

    The machine is shared with others: what lasts is the target's, what passes is theirs.
    """
    best = 0.0
    for _ in range(10):
        best = max(best, running.rate())
        if best > 0.85 * before:
            break
    return best
