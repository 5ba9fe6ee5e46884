"""``make handback``: the classic demonstration, watched from outside, as a table."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from cgoleak.capture import open_capture
from support.handback import hand_back_of, story, watched
from support.sample import ROOT

OUT = ROOT.parent / "out" / "handback"


def main() -> int:
    """Run it, some six minutes, or read what was recorded; print the table."""
    parser = argparse.ArgumentParser(prog="make handback", description=__doc__)
    parser.add_argument("--keep", type=Path, default=OUT, help="where report and capture go")
    parser.add_argument("--from", type=Path, dest="source", help="a capture of it")
    options = parser.parse_args()
    source = options.source
    if source is None:
        folder = options.keep / "bar-watched"
        for file in ("capture.cgoleak", "report.json"):
            (folder / file).unlink(missing_ok=True)
        # A shell lets what it starts in the background ignore Ctrl-C, which is how the watch ends.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        source = watched(ROOT / "bin", folder).capture_file
    for line in story(hand_back_of(open_capture(source))):
        sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
