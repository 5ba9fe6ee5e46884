"""What the gate costs: ``go test`` on the sample alone, and under ``cgoleak check``, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Gate", "gate_cost"]

ROOT: Final = Path(__file__).resolve().parents[2]
_TESTS: Final = ("-run", "Thumbnails", "-bench", ".", "-benchtime", "3000x", "./gate/thumbs")
_SYMBOLS: Final = "-ldflags=-s=false -w=false"


@dataclass(frozen=True, slots=True)
class Gate:
    """Wall seconds of ``go test`` alone and under check: the best turn of each."""

    plain_s: float
    checked_s: float

    @property
    def goal_s(self) -> float:
        """1.3 times the plain time, and a second to start up."""
        return 1.3 * self.plain_s + 1.0

    def as_json(self) -> dict[str, Any]:
        """Give the goal beside the numbers."""
        return asdict(self) | {"goal_s": self.goal_s}


def gate_cost(turns: int) -> Gate:
    """Run the sample's tests and benchmark both ways."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(turns + 1):
        for checked, taken in times.items():
            took = _go_test(checked=checked)
            if turn:  # the first builds
                taken.append(took)
    return Gate(min(times[False]), min(times[True]))


def _go_test(*, checked: bool) -> float:
    go = (ROOT / ".venv" / "go-path").read_text().strip()
    wrapped = ["-exec", f"{sys.executable} -m cgoleak check -q --"] if checked else []
    kept = {name: value for name, value in os.environ.items() if name not in {"GOROOT", "GOFLAGS"}}
    began = time.monotonic()
    subprocess.run(
        [go, "test", "-count=1", "-buildvcs=false", _SYMBOLS, *wrapped, *_TESTS],
        cwd=ROOT / "sample_go_cgo",
        env=kept | {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOPROXY": "off"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    return time.monotonic() - began
