"""``make kinds``: every kind of allocator, binary and container once, beside what ought to come.

Each is built leaking and clean, measured by the real command line, and stressed for a moment.
Status 1 if a row is not as it should be. Words select rows by how they begin.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from kinds.kinds import KINDS
from kinds.measuring import Row, measured
from kinds.table import refresh, row_line, table_head
from support.go_programs import missing_tools


def main() -> int:
    """Measure what was asked for, a row each, as soon as it is there."""
    parser = argparse.ArgumentParser(prog="make kinds", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only rows that begin so")
    parser.add_argument("--no-stress", action="store_true", help="leave the last column out")
    parser.add_argument("--markdown", action="store_true", help="put the rows into the README")
    parser.add_argument("--list", action="store_true", help="name the kinds, and end")
    options = parser.parse_args()
    chosen = [k for k in KINDS if not options.names or k.name.startswith(tuple(options.names))]
    if options.list:
        sys.stdout.write("".join(f"{kind.name}\n" for kind in chosen))
        return 0
    if reason := missing_tools():
        sys.stderr.write(f"{reason}\n")
        return 3
    if not chosen:
        parser.error("no kind begins so; see --list")
    began = time.monotonic()
    _say(table_head())
    rows = []
    for kind in chosen:
        try:
            row = measured(kind, stress=not options.no_stress)
        except (AssertionError, OSError, subprocess.SubprocessError) as failure:
            row = Row(kind.name, "failed", wrong=[str(failure)[:400]])
        rows.append(row)
        _say(row_line(row))
        for wrong in row.wrong:
            _say(f"  ! {wrong}")
    wrong = sum(bool(row.wrong) for row in rows)
    skipped = sum(row.attach.startswith("skipped") for row in rows)
    right = len(rows) - wrong - skipped
    took = time.monotonic() - began
    _say(f"{right} of {len(rows)} rows are as they should be, {skipped} skipped; {took:.0f} s")
    if options.markdown:
        refresh(rows)
    return int(bool(wrong))


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
