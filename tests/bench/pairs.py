"""Nanoseconds per malloc+free pair: the sample's hammer, plain and under a tool."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgoleak.probe.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.target.preflight import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Pairs",
    "asan_pairs",
    "cgoleak_pairs",
    "hammering",
    "heaptrack_pairs",
    "plain_pairs",
    "sampled_pairs",
    "valgrind_pairs",
]

HAMMER = Path(__file__).resolve().parents[2] / "sample_go_cgo" / "bin" / "hammer"
_SECONDS = 4.0
_LINE = re.compile(r"ns/pair=([\d.]+)")


@dataclass(frozen=True, slots=True)
class Pairs:
    """One row; ``frames`` is what the tool's stack held, C and Go."""

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


class Hammer:
    """A running hammer and what it prints: nanoseconds per pair, once a second."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._lines: list[tuple[float, float]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if (found := _LINE.search(line)) and not line.startswith("done"):
                self._lines.append((time.monotonic(), float(found[1])))

    def best(self, seconds: float, first_within: float = 30.0) -> float:
        """Return the best whole second of the next ones."""
        began = time.monotonic()
        deadline = began + first_within
        while time.monotonic() < began + seconds or not self._since(began):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("the hammer printed nothing")
            time.sleep(0.05)
        return min(self._since(began))

    def _since(self, began: float) -> list[float]:
        # The line that was under way covers time from before.
        return [value for at, value in self._lines if at > began + 1.1]


@contextlib.contextmanager
def hammering(
    arguments: Sequence[str], wrapper: Sequence[str] = (), program: Path = HAMMER
) -> Iterator[Hammer]:
    """Run the hammer, bounded to two minutes; end it by its pid."""
    hammer = Hammer([*wrapper, str(program), "-bytes", "64", "-duration", "2m", *arguments])
    try:
        yield hammer
    finally:
        hammer.process.terminate()
        try:
            hammer.process.wait(10)
        except subprocess.TimeoutExpired:
            hammer.process.kill()
            hammer.process.wait()


def cgoleak_pairs(
    load: str, arguments: Sequence[str], turns: int, sample_bytes: int | None = None
) -> Pairs:
    """Attach and detach in turns to one running hammer."""
    plain: list[float] = []
    measured: list[float] = []
    frames = 0
    with hammering(arguments) as hammer:
        for _ in range(turns):
            plain.append(hammer.best(_SECONDS))
            with (
                Injector() as injector,
                contextlib.closing(ProbeSession(require(hammer.process.pid))) as session,
            ):
                session.attach(injector, sample_bytes=sample_bytes)
                measured.append(hammer.best(_SECONDS))
                frames = _frames(session)
                session.detach()
        plain.append(hammer.best(_SECONDS))
    tool = "cgoleak, exact" if sample_bytes is None else "cgoleak, sampled"
    return Pairs(tool, load, min(plain), min(measured), frames)


def sampled_pairs(load: str, arguments: Sequence[str], turns: int) -> Pairs:
    """Measure the same while one block per 512 KiB is followed."""
    return cgoleak_pairs(load, arguments, turns, sample_bytes=512 << 10)


def asan_pairs(load: str, arguments: Sequence[str], turns: int) -> Pairs:
    """Build the hammer with ``go build -asan``, and run it beside the plain one."""
    tool, go = "go build -asan", shutil.which("go")
    if go is None:
        return Pairs(tool, load, skipped="go is not on the PATH")
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "hammer"
        built = subprocess.run(
            [go, "build", "-buildvcs=false", "-asan", "-o", str(program), "./cmd/hammer"],
            cwd=HAMMER.parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            return Pairs(tool, load, skipped=built.stderr.strip().splitlines()[-1])
        with hammering(arguments) as hammer:
            plain = min(hammer.best(_SECONDS) for _ in range(turns))
        with hammering(arguments, program=program) as hammer:
            measured = min(hammer.best(_SECONDS) for _ in range(turns))
    return Pairs(tool, load, plain, measured)


def _frames(session: ProbeSession) -> int:
    counts = session.tables.counts()
    stacks = {stack.id: stack for stack in session.tables.new_stacks()}
    if not counts:
        return 0
    busiest = max(counts, key=lambda stack: counts[stack].born_blocks)
    return len(stacks[busiest].addresses)


def plain_pairs(load: str, arguments: Sequence[str], turns: int) -> Pairs:
    """Measure nothing against nothing: how far two numbers can be apart here."""
    with hammering(arguments) as hammer:
        first = min(hammer.best(_SECONDS) for _ in range(turns))
        second = min(hammer.best(_SECONDS) for _ in range(turns))
    return Pairs("nothing", load, first, second)


def heaptrack_pairs(load: str, arguments: Sequence[str], turns: int) -> Pairs:
    """Run the hammer under heaptrack's preload; its stacks end where Go begins."""
    if shutil.which("heaptrack") is None:
        return Pairs("heaptrack", load, skipped="heaptrack is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        return _wrapped("heaptrack", load, arguments, ["heaptrack", "-o", f"{scratch}/h"], turns)


def valgrind_pairs(load: str, arguments: Sequence[str]) -> Pairs:
    """Run the hammer under memcheck."""
    if shutil.which("valgrind") is None:
        return Pairs("valgrind memcheck", load, skipped="valgrind is not installed")
    return _wrapped("valgrind memcheck", load, arguments, ["valgrind", "--quiet"], 1)


def _wrapped(
    tool: str, load: str, arguments: Sequence[str], wrapper: Sequence[str], turns: int
) -> Pairs:
    with hammering(arguments) as hammer:
        plain = min(hammer.best(_SECONDS) for _ in range(turns))
    try:
        with hammering(arguments, wrapper) as hammer:
            measured = min(hammer.best(_SECONDS, 60.0) for _ in range(turns))
    except RuntimeError as exc:
        return Pairs(tool, load, skipped=str(exc))
    return Pairs(tool, load, plain, measured)
