"""``cgoleak watch PID`` and ``cgoleak watch --exe PATH``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgoleak import pipeline
from cgoleak.cli.live import live_view
from cgoleak.cli.options import (
    Following,
    ReportOptions,
    following_options,
    live_option,
    process_id,
    rate,
    report_options,
    seconds,
    some_seconds,
)
from cgoleak.cli.outputs import plan_outputs
from cgoleak.cli.screen import deliver
from cgoleak.cli.stopping import stop_on_signals
from cgoleak.cli.watchlines import show_watch

__all__ = ["command"]


@click.command("watch")
@click.argument("pid", type=process_id, required=False)
@click.option(
    "--exe",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Watch the process that runs this program, now or when it is started.",
)
@click.option(
    "--interval",
    type=some_seconds,
    metavar="TIME",
    default="1s",
    show_default=True,
    help="Time between two readings.",
)
@click.option(
    "--duration",
    type=seconds,
    metavar="TIME",
    default="0",
    help="How long to watch; until Ctrl-C if not given.",
)
@click.option(
    "--attach-on-growth",
    type=rate,
    metavar="RATE",
    help="Measure with hooks, once, when native memory grows by this: 200KiB/s, 10MiB/min.",
)
@click.option(
    "--attach-duration",
    type=some_seconds,
    metavar="TIME",
    default="60s",
    show_default=True,
    help="How long that measurement takes.",
)
@following_options
@live_option
@report_options
def command(
    pid: int | None,
    *,
    exe: Path | None,
    interval: float,
    duration: float,
    attach_on_growth: float | None,
    attach_duration: float,
    exact: bool,
    sample: int | None,
    max_overhead: float | None,
    live: bool,
    **report: Any,
) -> int:
    """Watch where memory goes, and restarts, from outside; no hooks.

    Nothing is put into the process and it never stands still. When it ends, its successor is
    recognised and followed, and the reason of the end is looked for. Ctrl-C ends the watch and
    reports. On a terminal the report is shown while it grows: ? names the keys, q finishes.

    \b
    Examples:
      cgoleak watch 4242
      cgoleak watch --exe /srv/bin/worker --duration 12h -o night.cgoleak -o night.json
      cgoleak watch 4242 --attach-on-growth 200KiB/s
    """
    from cgoleak import watching  # noqa: PLC0415 - not for --help

    if (pid is None) == (exe is None):
        raise click.UsageError(
            "give either PID or --exe PATH", ctx=click.get_current_context(silent=True)
        )
    options = ReportOptions(**report)
    outputs = plan_outputs(options.outputs, force=options.force)
    following = Following(exact, sample, max_overhead)
    if attach_on_growth is None and (exact or sample is not None or max_overhead is not None):
        raise click.UsageError(
            "without --attach-on-growth there are no hooks: nothing to follow",
            ctx=click.get_current_context(silent=True),
        )
    plan = watching.WatchPlan(
        pid=pid,
        exe=exe,
        interval_s=interval,
        duration_s=duration or None,
        attach_on_growth=attach_on_growth,
        attach_s=attach_duration,
        sample_bytes=following.sample,
        max_overhead=following.limit,
    )
    subject = f"pid {pid}" if exe is None else exe.name
    with stop_on_signals() as stop:
        with (
            live_view(subject, options, stop, wanted=live) as view,
            show_watch(subject, quiet=options.quiet, view=view.show if view else None) as progress,
        ):
            result = watching.watch(
                plan,
                capture=outputs.capture,
                progress=progress,
                stop=stop,
                interim=view.interim if view else None,
            )
        deliver(pipeline.analyse(result.capture, options.policy), options, outputs)
    return 0
