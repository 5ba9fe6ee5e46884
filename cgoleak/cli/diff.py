"""``cgoleak diff BASE NEW``."""

from __future__ import annotations

from pathlib import Path

import click

from cgoleak.cli.inputs import open_report
from cgoleak.cli.options import language_option
from cgoleak.cli.outputs import plan_outputs
from cgoleak.cli.screen import deliver_difference
from cgoleak.cli.stopping import raise_on_interrupt
from cgoleak.render.base import DIFFERENCES
from cgoleak.verdict.compare import compare

__all__ = ["command"]


@click.command("diff")
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Also write a file; its suffix picks the format: .txt .html .json. Repeatable.",
)
@click.option(
    "--format",
    "format",
    type=click.Choice([known.name for known in DIFFERENCES]),
    default="terminal",
    show_default=True,
    help="Format of what is printed.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Show at most N sites.",
)
@click.option("--full-stacks", is_flag=True, help="Show cgo and runtime frames too.")
@click.option("--quiet", "-q", is_flag=True, help="With -o, print nothing.")
@click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR=1).")
@language_option
def command(
    base: Path,
    new: Path,
    *,
    outputs: tuple[Path, ...],
    format: str,  # noqa: A002 - the option's name
    force: bool,
    top: int,
    full_stacks: bool,
    quiet: bool,
    no_color: bool,
    lang: str,
) -> int:
    """Compare two measurements: sites gained, grown, shrunk, gone.

    BASE and NEW are captures or JSON reports. Sites are found again by name, so that a rebuild
    between the two does not matter. Where the windows differ in length, sites are compared by rate.

    \b
    Examples:
      cgoleak diff monday.cgoleak tuesday.cgoleak
      cgoleak diff base.json new.cgoleak -o diff.html
    """
    planned = plan_outputs(outputs, force=force, capture_allowed=False, formats=DIFFERENCES)
    raise_on_interrupt()
    deliver_difference(
        compare(open_report(base), open_report(new)),
        planned,
        format=format,
        force=force,
        quiet=quiet,
        no_color=no_color,
        options={"top": top, "full_stacks": full_stacks, "lang": lang},
    )
    return 0
