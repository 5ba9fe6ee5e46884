"""Reads a capture, whoever wrote it and however that ended.

Input: a path. Output: a ``Capture``. The file is not trusted: its identity is checked before SQLite
sees it, its tables must be word for word ours (so that no view or trigger of a stranger runs),
``quick_check`` proves that each page is used once (so that what is read is no larger than the
file), and every value is checked for its type. Whatever is wrong ends in a ``CaptureError``.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cgoleak.capture.earlier import EARLIER_OPTIONAL, EARLIER_TABLES, EARLIER_VERSION
from cgoleak.capture.format import (
    APPLICATION_ID,
    HEADER_BYTES,
    OPTIONAL,
    SCHEMA_VERSION,
    TABLES,
    VIEWS,
)
from cgoleak.capture.rows import Rows
from cgoleak.errors import CaptureError, DamagedCapture, NewerCapture, NotACapture

if TYPE_CHECKING:
    from cgoleak.model.capture import Capture

__all__ = ["open_capture", "read_connection"]

_MAGIC = b"SQLite format 3\0"
_STEPS_PER_BYTE = 100
_STEPS_AT_LEAST = 50_000_000
_STEPS_BETWEEN_LOOKS = 100_000


def open_capture(path: Path | str) -> Capture:
    """Read the whole capture; the file may still be written to by a recorder.

    If its recorder died before it finished, the window ends with the last snapshot, ``ended`` is
    ``lost``, and the notice ``capture.unfinished`` says so.

    Raises:
        NotACapture: no such file, or some other file.
        NewerCapture: written by a later version with other tables.
        DamagedCapture: torn or corrupted.
    """
    path = Path(path)
    size = _identify(path)
    journal = path.with_name(path.name + "-journal")
    try:
        if not journal.exists():
            return _read_file(path, size, mode="ro")
        # The recorder died in a commit, or is in one now: SQLite must be able to play back.
        try:
            return _read_file(path, size, mode="rw")
        except CaptureError:
            import shutil  # noqa: PLC0415 - hardly ever needed
            import tempfile  # noqa: PLC0415

            with tempfile.TemporaryDirectory(prefix="cgoleak-") as scratch:
                copy = Path(scratch) / "capture"
                shutil.copyfile(path, copy)
                shutil.copyfile(journal, copy.with_name("capture-journal"))
                return _read_file(copy, size, mode="rw")
    except OSError as exc:
        raise DamagedCapture(f"cannot read {path}", cause=exc.strerror) from exc


def read_connection(db: sqlite3.Connection, *, name: str) -> Capture:
    """Read a capture through a connection that is known to be ours.

    Raises:
        DamagedCapture: a table holds what a writer never stores.
    """
    try:
        return Rows(db, name).capture()
    except (sqlite3.Error, OverflowError, UnicodeError) as exc:
        raise _damaged(name, str(exc)) from exc


def _identify(path: Path) -> int:
    """Check the header without SQLite; give the size of the file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            is_folder = stat.S_ISDIR(status.st_mode)
            raise NotACapture(
                f"{path} is not a capture",
                cause="it is a directory" if is_folder else "it is not a regular file",
                fix="name a file in it" if is_folder else "of a pipe: write it to a file first",
            )
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as exc:
        raise NotACapture(
            f"cannot read {path}",
            cause=exc.strerror,
            fix="name a file that was written by: cgoleak attach PID -o NAME.cgoleak",
        ) from exc
    if header[: len(_MAGIC)] != _MAGIC[: len(header)] or not header:
        raise NotACapture(
            f"{path} is not a capture",
            cause="it is neither an SQLite file nor a JSON report" if header else "it is empty",
            fix="captures are written by: cgoleak attach PID -o NAME.cgoleak",
        )
    if len(header) < HEADER_BYTES:
        raise _damaged(str(path), "it ends within its header")
    version = int.from_bytes(header[60:64], "big")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise NotACapture(
            f"{path} is not a capture", cause="it is an SQLite database of another program"
        )
    if version > SCHEMA_VERSION:
        raise NewerCapture(
            f"{path} was written by a newer cgoleak",
            cause=f"its layout is version {version}, this program reads up to {SCHEMA_VERSION}",
            fix="read it with the cgoleak that wrote it, or a later one",
        )
    if version < EARLIER_VERSION:
        raise _damaged(str(path), f"it says layout version {version}")
    return status.st_size


def _read_file(path: Path, size: int, *, mode: str) -> Capture:
    steps = _STEPS_AT_LEAST + _STEPS_PER_BYTE * size
    budget = iter(range(steps // _STEPS_BETWEEN_LOOKS))
    try:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            db.set_progress_handler(lambda: next(budget, None) is None, _STEPS_BETWEEN_LOOKS)
            for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON"):
                db.execute(f"PRAGMA {pragma}")
            db.execute("BEGIN")
            _check_tables(db, path)
            _check_pages(db, path)
            return read_connection(db, name=str(path))
    except (sqlite3.Error, OverflowError, UnicodeError, MemoryError) as exc:
        raise _damaged(str(path), str(exc)) from exc


def _check_tables(db: sqlite3.Connection, path: Path) -> None:
    ((version,),) = db.execute("PRAGMA user_version")
    every = EARLIER_TABLES | EARLIER_OPTIONAL if version == EARLIER_VERSION else TABLES
    views = {} if version == EARLIER_VERSION else VIEWS
    stored = db.execute("SELECT type, name, sql FROM sqlite_master")
    found = sorted(stored.fetchmany(len(every | views) + 1), key=repr)
    if version == EARLIER_VERSION and len(found) == len(EARLIER_TABLES):
        every = EARLIER_TABLES
    names = {name for _, name, _ in found}
    if version != EARLIER_VERSION:
        absent = OPTIONAL - names
        every = {name: text for name, text in every.items() if name not in absent}
    wanted = [("table", *item) for item in every.items()]
    wanted += [("view", *item) for item in views.items()]
    if found != sorted(wanted, key=repr):
        raise _damaged(str(path), "its tables are not those of a capture")


def _check_pages(db: sqlite3.Connection, path: Path) -> None:
    ((result,),) = db.execute("PRAGMA quick_check(1)").fetchmany(1)
    if result != "ok":
        raise _damaged(str(path), str(result))


def _damaged(name: str, cause: str) -> DamagedCapture:
    return DamagedCapture(
        f"{name} is damaged", cause=cause, fix="measure again, or copy the file once more"
    )
