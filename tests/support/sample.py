"""The sample of ``sample_go_cgo/``: built with any Go, and what its scenarios ought to show."""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ROOT", "Expected", "Scenario", "build_sample", "scenarios"]

ROOT: Final = Path(__file__).parents[2] / "sample_go_cgo"


@dataclass(frozen=True, slots=True)
class Expected:
    """A site of a scenario; ``scenarios.toml`` says what each field means."""

    counter: str
    c_function: str
    go_function: str
    stack: tuple[str, ...]
    verdict: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to start, for how long to watch, and what ought to be found."""

    name: str
    cause: str
    worker: tuple[str, ...]
    load: dict[str, Any]
    seconds: float
    environment: dict[str, str]
    supervised: bool
    min_go_minor: int
    short: bool
    go_functions: tuple[str, ...]
    sites: tuple[Expected, ...]

    @property
    def leaking(self) -> tuple[Expected, ...]:
        return tuple(site for site in self.sites if site.verdict == "native-leak")


def scenarios() -> tuple[Scenario, ...]:
    """Read the ground truth."""
    document = tomllib.loads((ROOT / "scenarios.toml").read_text(encoding="utf-8"))
    return tuple(_scenario(entry) for entry in document["scenario"])


def _scenario(entry: dict[str, Any]) -> Scenario:
    start, end = entry["window"]
    assert start == 0, "a window that begins under load is not served here"
    return Scenario(
        name=entry["name"],
        cause=entry["cause"],
        worker=tuple(entry["worker"]),
        load=entry["load"],
        seconds=end,
        environment=entry.get("env", {}),
        supervised=entry.get("supervisor", False),
        min_go_minor=int(entry["min_go"].split(".")[1]),
        short=entry["ci"],
        go_functions=tuple(entry.get("go_functions", ())),
        sites=tuple(
            Expected(
                site["counter"],
                site["c_function"],
                site["go_function"],
                tuple(site["stack"]),
                site["verdict"],
            )
            for site in entry.get("site", ())
        ),
    )


def build_sample(
    folder: Path,
    go: str,
    *flags: str,
    ldflags: str = "",
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Build worker, load, supervisor and plugin into ``folder``; ``environment``: e.g. ``CC``."""
    kept = {k: v for k, v in os.environ.items() if k not in {"GOROOT", "GOFLAGS"}}
    done = subprocess.run(
        ["sh", str(ROOT / "build.sh"), *flags],
        env=kept | {"GO": go, "OUT": str(folder), "LDFLAGS": ldflags} | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder
