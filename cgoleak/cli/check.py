"""``cgoleak check``: the gate of a pipeline."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cgoleak import pipeline
from cgoleak.capture.reader import open_capture
from cgoleak.cli.checkout import in_folder, make_folder, step_summary_for, told_briefly
from cgoleak.cli.options import (
    Following,
    ReportOptions,
    pair_options,
    process_id,
    report_options,
    seconds,
    some_seconds,
)
from cgoleak.cli.outputs import plan_outputs
from cgoleak.cli.pairs import PairOptions
from cgoleak.cli.policy import Rules, program_name, read_rules, update_baseline
from cgoleak.cli.progress import show_progress
from cgoleak.cli.screen import deliver, print_bytes, write_reports
from cgoleak.cli.stopping import stop_on_signals
from cgoleak.cli.streams import tell
from cgoleak.errors import NoCgo
from cgoleak.verdict.gate import decide, guarded

if TYPE_CHECKING:
    from cgoleak.cli.outputs import Outputs
    from cgoleak.model.capture import Capture
    from cgoleak.model.report import Report

__all__ = ["command"]

_OVER_POLICY = 1
_HINT = "write: cgoleak check -- CMD…, or --pid PID, or a capture"


class _CheckCommand(click.Command):
    """Keeps what stands behind ``--`` apart, which click does not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta["cgoleak.command"] = tuple(args[place + 1 :])
            args = args[:place]
        return super().parse_args(ctx, args)


@click.command("check", cls=_CheckCommand, options_metavar="[OPTIONS]")
@click.argument("capture", required=False, metavar="[CAPTURE | -- CMD...]")
@click.option("--pid", type=process_id, metavar="PID", help="Check a running process.")
@click.option(
    "--duration",
    type=seconds,
    metavar="TIME",
    default=None,
    help="How long to measure; of a process 60s, of CMD until it ends.",
)
@click.option(
    "--settle",
    type=seconds,
    metavar="TIME",
    default="10s",
    show_default=True,
    help="With --pid: how long to wait for two GC cycles before the closing snapshot.",
)
@click.option("--interval", type=some_seconds, metavar="TIME", help="Time between two snapshots.")
@click.option(
    "--max-overhead",
    type=click.FloatRange(min=0, min_open=True),
    metavar="PERCENT",
    help="Sample once following every allocation takes more of the target's CPU time. A gate has "
    "no limit by itself: what it lets pass must not be a matter of chance.",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The policy; else cgoleak.toml or [tool.cgoleak] in pyproject.toml, here or above.",
)
@click.option(
    "--suppressions",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="More suppressions, in LeakSanitizer's format. Repeatable.",
)
@click.option(
    "--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Known sites: pass them."
)
@click.option("--update-baseline", is_flag=True, help="Write the baseline instead of failing.")
@click.option("--suspect", type=click.Choice(["warn", "fail"]), help="What suspect sites do.")
@click.option(
    "--per", type=click.IntRange(min=1), metavar="N", help="CMD makes N iterations: count by them."
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write JSON, SARIF, JUnit and text there, under the program's name.",
)
@pair_options
@report_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    capture: str | None,
    pid: int | None,
    duration: float | None,
    settle: float,
    interval: float | None,
    max_overhead: float | None,
    policy: Path | None,
    suppressions: tuple[Path, ...],
    baseline: Path | None,
    update_baseline: bool,
    suspect: str | None,
    per: int | None,
    output_dir: Path | None,
    pair: tuple[str, ...],
    pair_set: tuple[str, ...],
    pair_config: tuple[Path, ...],
    **report: Any,
) -> int:
    """Fail when C memory leaks: a command, a running process, or a capture.

    CMD runs as it would alone, and is judged by what nobody can free any more when it ends. Its own
    failure counts more than cgoleak's; the report is written whatever happens. As with run, the
    report goes to standard error, since CMD may write to standard output.

    \b
    Exit status:
      0 within policy   1 over policy   2 wrong use or policy   3 could not measure
      and CMD's own if that is not 0

    \b
    Examples:
      cgoleak check -- ./worker.test -test.count=20
      go test -count=1 -ldflags='-s=false -w=false' -exec 'cgoleak check --' ./...
      cgoleak check --pid 4242 --duration 5m -o leak.sarif
      cgoleak check leak.cgoleak --suspect fail
    """
    options = ReportOptions(**report)
    cmd: tuple[str, ...] | None = ctx.meta.get("cgoleak.command")
    if (cmd is not None) + (pid is not None) + (capture is not None) != 1 or cmd == ():
        nothing = not cmd and pid is None and capture is None
        what = "nothing to check" if nothing else "one thing is checked at a time"
        raise click.UsageError(f"{what}; {_HINT}", ctx)
    outputs = plan_outputs(options.outputs, force=options.force, capture_allowed=capture is None)
    if output_dir is not None:
        make_folder(output_dir)
    rules = read_rules(
        policy=policy,
        suppressions=suppressions,
        baseline=baseline,
        suspect=suspect,
        min_age=options.min_age,
        per=per,
        updating=update_baseline,
    )
    plan = pipeline.RecordPlan(
        duration_s=duration,
        interval_s=interval,
        settle_s=settle,
        closing=True,
        max_overhead=Following(exact=max_overhead is None, max_overhead=max_overhead).limit,
        families=PairOptions(pair, pair_set, pair_config).families(),
    )
    status = None
    if cmd is not None:
        program = program_name(cmd[0], rules)
        try:
            status, measured = _of_command(cmd, plan, outputs)
        except NoCgo:
            _unmeasured(cmd, program)
    elif pid is not None:
        measured = _of_process(pid, plan, options, outputs)
        program = program_name(measured.target.exe, rules)
    else:
        measured = _of_file(str(capture))
        program = program_name(measured.target.exe, rules)
    told = _decided(measured, rules, program, updating=update_baseline)
    if output_dir is not None:
        outputs = in_folder(outputs, output_dir, program)
        options = replace(options, force=True)
    _show(told, options, outputs, to_stderr=cmd is not None)
    assert told.gate is not None
    return status or (0 if told.gate.passed else _OVER_POLICY)


