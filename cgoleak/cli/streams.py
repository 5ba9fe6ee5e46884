"""Standard streams that a reader, or a full disk, has left."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["discard", "tell"]


def discard(stream: TextIO) -> None:
    """Let what is left in the buffer go nowhere: it must not fail again when Python closes it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def tell(text: str) -> None:
    """Print a line on standard error; that nobody can read it changes neither work nor status."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)
