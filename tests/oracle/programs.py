"""What the stacks are compared in: the sample, go-sqlite3, and C and Go that call each other."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stress.target import torture
from support.go_programs import go_commands
from support.live import Load, Program, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PROGRAMS", "running"]

_TESTS: Final = Path(__file__).resolve().parents[1]
_SAMPLE: Final = _TESTS.parent / "sample_go_cgo" / "bin"
_FAULTS: Final = (
    "c-leak,cpp-leak,cstring-leak,realloc-leak,callback-leak,thread-leak,dlopen-leak,"
    "aligned-leak,strdup-leak"
)
_LIFE: Final = "5m"

PROGRAMS: Final = ("worker", "go-sqlite3", "callbacks", "deep", "exceptions")


@contextmanager
def running(name: str, folder: Path) -> Iterator[int]:
    """Run one of them; gives its pid. It must be alive at the end.

    Raises:
        OSError, subprocess.SubprocessError: it could not be built.
    """
    with ExitStack() as stack:
        if name == "worker":
            worker = stack.enter_context(Worker(_SAMPLE, "-scenario", _FAULTS))
            stack.enter_context(Load(_SAMPLE, worker.address, seconds=300, rate=20, concurrency=4))
            yield worker.pid
            assert worker.answers(), "it does not answer any more"
        elif name == "go-sqlite3":
            program = stack.enter_context(
                Program([_sqlite(folder), "-misuse", "statements", "-life", _LIFE])
            )
            assert program.line().startswith("running ")
            yield program.pid
            assert program.is_running(), "the measurement has ended it"
        else:
            mode = {"callbacks": "callback", "deep": "deep", "exceptions": "throw"}[name]
            target = stack.enter_context(torture(mode))
            target.next_lines(1)
            yield target.pid
            assert target.numbers()["bad"] == 0


def _sqlite(folder: Path) -> Path:
    """Build the program of ``make realworld``; its module comes from the Go module proxy."""
    environment = os.environ | {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [str(go_commands()[0]), "build", "-buildvcs=false", "-o", str(folder / "sqlite")]
    subprocess.run(
        [*command, "./cmd/sqlite"],
        cwd=_TESTS / "realworld",
        env=environment,
        check=True,
        timeout=900,
        capture_output=True,
    )
    return folder / "sqlite"
