"""Files that a report is written to: checked before anything is measured, written whole.

``-o`` names → formats. Nobody should measure for ten minutes to learn that the disk says no.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from cgoleak.errors import OutputError
from cgoleak.render.base import RENDERERS, format_by_suffix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cgoleak.render.base import Format

__all__ = ["CAPTURE_SUFFIX", "Outputs", "check_writable", "plan_outputs", "write_file"]

CAPTURE_SUFFIX: Final = ".cgoleak"


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is to be written, in the order given."""

    reports: tuple[tuple[Path, Format], ...] = ()
    capture: Path | None = None


def plan_outputs(
    paths: Sequence[Path],
    *,
    force: bool,
    capture_allowed: bool = True,
    formats: Sequence[Format] = RENDERERS,
) -> Outputs:
    """Find each file's format and see that it can be written; nothing is created.

    Raises:
        OutputError: unknown suffix, the same file twice, it exists, or it cannot be written.
    """
    reports: list[tuple[Path, Format]] = []
    captures: list[Path] = []
    seen: set[Path] = set()
    for path in paths:
        real = _resolved(path)
        if real in seen:
            raise OutputError(f"{path} is given twice", fix="name another file for -o")
        seen.add(real)
        if path.name.endswith(CAPTURE_SUFFIX):
            if real.exists() and not real.is_file() and not real.is_dir():
                raise OutputError(
                    f"cannot write {path}",
                    cause="a capture is a database, which no pipe or device can hold",
                    fix="name a file for it",
                )
            captures.append(path)
        elif (known := format_by_suffix(path, formats)) is not None:
            reports.append((path, known))
        else:
            raise _unknown_format(path, formats)
        check_writable(path, force=force)
    if captures and not capture_allowed:
        raise OutputError(
            f"{captures[0]}: a report cannot be turned into a capture",
            fix="copy the capture file itself",
        )
    if len(captures) > 1:
        raise OutputError(
            "two captures were asked for", fix="give one -o FILE.cgoleak, and copy it"
        )
    return Outputs(tuple(reports), captures[0].resolve() if captures else None)


def write_file(path: Path, write: Callable[[BinaryIO], None], *, force: bool) -> None:
    """Write a file beside its place and move it there, so that nobody sees half of it.

    Raises:
        OutputError: the disk or the directory refuses, or the file appeared meanwhile.
    """
    if path.exists() and not path.is_file():
        # A pipe or a device is written as it is.
        with _refusals(path), path.open("wb") as out:
            write(out)
        return
    if path.exists() and not force:
        raise _exists(path)
    real = path.resolve()
    # Not made from the file's own name, which may be as long as a name can be.
    part = real.with_name(f".cgoleak.{os.getpid()}.part")
    try:
        with _refusals(path):
            with part.open("xb") as out:
                write(out)
            part.replace(real)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


class _refusals:  # noqa: N801 - reads as a clause of with
    """Turns what the file system says into an OutputError about this path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write {self._path}",
                cause=error.strerror,
                fix="make room there, or name a file elsewhere",
            ) from error


def _resolved(path: Path) -> Path:
    """Follow links and the working directory, as far as they exist.

    Raises:
        OutputError: nothing can be there: a loop of links, a name that is too long, a file in the
            place of a directory, or a working directory that has been removed.
    """
    try:
        real = path.resolve()
    except FileNotFoundError as error:
        raise OutputError(
            f"cannot write {path}",
            cause="the working directory has been removed",
            fix="give a path that begins with /",
        ) from error
    except RuntimeError:  # a loop of links, up to Python 3.12
        real = path
    try:
        real.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(
            f"cannot write {path}", cause=error.strerror, fix="name a file elsewhere"
        ) from error
    return real


def check_writable(path: Path, *, force: bool) -> None:
    """See that a file can be made or, by ``force``, replaced; nothing is created.

    Raises:
        OutputError: it cannot.
    """
    _resolved(path)
    if path.is_dir():
        raise OutputError(f"{path} is a directory", fix="name a file in it")
    if path.is_file() and not force:
        raise _exists(path)
    if path.exists() and not path.is_file():
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        raise OutputError(
            f"cannot write {path}",
            cause=f"there is no directory {folder}",
            fix=f"mkdir -p {folder}",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {path}",
            cause=f"no permission to create files in {folder}",
            fix="name a file elsewhere",
        )


def _exists(path: Path) -> OutputError:
    return OutputError(
        f"{path} exists",
        cause="cgoleak does not overwrite files by itself",
        fix="add --force, or name another file",
    )


def _unknown_format(path: Path, formats: Sequence[Format]) -> OutputError:
    if str(path) == "-":
        return OutputError(
            "-o names a file, and - is none",
            cause="the report is printed on standard output anyway, unless -q is given",
            fix="pick what is printed with --format",
        )
    known = [f"{entry.suffix} ({entry.name})" for entry in formats if entry.suffix]
    if formats is RENDERERS:
        known.append(f"{CAPTURE_SUFFIX} (the capture)")
    return OutputError(
        f"{path}: the suffix names no format",
        cause=f"known are {', '.join(known[:-1])} and {known[-1]}",
        fix=f"for example: -o {path.stem or 'leak'}.json",
    )
