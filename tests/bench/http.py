"""Requests per second and p99 of the sample worker under load, alone and under each tool."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require
from tests.bench.loads import end

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.bench.peers import Wrapper

__all__ = ["Served", "served", "served_under", "serving"]

BIN: Final = Path(__file__).resolve().parents[2] / "sample_go_cgo" / "bin"
_SAMPLE_BYTES: Final = 512 << 10
_NUMBERS: Final = re.compile(r"(\w+)=([\d.]+)")
_WAYS: Final[dict[str, int | None]] = {"exact": None, "sampled": _SAMPLE_BYTES}


@dataclass(frozen=True, slots=True)
class Served:
    """Best turn of one way of measuring."""

    way: str
    per_second: float = 0.0
    p99_ms: float = 0.0
    events_per_second: float = 0.0
    skipped: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give it as it is."""
        return asdict(self)


def served(turns: int, seconds: float = 4.0) -> list[Served]:
    """Ask one worker for pictures as fast as it gives them, in turns."""
    found: dict[str, list[Served]] = {"plain": [], **{way: [] for way in _WAYS}}
    with serving() as (process, address):
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


def served_under(wrapper: Wrapper, seconds: float = 4.0) -> list[Served]:
    """Ask a worker that was started under a tool; beside another base than ours, that as well."""
    if wrapper.skipped:
        return [Served(wrapper.tool, skipped=wrapper.skipped)]
    try:
        base = []
        if wrapper.plain:
            base = [_served_once(f"plain, for {wrapper.tool}", (), wrapper.plain, seconds)]
        return [*base, _served_once(wrapper.tool, wrapper.command, wrapper.environment, seconds)]
    except IndexError:
        return [Served(wrapper.tool, skipped="the worker did not start")]
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        return [Served(wrapper.tool, skipped=said[-1] if said else "requests failed")]
    except subprocess.TimeoutExpired:
        return [Served(wrapper.tool, skipped="it answers too slowly")]


def _served_once(
    way: str, command: Sequence[str], environment: Mapping[str, str], seconds: float
) -> Served:
    with serving(command, environment) as (_, address):
        _ask(address, 3.0)  # under memcheck a picture takes its time
        return Served(way, *_ask(address, seconds))


@contextlib.contextmanager
def serving(
    command: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the sample worker, alone or under a tool; give it and its address.

    Raises:
        IndexError: it has not started.
    """
    process = subprocess.Popen(
        [*command, str(BIN / "worker"), "-life", "3m"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | dict(environment or {}),
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        yield process, next((line for line in lines if "listening" in line), "").split()[1]
    finally:
        end(process)


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
