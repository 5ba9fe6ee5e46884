"""``cgoleak report CAPTURE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgoleak.cli.garbage import uncollected
from cgoleak.cli.inputs import open_report
from cgoleak.cli.options import ReportOptions, report_options
from cgoleak.cli.outputs import plan_outputs
from cgoleak.cli.screen import deliver
from cgoleak.cli.stopping import raise_on_interrupt

__all__ = ["command"]


@click.command("report")
@click.argument("capture", type=click.Path(path_type=Path))
@report_options
def command(capture: Path, **report: Any) -> int:
    """Render a capture again, in any format.

    The capture holds all names and lines: neither the process nor its files are needed. A JSON
    report is taken as well, and is told as it was judged then.

    \b
    Examples:
      cgoleak report leak.cgoleak
      cgoleak report leak.cgoleak --top 50 --full-stacks
      cgoleak report leak.cgoleak -o leak.json --force
    """
    options = ReportOptions(**report)
    outputs = plan_outputs(options.outputs, force=options.force, capture_allowed=False)
    raise_on_interrupt()
    with uncollected():
        deliver(open_report(capture, options.policy), options, outputs)
    return 0
