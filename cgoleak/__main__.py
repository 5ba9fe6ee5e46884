"""``python -m cgoleak`` and the ``cgoleak`` script."""

from __future__ import annotations

import signal

# Until a command is ready to answer it, Ctrl-C just ends the program: as an exception in the middle
# of an import it would print a traceback, or be swallowed by whatever it meets.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import atexit
import os
import sys
import threading

from cgoleak.cli.main import run_command_line
from cgoleak.cli.streams import discard

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and leave with its status."""
    _fill_closed_streams()
    status = run_command_line()
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)  # else Python ends with a status of its own, 120
    if "frida" in sys.modules or threading.active_count() > 1:
        sys.exit(status)
    _leave_at_once(status)


def _fill_closed_streams() -> None:
    """Put /dev/null in the place of standard streams that whoever started us has closed.

    The next file that is opened would be in their place, a capture for one, and get what is
    printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _leave_at_once(status: int) -> None:
    """End a process that only read and wrote files, without freeing its values one by one.

    Of a large capture there are a million, and the system takes their memory back at once: they
    cost a sixteenth of the time. What is to be done at the end is done; if standard output refuses
    what is left for it, Python ends as ever and says so.
    """
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None if closed by who started us
            stream.flush()
    except (OSError, ValueError):
        sys.exit(status)
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit leaves them out
    os._exit(status)


if __name__ == "__main__":
    main()
