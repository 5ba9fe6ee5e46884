"""``make bench``: what a measurement costs the target, beside what else is installed.

Each load runs without anything and then with one tool, and the best second of each counts: these
machines are noisy, and the best is what the code can do. cgoleak and its base are measured in turns
on one running program. The ratios are what counts. Rows that cannot be run say why; after ten
minutes no more are begun.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.bench.attach import attach_costs
from tests.bench.gate import Gate, gate_cost
from tests.bench.http import Served, served, served_under
from tests.bench.listeners import attached_pairs, listeners
from tests.bench.loads import DEEP, SHALLOW, Load, hammer, hammers, sqlite
from tests.bench.pairs import Pairs, cgoleak_pairs, plain_pairs
from tests.bench.peers import ASAN, asan_pairs, wrapped_pairs, wrappers
from tests.bench.rendering import rendering_costs
from tests.bench.snapshot import snapshot_costs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.attach import Cost

OUT: Final = Path(__file__).resolve().parents[2] / "out" / "bench.json"
_MOST_S: Final = 600.0
_QUICK_S: Final = 200.0


@dataclass(slots=True)
class Bench:
    """The rows so far, and the time that is left for more."""

    ends_at: float
    scratch: Path
    pairs: list[Pairs] = field(default_factory=list)
    http: list[Served] = field(default_factory=list)
    attach: list[Cost] = field(default_factory=list)
    rendering: list[Cost] = field(default_factory=list)
    gate: Gate | None = None

    @property
    def is_late(self) -> bool:
        """Whether nothing more is begun."""
        return time.monotonic() > self.ends_at

    def add(self, rows: Sequence[Pairs]) -> None:
        """Take rows, and print them."""
        for row in rows:
            self.pairs.append(row)
            _say(_line(row))

    def own(self, load: Load, turns: int) -> float:
        """Measure cgoleak on a load; return what that takes alone."""
        if self.is_late:
            self.add([Pairs("cgoleak", load.name, skipped=_LATE)])
            return 0.0
        try:
            rows = cgoleak_pairs(load, turns)
        except RuntimeError as error:
            rows = [Pairs("cgoleak", load.name, skipped=str(error))]
        self.add(rows)
        return rows[0].plain_ns

    def peers(self, load: Load, plain_ns: float) -> None:
        """Measure all others on it."""
        for wrapper in wrappers(self.scratch):
            late = Pairs(wrapper.tool, load.name, skipped=_LATE)
            self.add([late if self.is_late else wrapped_pairs(wrapper, load, plain_ns)])
        for listener in listeners():
            late = Pairs(listener.tool, load.name, skipped=_LATE)
            self.add([late if self.is_late else attached_pairs(listener, load, plain_ns)])

    def as_json(self) -> dict[str, Any]:
        """Give all rows, for scripts."""
        parts = ("pairs", "http", "attach", "rendering")
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": _machine(),
            **{part: [row.as_json() for row in getattr(self, part)] for part in parts},
            "gate": self.gate.as_json() if self.gate else None,
        }


_LATE: Final = "no time left"


def main() -> int:
    """Run all rows and print the tables."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="turns of cgoleak; the best counts")
    parser.add_argument("--quick", action="store_true", help="few turns, cgoleak only")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cgoleak-bench-") as scratch:
        bench = Bench(began + (_QUICK_S if options.quick else _MOST_S), Path(scratch))
        if options.quick:
            _quick(bench)
        else:
            _whole(bench, options.turns)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(bench.as_json(), indent=2) + "\n")
    _say(f"\n{time.monotonic() - began:.0f} s; written to {OUT.relative_to(Path.cwd())}")
    return 0


def _quick(bench: Bench) -> None:
    _head()
    for load in (hammer(1, SHALLOW), hammer(1, DEEP), hammer(2, SHALLOW)):
        bench.own(load, 2)
    _costs(bench, rounds=3, readings=1)
    _served(bench, served(1))


def _whole(bench: Bench, turns: int) -> None:
    # First what is ours, so that it is there however long others take.
    _costs(bench, rounds=15, readings=3)
    bench.gate = gate_cost(turns=2)
    _say(
        f"\ngo test on the sample: alone {bench.gate.plain_s:.2f} s, under cgoleak check "
        f"{bench.gate.checked_s:.2f} s (goal {bench.gate.goal_s:.2f} s)"
    )
    _served(bench, served(turns))
    for wrapper in wrappers(bench.scratch):
        _served(bench, served_under(wrapper))
    _head()
    loads = hammers((1, 2, 4))
    plain = {load.name: bench.own(load, turns) for load in loads}
    bench.add([plain_pairs(loads[0], turns)])
    go = shutil.which("go")
    library = sqlite(bench.scratch, go) if go else "go is not on the PATH"
    if isinstance(library, Load):
        bench.peers(library, bench.own(library, turns))
    else:
        bench.add([Pairs("all", "go-sqlite3", skipped=library)])
    if bench.is_late:
        bench.add([Pairs(ASAN, load.name, skipped=_LATE) for load in loads])
    else:
        for row in asan_pairs(loads, plain, go):
            bench.add([row])
            if bench.is_late:
                break
    for load in loads:
        bench.peers(load, plain[load.name])


def _head() -> None:
    _say(f"\n{_machine()}\nnanoseconds per pair of malloc and free, or per turn of go-sqlite3\n")
    _say(f"{'tool':<24}{'load':<26}{'plain':>12}{'with':>14}{'added':>14}{'times':>8}  frames")


def _line(row: Pairs) -> str:
    head = f"{row.tool:<24}{row.load:<26}"
    if row.skipped:
        return f"{head}  not run: {row.skipped}"
    return (
        f"{head}{row.plain_ns:>12,.1f}{row.with_ns:>14,.1f}{row.added_ns:>14,.1f}{row.times:>8.1f}"
        f"  {row.frames or ''}"
    )


def _costs(bench: Bench, rounds: int, readings: int) -> None:
    bench.attach = attach_costs(rounds)
    bench.rendering = [*snapshot_costs(rounds), *rendering_costs(readings)]
    for title, costs in (
        ("attach and detach: median (worst)", bench.attach),
        ("from tables and captures to reports, CPU time: median (worst)", bench.rendering),
    ):
        _say(f"\n{title}")
        for cost in costs:
            times = "" if cost.times is None else f"{cost.times:>7.1f} times"
            _say(f"  {cost.what:<50}{cost.median:>10.1f} ({cost.worst:.1f}) {cost.unit}{times}")


def _served(bench: Bench, rows: list[Served]) -> None:
    if not bench.http:
        _say("\nsample worker, four clients as fast as they are answered (best turn)")
    bench.http.extend(rows)
    for row in rows:
        if row.skipped:
            _say(f"  {row.way:<30}not run: {row.skipped}")
            continue
        share = row.per_second / bench.http[0].per_second
        _say(
            f"  {row.way:<30}{row.per_second:>8.0f} requests/s ({share:.1%})"
            f"{row.p99_ms:>8.1f} ms p99,"
            f"{row.events_per_second:>11,.0f} events/s"
        )


def _machine() -> str:
    cpus = len(os.sched_getaffinity(0))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"{today}, {platform.machine()}, {cpus} cores, Linux {platform.release()}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
