"""What attaching and detaching cost: pause, memory in the target, time to the first number."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cgoleak.probe.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require
from tests.bench.pairs import hammering

__all__ = ["Cost", "attach_costs"]


@dataclass(frozen=True, slots=True)
class Cost:
    """A number over several rounds; ``times`` as much as what was run next to it."""

    what: str
    unit: str
    median: float
    worst: float
    times: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give it as it is."""
        return asdict(self)


def attach_costs(rounds: int) -> list[Cost]:
    """Attach and detach several times to a hammer on one thread."""
    first, held, left, memory = [], [], [], []
    with hammering(["-threads", "1"]) as hammer:
        time.sleep(1.0)
        for _ in range(rounds):
            began = time.monotonic()
            with (
                Injector() as injector,
                contextlib.closing(ProbeSession(require(hammer.process.pid))) as session,
            ):
                session.attach(injector)
                session.tables.totals()
                first.append((time.monotonic() - began) * 1e3)
                held.append(session.pause_seconds * 1e3)
                time.sleep(0.3)
                memory.append(session.tables.counters({}).table_bytes / 1024)
                left.append(session.detach().seconds * 1e3)
    return [
        _cost("CPU time of the probe's own thread", "ms/s", _idle(rounds)),
        _cost("from the command to the first number", "ms", first),
        _cost("main thread held for the injection", "ms", held),
        _cost("hooks out again", "ms", left),
        _cost("memory in the target, few blocks outstanding", "KiB", memory),
    ]


def _idle(rounds: int) -> list[float]:
    """Measure the CPU time per second that the probe's own thread takes."""
    found = []
    with hammering(["-threads", "1"]) as hammer:
        process = hammer.process
        time.sleep(0.5)
        with (
            Injector() as injector,
            contextlib.closing(ProbeSession(require(process.pid))) as session,
        ):
            session.attach(injector)
            for _ in range(min(rounds, 5)):
                before = _ran_ns(process.pid, session.control_tid)
                time.sleep(1.0)
                found.append((_ran_ns(process.pid, session.control_tid) - before) / 1e6)
            session.detach()
    return found


def _ran_ns(pid: int, tid: int) -> int:
    """Read how long a thread has run: the first word of schedstat, in nanoseconds."""
    return int(Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()[0])


def _cost(what: str, unit: str, values: list[float]) -> Cost:
    return Cost(what, unit, statistics.median(values), max(values))
