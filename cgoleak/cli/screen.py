"""From a report to the screen and to files."""

from __future__ import annotations

import os
import sys
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

from cgoleak.cli.outputs import write_file
from cgoleak.cli.sourcetree import source_tree, working_directory
from cgoleak.cli.streams import discard
from cgoleak.errors import OutputError
from cgoleak.model.notice import CAPTURE_CUT
from cgoleak.render.base import DIFFERENCES, format_by_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from cgoleak.cli.options import ReportOptions
    from cgoleak.cli.outputs import Outputs
    from cgoleak.model.difference import Difference
    from cgoleak.model.report import Report

__all__ = ["deliver", "deliver_difference", "print_bytes", "wants_color", "write_reports"]


def deliver(
    report: Report, options: ReportOptions, outputs: Outputs, *, screen: TextIO | None = None
) -> None:
    """Write the files that were asked for, and print the report on ``screen`` (standard output).

    Files come first: a reader of the screen may go away.

    Raises:
        OutputError: a file or the screen refuses.
    """
    refused = None
    try:
        write_reports(report, options, outputs)
    except OutputError as error:
        refused = error
    _show(report, options, outputs, screen or sys.stdout)
    if refused is not None:
        raise refused
    cut = next((one for one in report.notices if one.code == CAPTURE_CUT), None)
    if outputs.capture is not None and cut is not None:
        raise OutputError(f"cannot write all of {outputs.capture}", cause=cut.text, fix=cut.fix)


def _show(report: Report, options: ReportOptions, outputs: Outputs, stream: TextIO) -> None:
    if options.quiet and (outputs.reports or outputs.capture):
        return
    printed = format_by_name(options.format)
    assert printed is not None, "click.Choice lets no other name through"
    document = BytesIO()
    width, height = _size(stream)
    color = wants_color(stream, off=options.no_color)
    printed.make(**_chosen(options), width=width, height=height, color=color).render(
        report, document
    )
    print_bytes(document.getvalue(), stream)


def write_reports(report: Report, options: ReportOptions, outputs: Outputs) -> None:
    """Write the files that were asked for; one that is refused does not keep back the others.

    Raises:
        OutputError: a file is refused, the first of them.
    """
    refused = []
    for path, known in outputs.reports:
        renderer = known.make(**_chosen(options))
        try:
            write_file(path, partial(renderer.render, report), force=options.force)
        except OutputError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def deliver_difference(
    difference: Difference,
    outputs: Outputs,
    *,
    format: str,  # noqa: A002 - the option's name
    force: bool,
    quiet: bool,
    no_color: bool,
    options: Mapping[str, object],
) -> None:
    """Write and print a difference as ``deliver`` does a report; ``options`` are renderers'.

    Raises:
        OutputError: a file or the screen refuses.
    """
    for path, known in outputs.reports:
        write_file(path, partial(known.make(**options).render, difference), force=force)
    if quiet and outputs.reports:
        return
    printed = format_by_name(format, DIFFERENCES)
    assert printed is not None, "click.Choice lets no other name through"
    document = BytesIO()
    stream = sys.stdout
    look = {"width": _size(stream)[0], "color": wants_color(stream, off=no_color)}
    printed.make(**options, **look).render(difference, document)
    print_bytes(document.getvalue(), stream)


def _chosen(options: ReportOptions) -> dict[str, object]:
    return {
        "top": options.top,
        "full_stacks": options.full_stacks,
        "lang": options.lang,
        "source": options.source,
        "tree": source_tree(working_directory()),
    }


def print_bytes(content: bytes, stream: TextIO) -> None:
    """Write UTF-8 whatever the locale says; a reader that went away (``| head``) is no error.

    Raises:
        OutputError: the device is full or broken.
    """
    try:
        stream.flush()
        stream.buffer.write(content)
        stream.buffer.flush()
    except OSError as error:
        discard(stream)
        if isinstance(error, BrokenPipeError):
            return
        raise OutputError(
            f"cannot write to {stream.name}",
            cause=error.strerror,
            fix="make room there, or write elsewhere",
        ) from error


def wants_color(stream: TextIO, *, off: bool) -> bool:
    """Colours on terminals only, and not against NO_COLOR (no-color.org) or TERM=dumb."""
    if off or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def _size(stream: TextIO) -> tuple[int | None, int | None]:
    """Columns and lines of the terminal, or None for files and pipes."""
    if not stream.isatty():
        return None, None
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, None
    return columns or 80, lines or None
