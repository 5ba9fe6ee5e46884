"""What a measured process may do: fork, exec, dlopen, throw, die; each mode of the torture."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError, ProbeError
from stress.rounds import attached, check_residue, settled
from stress.target import torture

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgoleak.probe.session import ProbeSession
    from stress.target import Residue, Running

__all__ = ["ENDINGS", "MODES", "run_asked", "run_ending", "run_mode"]

MODES: Final = (
    "churn",
    "fork",
    "spawn",
    "goexec",
    "dlopen",
    "threads",
    "throw",
    "jump",
    "deep",
    "callback",
    "profile",
    "handler",
    "gc",
)
# Mode → exit status without anybody's doing; exec goes on as another program.
ENDINGS: Final = {"exit": 0, "crash": 2, "abort": 2, "exec": None}
_BUSY_WITH_THE_KERNEL: Final = frozenset({"dlopen", "threads", "goexec", "spawn", "fork"})
"""Threads, files and libraries come and go by themselves in these, and their speed is not C's."""


def run_mode(mode: str, rounds: int, seconds: float, *, static: bool = False) -> str:
    """Measure it so often and so long; it must find nothing wrong, and be as before."""
    with torture(mode, static=static) as running:
        running.next_lines(1)
        before = running.residue()
        speed = _rounds_a_second(running)
        events = 0
        refused = []
        for way in range(rounds):
            try:
                session = attached(running, way)
            except ProbeError as exc:
                # It may be refused, if the target is none the worse for it.
                refused.append(f"{type(exc).__name__} ({exc.cause})")
                assert len(refused) < rounds, refused
                assert _rounds_a_second(running) > 0, refused
                continue
            try:
                _serve(session, seconds)
                events += session.tables.totals()[0]
                farewell = session.detach()
                shards = session.tables.counters(session.tables.counts())
            finally:
                session.close()
            assert farewell.clean, farewell
            assert shards.dropped_blocks == 0, shards
            assert running.is_alive(), running.lines()[-30:]
        after = _rounds_a_second(running)
        said = running.numbers()
        assert said["bad"] == 0, said
        assert after > 0, "it does nothing any more"
        if mode not in _BUSY_WITH_THE_KERNEL:
            assert after > 0.3 * speed, (speed, after)
        if mode == "handler":
            assert said["handled"] > 100
        assert events > 0, "nothing was seen"
        _check_mode(mode, before, running)
        some = f", refused: {refused}" if refused else ""
        ratio = f"{after / speed:.2f}" if speed else "- (it had no turn before)"
        return f"{rounds} rounds, {events} events{some}, speed after/before {ratio}"


def _check_mode(mode: str, before: Residue, running: Running) -> None:
    if mode in _BUSY_WITH_THE_KERNEL:
        after = running.residue()
        assert after.images <= 1
        assert after.tables == 0
        assert after.tracer == 0
        return
    check_residue(before, running)


def _serve(session: ProbeSession, seconds: float) -> None:
    """Do what the recorder does meanwhile: follow libraries, look at slots, read totals."""
    end = time.monotonic() + seconds
    verified = False
    while (left := end - time.monotonic()) > 0:
        if session.wait_for_event(min(left, 0.05)):
            session.rescan()
        session.tables.counts()
        if not verified and left < seconds / 2:
            session.verify()
            verified = True


def _rounds_a_second(running: Running) -> float:
    first = running.numbers()["rounds"]
    began = time.monotonic()
    last = running.numbers()["rounds"]
    return (last - first) / (time.monotonic() - began)


def run_asked(number: int, *, static: bool = False) -> str:
    """Compare what the program counted with what cgoleak did, to the block and to the byte."""
    with torture("asked", "-workers", "4", static=static) as running:
        running.ask(3)  # libc's own first-time allocations are over then
        session = attached(running)
        try:
            before = running.lines()[-1]
            said = running.ask(number)
            kept_before = int(before.split("kept=")[1].split("/")[0])
            pairs_before = int(before.split("pairs=")[1].split()[0])
            farewell = session.detach()
            counts = session.tables.counts()
            counters = session.tables.counters(counts)
            stacks = list(session.tables.new_stacks())
        finally:
            session.close()
        kept, pairs = said["kept"] - kept_before, said["pairs"] - pairs_before
        starts = running.thread_starts(stacks)
        own = [c for stack_id, c in counts.items() if stack_id not in starts]
        outstanding = sum(c.born_blocks - c.freed_blocks for c in own)
        outstanding_bytes = sum(c.born_bytes - c.freed_bytes for c in own)
        born = sum(c.born_blocks for c in own)
        assert farewell.clean
        assert kept == 4 * number
        assert (outstanding, outstanding_bytes) == (kept, 100 * kept)
        assert born == kept + pairs
        assert counters.unmatched_frees == counters.dropped_blocks == counters.dropped_stacks == 0
        return f"{born} births, {kept} kept, {outstanding_bytes} bytes outstanding: all exact"


def run_ending(
    mode: str,
    seed: int,
    *,
    hooked: bool,
    static: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> str:
    """End the target in mid-attach, or while it is hooked; its exit status is its own."""
    generator = random.Random(seed)
    with torture(mode, static=static) as running:
        happened = "attached"
        session = None
        over = threading.Event()
        entered = threading.Thread(
            target=_end_when_stopped, args=(running, generator, over), daemon=True
        )
        if not hooked:
            entered.start()
        try:
            try:
                session = attached(running)
            finally:
                over.set()
            if hooked:
                running.tell(generator.randrange(100))
            _wait_for_end(session, running)
            began = time.monotonic()
            session.detach()
            assert time.monotonic() - began < 15
        except CgoleakError as exc:
            happened = type(exc).__name__
        finally:
            if session is not None:
                session.close()
        assert happened == "attached" or not hooked
        if ENDINGS[mode] is None:
            running.next_lines(3)
            assert running.numbers()["bad"] == 0
            # If it became another program early enough, that one was entered and left.
            after = settled(running, lambda r: not (r.tables or r.tracer))
            assert (after.tables, after.tracer, after.foreign) == (0, 0, ())
            assert after.images <= (0 if hooked else 1)
            assert after.state not in "Tt"
        else:
            status = running.process.wait(20)
            assert status == ENDINGS[mode], (status, happened, running.lines()[-40:])
        tell(f"  {mode}: {happened}")
        return happened


def _end_when_stopped(running: Running, generator: random.Random, over: threading.Event) -> None:
    """Have it end as soon as the injector comes in, or a little later.

    On a busy machine we may miss that: then it ends when the attach is ``over``.
    """
    is_entered = running.entrance()
    soon = generator.random() < 0.5
    while running.is_alive():
        if over.is_set() or is_entered():
            time.sleep(generator.uniform(0, 0.004 if soon else 0.08))
            running.tell(0 if soon else generator.randrange(20))
            return
        time.sleep(0.0002)


def _wait_for_end(session: ProbeSession, running: Running) -> None:
    deadline = time.monotonic() + 5
    while session.is_alive() and running.is_alive() and time.monotonic() < deadline:
        session.tables.counts()
        time.sleep(0.02)
