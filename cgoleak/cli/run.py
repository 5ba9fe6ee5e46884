"""``cgoleak run -- CMD…``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cgoleak import pipeline
from cgoleak.cli.options import Following, ReportOptions, recording_options, report_options, seconds
from cgoleak.cli.outputs import plan_outputs
from cgoleak.cli.pairs import PairOptions
from cgoleak.cli.progress import show_progress
from cgoleak.cli.screen import deliver
from cgoleak.cli.stopping import stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("run", context_settings={"ignore_unknown_options": False})
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
@click.option(
    "--duration",
    type=seconds,
    metavar="TIME",
    default=None,
    help="Detach after this time; CMD runs on.",
)
@recording_options
@report_options
def command(
    cmd: tuple[str, ...],
    *,
    duration: float | None,
    interval: float | None,
    exact: bool,
    sample: int | None,
    max_overhead: float | None,
    pair: tuple[str, ...],
    pair_set: tuple[str, ...],
    pair_config: tuple[Path, ...],
    **report: Any,
) -> int:
    """Start a command and watch it from its first instruction to its end.

    CMD keeps standard input, output and error for itself, and its exit status is passed on (128
    and the signal's number if it was killed). Since CMD may write to standard output, the report
    goes to standard error, in any format; scripts take it from a file: -o leak.json.

    \b
    Examples:
      cgoleak run -- ./worker --port 8080
      cgoleak run -o leak.json --quiet -- ./worker.test -test.count=20
    """
    options = ReportOptions(**report)
    outputs = plan_outputs(options.outputs, force=options.force)
    following = Following(exact, sample, max_overhead)
    plan = pipeline.RecordPlan(
        duration_s=duration or None,
        interval_s=interval,
        sample_bytes=following.sample,
        max_overhead=following.limit,
        families=PairOptions(pair, pair_set, pair_config).families(),
    )
    name = cmd[0].rpartition("/")[2]
    with stop_on_signals() as stop:
        # No live line: it would be drawn over what CMD prints on the same terminal.
        with show_progress(name, quiet=options.quiet, live=False, every_s=30.0) as progress:
            result = pipeline.run(cmd, plan, capture=outputs.capture, progress=progress, stop=stop)
        deliver(
            pipeline.analyse(result.capture, options.policy),
            options,
            outputs,
            screen=sys.stderr,
        )
    return result.exit_status or 0
