"""The ``cgoleak`` command: finds the subcommand, and shows every error in one way.

Arguments → exit status. Only click is imported here: a subcommand's module, with all that it
needs, is imported when it is called, so that ``cgoleak --help`` answers at once.
"""

from __future__ import annotations

import errno
import select
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from cgoleak.cli.garbage import uncollected
from cgoleak.cli.streams import discard, tell
from cgoleak.errors import CgoleakError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "cli", "run_command_line"]

COMMANDS: Final = {
    "attach": "Watch a running Go/cgo process and report its native leaks.",
    "run": "Start a command and watch it from its first instruction to its end.",
    "check": "Fail when C memory leaks: a command, a running process, or a capture.",
    "watch": "Watch where memory goes, and restarts, from outside; no hooks.",
    "report": "Render a capture again, in any format.",
    "diff": "Compare two measurements: sites gained, grown, shrunk, gone.",
    "ps": "List the Go processes of this machine.",
    "doctor": "Check what measuring needs, each with its fix; changes nothing.",
    "explain": "Say what a verdict, a cause, a notice or a term means.",
}
"""Name → what ``cgoleak --help`` says of it, in its order."""

_WRONG_USE: Final = 2
_CANNOT: Final = 3
_BUG: Final = 70
_INTERRUPTED: Final = 130
_ELSEWHERE: Final = "make room there, or write elsewhere"


class _NoSuchCommand(click.UsageError):
    """Somebody wrote what is no command; says which may have been meant."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        super().__init__(f"there is no command {name!r}", ctx)
        self.fix: str | None
        if name.isdecimal():
            self.fix = f"write: cgoleak attach {name}"
        else:
            from cgoleak.spelling import known_names  # noqa: PLC0415 - only a mistake needs it

            _, self.fix = known_names(name, COMMANDS)


class _LazyGroup(click.Group):
    """Imports a command when it is called; its help line is known without."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        with uncollected():
            command = import_module(f"cgoleak.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise _NoSuchCommand(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click calls it so
    if value and not ctx.resilient_parsing:
        click.echo(f"cgoleak {_version_of('cgoleak')}")
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Find native memory leaks in a live Go/cgo process.

    No rebuild and no restart: cgoleak attaches, watches malloc and free in the C part, and names
    the leak at its C and its Go line.

    \b
    Examples:
      cgoleak ps
      cgoleak attach 4242 --duration 60s
      cgoleak run -o leak.json -- ./worker --port 8080

    Exit status: 0 measured, 1 check: over policy, 2 wrong use, 3 could not measure.
    """
    if ctx.invoked_subcommand is None:
        tell(ctx.get_help())
        ctx.exit(_WRONG_USE)


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; shows whatever goes wrong on standard error."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = cli.main(
            args=words,
            prog_name="cgoleak",
            standalone_mode=False,
        )
    except CgoleakError as error:
        _show(error.what, cause=error.cause, fix=error.fix)
        return error.exit_code
    except click.UsageError as error:
        _show(error.format_message(), cause=None, fix=_fix_of(error, words))
        return _WRONG_USE
    except click.ClickException as error:
        _show(error.format_message(), cause=None, fix=None)
        return _WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except SystemExit:
        # Click's answer to a broken pipe, with a status that is check's; ``| head`` is no error.
        if _has_no_reader(1):
            return 0
        _show_bug()
        return _BUG
    except OSError as error:
        return _of_system(error)
    except Exception:  # noqa: BLE001 - the one place where a bug is told as a bug
        _show_bug()
        return _BUG
    return status if isinstance(status, int) else 0


def _of_system(error: OSError) -> int:
    """Tell what the system refused, if that is no fault of ours."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        _show(
            "cannot open a file",
            cause=f"{error.strerror}: cgoleak opens the files of each library of the process",
            fix="raise the limit of its shell: ulimit -n 1024",
        )
        return _CANNOT
    if error.errno == errno.ENOSPC and error.filename is None:
        discard(sys.stdout)
        _show("cannot write to standard output", cause=error.strerror, fix=_ELSEWHERE)
        return _WRONG_USE
    _show_bug()
    return _BUG


def _has_no_reader(number: int) -> bool:
    """Tell whether a descriptor is a pipe that nobody reads from any more."""
    poll = select.poll()
    poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _fix_of(error: click.UsageError, words: Sequence[str]) -> str:
    context = error.ctx
    if context:
        path = context.command_path
    else:  # click's parser does not know where it is
        path = " ".join(["cgoleak", *(word for word in words[:1] if word in COMMANDS)])
    if isinstance(error, _NoSuchCommand) and error.fix:
        return error.fix
    if isinstance(error, click.NoSuchOption) and context and context.command is cli:
        return f"options stand after the command: {path} COMMAND {error.option_name}"
    return f"see: {path} --help"


def _show(what: str, *, cause: str | None, fix: str | None) -> None:
    """Print the three parts of an error; each kept on lines of its own."""
    tell(f"error: {_harmless(what)}")
    if cause:
        tell(f"  cause: {_harmless(cause)}")
    if fix:
        tell(f"  fix:   {_harmless(fix)}")


def _harmless(text: str) -> str:
    """Show control characters in foreign names as their codes; rich is not loaded here."""
    lines = text.split("\n")
    shown = [line if line.isprintable() else ascii(line)[1:-1] for line in lines]
    return "\n         ".join(shown)


def _show_bug() -> None:
    import platform  # noqa: PLC0415 - only a bug needs these
    import traceback  # noqa: PLC0415

    traceback.print_exc()
    versions = ", ".join(f"{name} {_version_of(name)}" for name in ("cgoleak", "frida", "click"))
    click.echo(
        f"\nerror: this is a bug in cgoleak\n"
        f"  cause: the exception above ({versions}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()} {platform.machine()})\n"
        f"  fix:   please report it with these lines and the output of: cgoleak doctor",
        err=True,
    )
    sys.stderr.flush()


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes 30 ms

    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