def _of_command(
    cmd: tuple[str, ...], plan: pipeline.RecordPlan, outputs: Outputs
) -> tuple[int, Capture]:
    with stop_on_signals() as stop:
        try:
            result = pipeline.run(cmd, plan, capture=outputs.capture, progress=None, stop=stop)
        except NoCgo:
            if stop.is_set():
                raise click.Abort from None  # it is not started only to be ended
            raise
    return result.exit_status or 0, result.capture


def _of_process(
    pid: int, plan: pipeline.RecordPlan, options: ReportOptions, outputs: Outputs
) -> Capture:
    if plan.duration_s is None:
        plan = replace(plan, duration_s=60.0)
    with (
        stop_on_signals() as stop,
        show_progress(f"pid {pid}", quiet=options.quiet, live=True) as progress,
    ):
        return pipeline.attach(
            pid, plan, capture=outputs.capture, progress=progress, stop=stop
        ).capture


def _of_file(name: str) -> Capture:
    path = Path(name)
    with suppress(OSError), path.open("rb") as file:
        if file.read(4) == b"\x7fELF":
            raise click.UsageError(f"{name} is a program: write: cgoleak check -- {name}")
    return open_capture(path)


def _unmeasured(cmd: tuple[str, ...], program: str) -> NoReturn:
    """Become a program without C code: it has no malloc to leak from. It has not run so far.

    As a child of ours it would outlive us where only we are told to end. What Python ignores is
    given back first, as ``subprocess`` does.
    """
    tell(f"cgoleak: {program}: no C code in it, nothing to check")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(cmd[0], cmd)  # noqa: S606 - the command that we were given


def _show(report: Report, options: ReportOptions, outputs: Outputs, *, to_stderr: bool) -> None:
    step_summary_for(report, options)
    brief = told_briefly(report, options)
    if brief is None:
        deliver(report, options, outputs, screen=sys.stderr if to_stderr else sys.stdout)
        return
    write_reports(report, options, outputs)
    if not options.quiet:
        print_bytes(brief.encode(), sys.stderr if to_stderr else sys.stdout)


def _decided(capture: Capture, rules: Rules, program: str, *, updating: bool) -> Report:
    report = pipeline.analyse(capture, rules.policy)
    known = rules.known
    if updating:
        path, known = update_baseline(rules, program, guarded(report))
        tell(f"cgoleak: {program}: baseline written to {path}")
    gate = decide(
        report,
        rules.limits,
        program=program,
        policy=str(rules.source) if rules.source else None,
        baseline=known,
        suppressions=rules.suppressions,
    )
    return replace(report, gate=gate)
