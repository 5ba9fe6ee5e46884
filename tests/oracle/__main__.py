"""The table: ``PYTHONPATH=tests python -m oracle [--calls N] [PROGRAM …]``.

Status 1 if the probe has recorded a stack otherwise than gdb saw it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from oracle.comparing import Compared, compare, missing
from oracle.programs import PROGRAMS, running

_COLUMNS = "{:<14}{:>7}{:>8}{:>7}{:>6}{:>9}{:>11}{:>11}{:>7}{:>8}  {}"


def main() -> int:
    """Compare in every program; print a row each."""
    parser = argparse.ArgumentParser(prog="python -m oracle", description=__doc__)
    parser.add_argument("--calls", type=int, default=600, help="calls looked at in each (600)")
    parser.add_argument("--seconds", type=float, default=90, help="at most so long (90)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("only", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    options = parser.parse_args()
    if reason := missing():
        _say(f"not compared: {reason}")
        return 0
    _say(
        _COLUMNS.format(
            *("program", "calls", "stacks", "same", "cut", "C only", "callbacks", "outer C"),
            *("deepest", "wrong", "frames compared (C + Go)"),
        )
    )
    wrong = 0
    for name in options.only or PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="cgoleak-oracle-") as folder:
            try:
                with running(name, Path(folder)) as pid:
                    found = compare(
                        pid,
                        Path(folder),
                        calls=options.calls,
                        seconds=options.seconds,
                        seed=options.seed,
                    )
            except (OSError, subprocess.SubprocessError) as exc:
                _say(f"{name:<14}not built: {exc}")
                continue
        _say(_row(name, found))
        for text in found.wrong[:4]:
            _say(f"  {text}")
        wrong += len(found.wrong) + (not found.stacks)
    return int(wrong > 0)


def _row(name: str, found: Compared) -> str:
    return _COLUMNS.format(
        *(name, found.calls, found.stacks, found.same, found.cut, found.c_only),
        *(found.callbacks, found.outer, found.deepest, len(found.wrong)),
        f"{found.c_frames} + {found.go_frames}",
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
