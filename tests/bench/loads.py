"""What is measured: programs that say once a second how long a pair of malloc and free takes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "DEEP",
    "HAMMER",
    "SHALLOW",
    "Load",
    "Running",
    "build_go",
    "end",
    "hammer",
    "hammers",
    "running",
    "sqlite",
]

HERE: Final = Path(__file__).resolve().parent
SAMPLE: Final = HERE.parents[1] / "sample_go_cgo"
HAMMER: Final = SAMPLE / "bin" / "hammer"
SHALLOW: Final = 0
DEEP: Final = 28
"""C frames of our own; with Go's and the bridge's a stack of forty."""
_LIFE: Final = ("-duration", "3m")
_LINE: Final = re.compile(r"ns/pair=([\d.]+)")
_END_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """A program and its arguments; ``pair`` is what its numbers are of."""

    name: str
    program: Path
    arguments: tuple[str, ...] = ()
    pair: str = "malloc+free"

    def by(self, program: Path) -> Load:
        """Give the same of another build."""
        return Load(self.name, program, self.arguments, self.pair)


def hammer(threads: int, depth: int) -> Load:
    """Give the sample's hammer: pairs of 64 bytes, so many C frames below its entry."""
    stack = "shallow stack" if depth == SHALLOW else "40 frames"
    return Load(
        f"{threads} thread{'s' if threads > 1 else ''}, {stack}",
        HAMMER,
        ("-bytes", "64", "-threads", str(threads), "-depth", str(depth)),
    )


def hammers(threads: Sequence[int]) -> list[Load]:
    """Give the hammer on so many threads, with a shallow and a deep stack each."""
    return [hammer(count, depth) for count in threads for depth in (SHALLOW, DEEP)]


def sqlite(folder: Path, go: str) -> Load | str:
    """Build the library that allocates much, in C, below Go; or say why it cannot be had."""
    program = folder / "sqlite"
    why = build_go(go, HERE / "sqlite", program, ".")
    return why or Load("go-sqlite3, in memory", program, pair="insert+select+delete")


def build_go(go: str, where: Path, program: Path, package: str, *flags: str) -> str:
    """Build a Go program; return why it cannot be built, or nothing."""
    try:
        built = subprocess.run(
            [go, "build", "-buildvcs=false", *flags, "-o", str(program), package],
            cwd=where,
            env=os.environ | {"CGO_ENABLED": "1", "GOWORK": "off", "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = built.stderr.strip().splitlines()
    return (said[-1] if said else f"status {built.returncode}") if built.returncode else ""


@dataclass(slots=True)
class Running:
    """A program that runs, and what it has printed."""

    process: subprocess.Popen[str]
    _lines: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the program, or of the wrapper that became it."""
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = _LINE.search(line)
            # 0: under a slow tool the hammer's block of pairs takes longer than a second.
            if found and float(found[1]) and not line.startswith("done"):
                self._lines.append((time.monotonic(), float(found[1])))

    def best(self, seconds: float, first_within: float = 30.0) -> float:
        """Return the nanoseconds of the best whole second of the next ones.

        Raises:
            RuntimeError: it ended, or prints nothing.
        """
        began = time.monotonic()
        while time.monotonic() < began + seconds or not self._since(began):
            if self.process.poll() is not None:
                raise RuntimeError(f"it ended with status {self.process.returncode}")
            if time.monotonic() > began + first_within:
                raise RuntimeError(f"it said nothing in {first_within:.0f} s")
            time.sleep(0.05)
        return min(self._since(began))

    def _since(self, began: float) -> list[float]:
        # The line that was under way covers time from before.
        return [value for at, value in self._lines if at > began + 1.1]


@contextlib.contextmanager
def running(
    load: Load, wrapper: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a load, bounded to three minutes; end it, and a wrapper's children, by their group."""
    command = [*wrapper, str(load.program), *load.arguments, *_LIFE]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | dict(environment or {}),
        start_new_session=True,
    )
    try:
        yield Running(process)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a program that leads its own group, and what a wrapper has started in that."""
    for end in (15, 9):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)  # what a wrapper that has ended has left
