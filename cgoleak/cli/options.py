"""Options that several commands share, as decorators and as values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cgoleak.model.words import LANGUAGES
from cgoleak.render.base import RENDERERS
from cgoleak.units import parse_rate, parse_seconds, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cgoleak.verdict.policy import Policy

__all__ = [
    "Following",
    "ReportOptions",
    "following_options",
    "format_option",
    "language_option",
    "list_format_option",
    "live_option",
    "pair_options",
    "process_id",
    "rate",
    "recording_options",
    "report_options",
    "seconds",
    "some_seconds",
]

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_MOST_SAMPLE_BYTES: Final = 1 << 32
_MAX_OVERHEAD: Final = 5.0
"""Per cent of the target's CPU time."""

_SUFFIXES: Final = " ".join(known.suffix for known in RENDERERS if known.suffix)


def seconds(value: str) -> float:
    """Read a time such as ``90s``, ``5m`` or ``1.5h`` into seconds; a plain number is seconds."""
    found = parse_seconds(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a time; write 90s, 5m or 1.5h")
    return found


def process_id(value: str) -> int:
    """Read the number of a process."""
    if not value.isdecimal() or int(value) == 0:
        raise click.BadParameter(f"{value!r} is not a pid; list the Go processes with: cgoleak ps")
    return int(value)


def rate(value: str) -> float:
    """Read a rate such as ``200KiB/s`` into bytes per second."""
    found = parse_rate(value)
    if not found:
        raise click.BadParameter(f"{value!r} is not a rate; write 200KiB/s or 10MiB/min")
    return found


def size(value: str) -> int:
    """Read a size such as ``512KiB``; a plain number is bytes."""
    found = parse_size(value)
    if not found or found > _MOST_SAMPLE_BYTES:
        raise click.BadParameter(f"{value!r} is not such a size; write 512KiB, 4GiB at most")
    return found


def some_seconds(value: str) -> float:
    """Read a time that cannot be zero: below a tenth of a second snapshots would be all we do."""
    time = seconds(value)
    if time < 0.1:
        raise click.BadParameter(f"{value!r} is too short; 100ms is the least")
    return time


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """How and where a report is wanted; built from the options of ``report_options``."""

    outputs: tuple[Path, ...]
    format: str
    force: bool
    top: int
    full_stacks: bool
    quiet: bool
    no_color: bool
    min_age: float | None = None
    lang: str = "en"
    source: Path | None = None

    @property
    def policy(self) -> Policy | None:
        """How sites are to be judged; None where nothing was said about it."""
        if self.min_age is None:
            return None
        from cgoleak.verdict.policy import Policy  # noqa: PLC0415 - not for --help

        return Policy(min_age_seconds=self.min_age)


def format_option(command: _Command) -> _Command:
    """Add ``--format``, of reports."""
    return _format_option([known.name for known in RENDERERS])(command)


def list_format_option(command: _Command) -> _Command:
    """Add ``--format`` to what prints a list: for people or for scripts."""
    return _format_option(["terminal", "json"])(command)


def _format_option(names: Sequence[str]) -> Callable[[_Command], _Command]:
    return click.option(
        "--format",
        "format",
        type=click.Choice(names),
        default="terminal",
        show_default=True,
        help="Format of what is printed.",
    )


def language_option(command: _Command) -> _Command:
    """Add ``--lang``; without it the locale tells the language of people's formats."""
    return click.option(
        "--lang",
        type=click.Choice(list(LANGUAGES)),
        default=_language_of_locale,
        help="Language of what people read (from the locale); scripts' formats stay as they are.",
    )(command)


def _language_of_locale() -> str:
    """Take the first variable that is set, as setlocale(3) does."""
    chosen = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    code = chosen[:2].lower()
    return code if code in LANGUAGES else "en"


def report_options(command: _Command) -> _Command:
    """Add the options of ``ReportOptions``, under its field names."""
    decorators = (
        click.option(
            "-o",
            "--output",
            "outputs",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="FILE",
            help=f"Also write a file; its suffix picks the format: {_SUFFIXES} .cgoleak (the "
            "capture). Repeatable.",
        ),
        format_option,
        click.option("--force", is_flag=True, help="Overwrite files that exist."),
        click.option(
            "--top",
            type=click.IntRange(min=1),
            default=10,
            show_default=True,
            metavar="N",
            help="Show at most N sites.",
        ),
        click.option(
            "--min-age",
            type=seconds,
            metavar="TIME",
            default=None,
            help="A site whose blocks are all younger than this makes no finding (5s).",
        ),
        click.option("--full-stacks", is_flag=True, help="Show cgo and runtime frames too."),
        click.option(
            "--quiet", "-q", is_flag=True, help="No progress; with -o, print no report either."
        ),
        click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR=1)."),
        language_option,
        click.option(
            "--source",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            metavar="DIR",
            default=None,
            help="Show lines of source from this directory in HTML; none are shown otherwise.",
        ),
    )
    return _decorate(command, decorators)


