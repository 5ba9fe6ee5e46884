"""``make bench``: what a measurement costs the target, beside what else is installed.

Each row runs the same loop (malloc and free of one block, in C under Go) without anything and then
with one tool, in turns, and gives the best block of each: these machines are noisy, and the best is
what the code can do. The ratios are what counts. Rows that cannot be run say why.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.attach import Cost, attach_costs
from tests.bench.http import served
from tests.bench.pairs import (
    Pairs,
    asan_pairs,
    cgoleak_pairs,
    heaptrack_pairs,
    plain_pairs,
    sampled_pairs,
    valgrind_pairs,
)
from tests.bench.rendering import rendering_costs
from tests.bench.snapshot import snapshot_costs

OUT = Path(__file__).resolve().parents[2] / "out" / "bench.json"

_SHAPES = (
    ("1 thread, shallow stack", ["-threads", "1", "-depth", "0"]),
    ("1 thread, 25 C frames", ["-threads", "1", "-depth", "20"]),
    ("1 thread, 40 C frames", ["-threads", "1", "-depth", "36"]),
    ("2 threads, shallow stack", ["-threads", "2", "-depth", "0"]),
)


def main() -> int:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="turns per row; the best counts")
    parser.add_argument("--quick", action="store_true", help="one turn, cgoleak only")
    options = parser.parse_args()
    turns = 1 if options.quick else options.turns
    rows: list[Pairs] = []
    _say(f"{_machine()}\n\nmalloc+free pair of 64 bytes, nanoseconds (best block)\n")
    _say(f"{'tool':<22}{'load':<28}{'plain':>8}{'with':>9}{'added':>8}{'times':>7}  frames")
    for name, arguments in _SHAPES:
        tools = (cgoleak_pairs, sampled_pairs)
        for tool in tools if options.quick else (*tools, heaptrack_pairs):
            rows.append(tool(name, arguments, turns))
            _say(_line(rows[-1]))
    if not options.quick:
        rows.append(asan_pairs(*_SHAPES[0], turns))
        _say(_line(rows[-1]))
        rows.append(valgrind_pairs(*_SHAPES[0]))
        _say(_line(rows[-1]))
        rows.append(plain_pairs("the same twice: noise", _SHAPES[0][1], turns))
        _say(_line(rows[-1]))
    costs = attach_costs(rounds=3 if options.quick else 15)
    _say("\nattach and detach, idle Go worker: median (worst)")
    for cost in costs:
        _say(_cost_line(cost))
    reading = snapshot_costs(rounds=3 if options.quick else 15)
    rendering = rendering_costs(rounds=3 if options.quick else 7)
    _say(
        "\nfrom the tables to a report, CPU time: median (worst), and how many times the row above"
    )
    for cost in (*reading, *rendering):
        _say(_cost_line(cost))
    _say("\nsample worker, four clients as fast as they are answered (best turn)")
    answers = served(turns)
    for row in answers:
        share = row.per_second / answers[0].per_second
        _say(
            f"  {row.way:<10}{row.per_second:>8.0f} requests/s ({share:.1%})"
            f"{row.p99_ms:>8.1f} ms p99,"
            f"{row.events_per_second:>11,.0f} events/s"
        )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(
        json.dumps(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": _machine(),
                "pairs": [row.as_json() for row in rows],
                "http": [row.as_json() for row in answers],
                "attach": [cost.as_json() for cost in costs],
                "reading": [cost.as_json() for cost in reading],
                "rendering": [cost.as_json() for cost in rendering],
            },
            indent=2,
        )
        + "\n"
    )
    _say(f"\nwritten to {OUT.relative_to(Path.cwd())}")
    return 0


def _line(row: Pairs) -> str:
    head = f"{row.tool:<22}{row.load:<28}"
    if row.skipped:
        return f"{head}  not run: {row.skipped}"
    return (
        f"{head}{row.plain_ns:>8.1f}{row.with_ns:>9.1f}{row.added_ns:>8.1f}{row.times:>7.1f}"
        f"  {row.frames or ''}"
    )


def _cost_line(cost: Cost) -> str:
    times = "" if cost.times is None else f"{cost.times:>7.1f} times"
    return f"  {cost.what:<50}{cost.median:>10.1f} ({cost.worst:.1f}) {cost.unit}{times}"


def _machine() -> str:
    cpus = len(os.sched_getaffinity(0))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"{today}, {platform.machine()}, {cpus} cores, Linux {platform.release()}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
