"""``python -m cgoleak`` and the ``cgoleak`` script."""

from __future__ import annotations

import signal
import sys

# Until a command is ready to answer it, Ctrl-C just ends the program: as an exception in the middle
# of an import it would print a traceback, or be swallowed by whatever it meets.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from cgoleak.cli.main import run_command_line

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and leave with its status."""
    sys.exit(run_command_line())


if __name__ == "__main__":
    main()
