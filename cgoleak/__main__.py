"""``python -m cgoleak`` and the ``cgoleak`` script."""

from __future__ import annotations

import sys

from cgoleak.cli.main import run_command_line

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and leave with its status."""
    sys.exit(run_command_line())


if __name__ == "__main__":
    main()
