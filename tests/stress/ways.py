"""The process that brings the probe into a static program, killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

from cgoleak.errors import CgoleakError
from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.kernel import procfs
from cgoleak.target.preflight import require
from stress.rounds import attached, check_residue, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from stress.target import Running

__all__ = ["run_way_kills"]

_LATEST_S = (0.0003, 0.003, 0.03)
"""The thread is on its way for some milliseconds; the rest is waiting for what it has started."""


def run_way_kills(running: Running, count: int, seed: int, tell: Callable[[str], None]) -> str:
    """Kill the injector of a static program; the next one clears up what it has left."""
    generator = random.Random(seed)
    running.wait_for_line(2)
    before = running.residue()
    is_entered = running.entrance()
    left = refused = 0
    for number in range(count):
        # A probe that came in, and whose controller never took its pipes, leaves by itself.
        assert settled(running, lambda r: not (r.tables or r.tracer)).tables == 0
        with Injector() as injector:
            session = ProbeSession(require(running.pid))
            killer = threading.Thread(target=_kill, args=(injector.pid, is_entered, generator))
            killer.start()
            try:
                session.attach(injector)
                session.detach()
            except CgoleakError:
                refused += 1
            finally:
                killer.join()
                session.close()
        left += is_entered()
        assert running.is_alive(), running.lines()[-60:]
        assert procfs.status(running.pid).tracer_pid == 0
        if number % 10 == 9:
            running.next_lines(1)
            tell(f"  {number + 1} kills, {left} times its code was left")
    last = attached(running)
    try:
        assert last.detach().clean
    finally:
        last.close()
    assert not is_entered(), "its start-up code is not its own"
    check_residue(before, running)
    return f"{count} kills, {refused} attaches failed, {left} times its code was left; all cleared"


def _kill(pid: int, is_entered: Callable[[], bool], generator: random.Random) -> None:
    """Kill it at a moment after it has begun."""
    most = generator.choice(_LATEST_S)
    deadline = time.monotonic() + 10
    while not is_entered() and time.monotonic() < deadline:
        time.sleep(0.00005)
    time.sleep(generator.uniform(0, most))
    os.kill(pid, signal.SIGKILL)
