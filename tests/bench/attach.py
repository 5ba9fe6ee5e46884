"""What attaching and detaching cost: pause, memory in the target, time to the first number."""

from __future__ import annotations

import contextlib
import statistics
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require
from tests.bench.http import serving
from tests.bench.loads import SHALLOW, hammer, running

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with running(hammer(1, SHALLOW)) as program:
        time.sleep(1.0)
        for _ in range(rounds):
            began = time.monotonic()
            with _session(program.pid) as session:
                session.tables.totals()
                first.append((time.monotonic() - began) * 1e3)
                held.append(session.pause_seconds * 1e3)
                time.sleep(0.3)
                memory.append(session.tables.counters({}).table_bytes / 1024)
                left.append(session.detach().seconds * 1e3)
    return [
        _cost("from the command to the first number", "ms", first),
        _cost("main thread held for the injection", "ms", held),
        _cost("hooks out again", "ms", left),
        _cost("memory in the target, few blocks outstanding", "KiB", memory),
        _cost("memory in the target, for each live block more", "B", [_bytes_per_block()]),
        *_idle(min(rounds, 5)),
    ]


def _bytes_per_block() -> float:
    """Measure how the tables grow with blocks that are kept."""
    with serving() as (process, address), _session(process.pid) as session:
        _, _, blocks = session.tables.totals()
        size = session.tables.counters({}).table_bytes
        url = f"http://{address}/hammer?threads=1&pairs=4000000&depth=3&keep=10"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as said:
            said.read()
        more = session.tables.totals()[2] - blocks
        size = session.tables.counters({}).table_bytes - size
        session.detach()
    return size / more


def _idle(rounds: int) -> list[Cost]:
    """Measure the CPU time of a worker that has nothing to do, without hooks and with them."""
    with serving() as (process, _):
        time.sleep(0.5)
        alone = [_busy_ms(process.pid, None) for _ in range(rounds)]
        with _session(process.pid) as session:
            hooked = [_busy_ms(process.pid, None) for _ in range(rounds)]
            own = [_busy_ms(process.pid, session.control_tid) for _ in range(rounds)]
            session.detach()
    return [
        _cost("CPU time of an idle worker, alone", "ms/s", alone),
        _cost("CPU time of an idle worker, hooked", "ms/s", hooked),
        _cost("of it the probe's own thread", "ms/s", own),
    ]


def _busy_ms(pid: int, tid: int | None) -> float:
    """Give the milliseconds of CPU time of a second, of all threads or of one."""
    before = _ran_ns(pid, tid)
    time.sleep(1.0)
    return (_ran_ns(pid, tid) - before) / 1e6


@contextlib.contextmanager
def _session(pid: int) -> Iterator[ProbeSession]:
    with Injector() as injector, contextlib.closing(ProbeSession(require(pid))) as session:
        session.attach(injector)
        yield session


def _ran_ns(pid: int, tid: int | None) -> int:
    """Read how long threads have run: the first word of schedstat, in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task")
    chosen = [tasks / str(tid)] if tid is not None else list(tasks.iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in chosen)


def _cost(what: str, unit: str, values: list[float]) -> Cost:
    return Cost(what, unit, statistics.median(values), max(values))
