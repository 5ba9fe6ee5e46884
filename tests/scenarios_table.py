"""``make scenarios``: every scenario of the sample once over its whole window, beside its truth.

Prints a row for each, then precision and recall of the causes and of the leaks over all of them;
status 1 if anything differs. The captures stay in the folder named: ``--from`` judges them again.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from support.sample import ROOT, scenarios
from support.scenario_runs import AT_A_TIME, measure, watch
from support.scenario_truth import Compared, compared, judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.sample import Scenario

OUT = ROOT.parent / "out" / "scenarios"


def main() -> int:
    """Record, or read what was recorded, and print the table."""
    parser = argparse.ArgumentParser(prog="make scenarios", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--keep", type=Path, default=OUT, help="where the captures go")
    parser.add_argument("--from", type=Path, dest="source", help="judge the captures in here")
    options = parser.parse_args()
    chosen = [one for one in scenarios() if not options.names or one.name in options.names]
    if options.source is None:
        record(chosen, options.keep)
    rows = [
        compared(one, judged(capture))
        for one in chosen
        if (capture := capture_in(options.source or options.keep, one)).exists()
    ]
    for line in (*table(rows), "", *totals(rows)):
        sys.stdout.write(line.rstrip() + "\n")
    return int(len(rows) < len(chosen) or any(row.differences for row in rows))


def record(chosen: Sequence[Scenario], folder: Path) -> None:
    """Measure some at a time, the longest first; what fails is said and leaves no capture."""

    def one(scenario: Scenario) -> None:
        capture_in(folder, scenario).unlink(missing_ok=True)
        run = watch if scenario.supervised else measure
        try:
            run(scenario, ROOT / "bin", folder / scenario.name, seconds=scenario.seconds)
        except (AssertionError, OSError) as failure:
            sys.stderr.write(f"{scenario.name}: {failure}\n")

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(one, sorted(chosen, key=lambda scenario: -scenario.seconds)))


def capture_in(folder: Path, scenario: Scenario) -> Path:
    return folder / scenario.name / "capture.cgoleak"


def table(rows: Sequence[Compared]) -> list[str]:
    """One row per scenario, one per site below it; ``!`` before what differs."""
    lines = [f"  {'scenario':<16}{'cause':<20}{'found':<20}{'unexplained':>12} of RSS"]
    for row in rows:
        mark = "!" if row.differences else " "
        unknown = "-" if row.unexplained is None else f"{row.unexplained / 1e6:.1f} MB"
        lines.append(
            f"{mark} {row.scenario.name:<16}{row.scenario.cause:<20}{row.cause:<20}{unknown:>12}"
            f" of {row.rss / 1e6:.0f} MB"
        )
        lines += [
            f"    {site.counter:<32} {site.verdict:<13}{found}" for site, found in row.verdicts
        ]
        lines += [f"  ! {difference}" for difference in row.differences]
        if row.cause != row.scenario.cause:
            lines.append(f"    {row.summary}")
    return lines


def totals(rows: Sequence[Compared]) -> list[str]:
    """Precision and recall of the causes, each and together, and of the leaks."""
    lines = []
    for cause in sorted({row.cause for row in rows} | {row.scenario.cause for row in rows}):
        right = sum(row.cause == cause == row.scenario.cause for row in rows)
        found = sum(row.cause == cause for row in rows)
        expected = sum(row.scenario.cause == cause for row in rows)
        lines.append(f"cause {cause:<20}{_shares(right, found, expected)}")
    right = sum(row.cause == row.scenario.cause for row in rows)
    lines.append(f"causes in all             {right} of {len(rows)} are right")
    hits = sum(row.hits for row in rows)
    strays = sum(len(row.strays) for row in rows)
    missed = sum(row.missed for row in rows)
    lines.append(f"sites native-leak         {_shares(hits, hits + strays, hits + missed)}")
    return lines


def _shares(right: int, found: int, expected: int) -> str:
    precision = f"{100 * right / found:.0f} %" if found else "-"
    recall = f"{100 * right / expected:.0f} %" if expected else "-"
    return (
        f"precision {precision:>5} ({right} of {found})"
        f"   recall {recall:>5} ({right} of {expected})"
    )


if __name__ == "__main__":
    sys.exit(main())