def live_option(command: _Command) -> _Command:
    """Add ``--no-live``, given to the command as ``live``."""
    return click.option(
        "--no-live",
        "live",
        flag_value=False,
        default=True,
        type=bool,
        help="One line of progress instead of the live view, as where there is no terminal.",
    )(command)


def recording_options(command: _Command) -> _Command:
    """Add the options of a measurement."""
    decorators = (
        click.option(
            "--interval",
            type=some_seconds,
            metavar="TIME",
            default=None,
            help="Time between two snapshots; chosen to suit the duration if not given.",
        ),
        following_options,
        pair_options,
    )
    return _decorate(command, decorators)


def following_options(command: _Command) -> _Command:
    """Add the options of ``Following``."""
    decorators = (
        click.option(
            "--exact",
            is_flag=True,
            help="Follow every allocation, whatever that costs.",
        ),
        click.option(
            "--sample",
            type=size,
            metavar="BYTES",
            default=None,
            help="Follow one allocation per so many bytes, in the mean, such as 512KiB; numbers "
            "are estimates then.",
        ),
        click.option(
            "--max-overhead",
            type=click.FloatRange(min=0, min_open=True),
            metavar="PERCENT",
            default=None,
            show_default=f"{_MAX_OVERHEAD:.0f}",
            help="Follow every allocation as long as that takes no more of the target's CPU time; "
            "then sample, but never so few that a leak of 16 KiB/s could not be judged.",
        ),
    )
    return _decorate(command, decorators)


def pair_options(command: _Command) -> _Command:
    """Add the options of ``PairOptions``, under its field names."""
    from cgoleak.cli.pairs import known_sets  # noqa: PLC0415  (only who records asks for them)

    decorators = (
        click.option(
            "--pair",
            multiple=True,
            metavar="CREATE:DESTROY",
            help="Also count what these two functions of a library make and give up; a third, "
            ":RESIZE, takes arguments as realloc does. Repeatable.",
        ),
        click.option(
            "--pair-set",
            multiple=True,
            metavar="NAME",
            help=f"The same by the functions of a known library: {', '.join(known_sets())}.",
        ),
        click.option(
            "--pair-config",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="FILE",
            help="The same by the functions that a TOML file describes (docs/pairs.md).",
        ),
    )
    return _decorate(command, decorators)


@dataclass(frozen=True, slots=True)
class Following:
    """Which allocations are followed: ``--exact``, ``--sample`` and ``--max-overhead``.

    Who asks for a rate gets it: the limit that holds by itself does not change it.

    Raises:
        click.UsageError: two of them contradict each other.
    """

    exact: bool = False
    sample: int | None = None
    max_overhead: float | None = None

    def __post_init__(self) -> None:
        if self.exact and (self.sample is not None or self.max_overhead is not None):
            other = "--sample" if self.sample is not None else "--max-overhead"
            raise click.UsageError(
                f"--exact follows every allocation: it does not go with {other}",
                ctx=click.get_current_context(silent=True),
            )

    @property
    def limit(self) -> float | None:
        """Share of the target's CPU time, 0 to 1, above which less is followed; None: no limit."""
        if self.max_overhead is not None:
            return self.max_overhead / 100
        return None if self.exact or self.sample is not None else _MAX_OVERHEAD / 100


def _decorate(
    command: _Command, decorators: tuple[Callable[[_Command], _Command], ...]
) -> _Command:
    """Apply decorators so that help lists the options in the order given."""
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
