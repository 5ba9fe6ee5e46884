"""``cgoleak ps``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cgoleak.cli.options import list_format_option
from cgoleak.cli.screen import print_bytes
from cgoleak.render.visible import visible
from cgoleak.target.listing import list_go_processes
from cgoleak.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgoleak.target.listing import Listing

__all__ = ["command"]


@click.command("ps")
@click.option("--all", "-a", "show_all", is_flag=True, help="List Go processes without cgo too.")
@list_format_option
def command(*, show_all: bool, format: str) -> int:  # noqa: A002 - the option's name
    """List the Go processes of this machine.

    \b
    Examples:
      cgoleak ps
      cgoleak ps --all --format json
    """
    listing = list_go_processes()
    if format == "json":
        shown = [asdict(process) for process in listing.processes if show_all or process.cgo]
        document = {"schema": "cgoleak.ps/1", "processes": shown, "hidden": listing.hidden}
        print_bytes(json.dumps(document, indent=2).encode() + b"\n", sys.stdout)
    else:
        text = "".join(f"{line}\n" for line in _lines(listing, show_all=show_all))
        print_bytes(text.encode("utf-8", "replace"), sys.stdout)
    return 0


def _lines(listing: Listing, *, show_all: bool) -> Iterator[str]:
    shown = [process for process in listing.processes if show_all or process.cgo]
    if shown:
        names = max(4, *(len(visible(process.name)) for process in shown))
        yield f"{'pid':>8}  {'Go':<12}{'cgo':<5}{'RSS':>10}  {'name':<{names}}  attach"
        for process in shown:
            rss = "?" if process.rss_bytes is None else format_bytes(process.rss_bytes)
            yield (
                f"{process.pid:>8}  {visible(process.go_version or '?'):<12}"
                f"{'yes' if process.cgo else 'no':<5}{rss:>10}  {visible(process.name):<{names}}  "
                f"{'yes' if process.refusal is None else f'no: {process.refusal}'}"
            )
    else:
        yield "no Go process with C code found"
    without = 0 if show_all else len(listing.processes) - len(shown)
    if without:
        yield f"{without} Go without C code left out (--all lists them)"
    if listing.hidden:
        hint = "" if os.geteuid() == 0 else " (try as root)"
        noun = "process" if listing.hidden == 1 else "processes"
        yield f"{listing.hidden} other {noun} could not be looked into{hint}"
