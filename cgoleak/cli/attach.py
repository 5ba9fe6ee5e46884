"""``cgoleak attach PID``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cgoleak import pipeline
from cgoleak.cli.live import live_view
from cgoleak.cli.options import (
    Following,
    ReportOptions,
    live_option,
    process_id,
    recording_options,
    report_options,
    seconds,
)
from cgoleak.cli.outputs import plan_outputs
from cgoleak.cli.pairs import PairOptions
from cgoleak.cli.progress import show_progress
from cgoleak.cli.screen import deliver
from cgoleak.cli.stopping import stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("attach")
@click.argument("pid", type=process_id)
@click.option(
    "--duration",
    type=seconds,
    metavar="TIME",
    default="60s",
    show_default=True,
    help="How long to measure; 0 means until Ctrl-C.",
)
@recording_options
@live_option
@report_options
def command(
    pid: int,
    *,
    duration: float,
    interval: float | None,
    exact: bool,
    sample: int | None,
    max_overhead: float | None,
    live: bool,
    pair: tuple[str, ...],
    pair_set: tuple[str, ...],
    pair_config: tuple[Path, ...],
    **report: Any,
) -> int:
    """Watch a running Go/cgo process and report its native leaks.

    The process goes on running; it stands still for some milliseconds at the beginning. Ctrl-C
    ends the measurement early: cgoleak detaches and reports what it saw.

    On a terminal the report is shown while it grows: ? names the keys, q finishes. The report
    goes to standard output, progress to standard error.

    \b
    Examples:
      cgoleak attach 4242
      cgoleak attach 4242 --duration 5m -o leak.json -o leak.cgoleak
      cgoleak attach 4242 --format json --quiet
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
    subject = f"pid {pid}"
    with stop_on_signals() as stop:
        with (
            live_view(subject, options, stop, wanted=live, sample_bytes=plan.sample_bytes) as view,
            show_progress(
                subject, quiet=options.quiet, live=True, view=view.show if view else None
            ) as progress,
        ):
            result = pipeline.attach(
                pid,
                plan,
                capture=outputs.capture,
                progress=progress,
                stop=stop,
                interim=view.interim if view else None,
            )
        deliver(pipeline.analyse(result.capture, options.policy), options, outputs)
    return 0
