"""SIGKILL for cgoleak at random moments of its life; the target must not notice for long."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgoleak.probe.wire.resident import TABLES_NAME
from cgoleak.target.kernel import procfs
from stress.rounds import check_residue, check_visit, rate_again

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stress.target import Running

__all__ = ["Kills", "run_kills"]

_PHASES: Final = (
    # From its first instruction on; and, where things happen fast, from when they are seen on.
    ("started", 0.0),
    ("stopped", 0.1),
    ("mapped", 0.03),
    ("mapped", 1.1),
    ("mapped", 1.6),
)
_GONE_S: Final = 14.0
"""A probe whose controller never took its pipes gives up after ten seconds."""


@dataclass(slots=True)
class Kills:
    """When it was killed, and how long the target took to be as before."""

    seed: int
    delays: list[float] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)
    found_in: int = 0
    rate_before: float = 0.0
    rate_after: float = 0.0

    @property
    def row(self) -> str:
        """One line for the table."""
        return (
            f"{len(self.delays)} kills (seed {self.seed}), {self.found_in} while the probe was in,"
            f" back after {max(self.recovered_s, default=0):.1f} s at most,"
            f" speed after/before {self.rate_after / max(self.rate_before, 1):.2f}"
        )


def _command(running: Running, follow: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "cgoleak", "attach", str(running.pid), "--duration", "1s"]
    return [*command, "--quiet", *follow]


def _cgoleak(running: Running, follow: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _command(running, follow), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for(phase: str, running: Running, process: subprocess.Popen[bytes]) -> None:
    """Wait until the injector has stopped the target, or the probe has mapped its tables."""
    is_entered = running.entrance()
    while phase != "started" and process.poll() is None:
        if phase == "stopped" and is_entered():
            return
        if any(region.path == TABLES_NAME for region in procfs.maps(running.pid)):
            return
        time.sleep(0.001)


def _life_of_one(running: Running, follow: Sequence[str]) -> float:
    """Let it live: start of Python, attach, one second of measuring, detach, report."""
    began = time.monotonic()
    done = subprocess.run(_command(running, follow), check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return time.monotonic() - began


def run_kills(
    running: Running,
    count: int,
    seed: int,
    *,
    tell: Callable[[str], None] = lambda _: None,
    phases: Sequence[tuple[str, float]] = _PHASES,
    follow: Sequence[str] = (),
) -> Kills:
    """Start ``cgoleak attach`` and kill it, ``count`` times; ``follow`` are more of its options."""
    generator = random.Random(seed)
    found = Kills(seed, rate_before=running.rate())
    before = running.residue()
    life = _life_of_one(running, follow)
    for number in range(count):
        phase, spread = phases[number % len(phases)]
        delay = generator.random() * (life if phase == "started" else spread)
        with _cgoleak(running, follow) as process:
            _wait_for(phase, running, process)
            time.sleep(delay)
            process.kill()
        killed_at = time.monotonic()
        found.delays.append(delay)
        assert running.is_alive(), f"it died: {phase} + {delay:.3f} s, seed {seed}"
        residue = running.residue()
        found.found_in += residue.tables > 0
        while (
            residue.tables
            or residue.tracer
            or (residue.foreign, residue.edited) != (before.foreign, before.edited)
        ):
            late = time.monotonic() - killed_at
            assert late < _GONE_S, f"{phase} + {delay:.3f} s (seed {seed}): {residue}"
            time.sleep(0.05)
            residue = running.residue()
        found.recovered_s.append(time.monotonic() - killed_at)
        # It answers: lines go on coming.
        running.next_lines(1)
        if number % 10 == 9:
            tell(f"  {number + 1}: {found.row}")
    # What is measured for one second of its life must have been killed while it measured.
    assert found.found_in > 0 or count < 5
    check_residue(before, running)
    found.rate_after = rate_again(running, found.rate_before)
    assert found.rate_after > 0.4 * found.rate_before, found.row
    check_visit(before, running)
    return found
