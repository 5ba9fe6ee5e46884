"""Requests per second and p99 of the sample worker under load: plain, exact, sampled, in turns."""

from __future__ import annotations

import contextlib
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgoleak.probe.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Served", "served"]

BIN: Final = Path(__file__).resolve().parents[2] / "sample_go_cgo" / "bin"
_SAMPLE_BYTES: Final = 512 << 10
_NUMBERS: Final = re.compile(r"(\w+)=([\d.]+)")
_WAYS: Final[dict[str, int | None]] = {"exact": None, "sampled": _SAMPLE_BYTES}


@dataclass(frozen=True, slots=True)
class Served:
    """Best turn of one way of measuring."""

    way: str
    per_second: float
    p99_ms: float
    events_per_second: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Give it as it is."""
        return asdict(self)


def served(turns: int, seconds: float = 5.0) -> list[Served]:
    """Ask one worker for pictures as fast as it gives them, in turns."""
    found: dict[str, list[Served]] = {"plain": [], **{way: [] for way in _WAYS}}
    with _worker() as (process, address):
        _ask(address, 2.0)
        for _ in range(turns):
            found["plain"].append(Served("plain", *_ask(address, seconds)))
            for way, sample_bytes in _WAYS.items():
                with (
                    Injector() as injector,
                    contextlib.closing(ProbeSession(require(process.pid))) as session,
                ):
                    session.attach(injector, sample_bytes=sample_bytes)
                    rate, p99 = _ask(address, seconds)
                    session.detach()
                    events = session.tables.totals()[0] / seconds
                found[way].append(Served(way, rate, p99, events))
    return [max(rows, key=lambda row: row.per_second) for rows in found.values()]


@contextlib.contextmanager
def _worker() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [BIN / "worker", "-life", "10m"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[1]
    finally:
        process.terminate()
        process.wait(10)


def _ask(address: str, seconds: float) -> tuple[float, float]:
    done = subprocess.run(
        [
            *(str(BIN / "load"), "-url", f"http://{address}", "-rate", "0"),
            *("-concurrency", "4", "-duration", f"{seconds}s"),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    numbers = {name: float(value) for name, value in _NUMBERS.findall(done.stdout)}
    return numbers["requests"] / seconds, numbers["p99"]
