"""Writes a capture while the measurement runs.

Input: values of ``model`` in any order that the recorder meets them. Output: one SQLite file. Each
snapshot, with all that was added since the one before, is one transaction: whoever kills the
recorder loses at most the snapshot that it was writing. When the disk refuses, the file ends there
and the rest goes to memory.

A rollback journal (``journal_mode=DELETE``) is used and not WAL, because a WAL that was never
checkpointed leaves the newest snapshots in a second file that people forget to copy. With
``cache_spill`` off the database itself is touched only within a commit, so that only a death in
those few milliseconds leaves a journal, which the reader then plays back.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cgoleak.capture.database import Database
from cgoleak.capture.format import (
    ADDRESS_LIMIT,
    APPLICATION_ID,
    COUNT_COLUMNS,
    INTEGER_MAX,
    OPTIONAL,
    SCHEMA_VERSION,
    SNAPSHOT_COLUMNS,
    TABLES,
    VIEWS,
)
from cgoleak.capture.reader import read_connection
from cgoleak.errors import CaptureError, OutputError
from cgoleak.model.notice import CAPTURE_CUT, Notice
from cgoleak.model.snapshot import GoMemory, NativeMemory, ProcessMemory
from cgoleak.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from cgoleak.model.capture import (
        Capture,
        Cost,
        Module,
        RawStack,
        Sampling,
        Span,
        Target,
        WatchedProcess,
        Window,
    )
    from cgoleak.model.frames import Frame
    from cgoleak.model.goprofile import GoProfile
    from cgoleak.model.handles import HandleFamily
    from cgoleak.model.holding import Holding
    from cgoleak.model.ids import Address, StackId
    from cgoleak.model.snapshot import Snapshot, StackCounts

__all__ = ["CaptureWriter"]

_ABOUT = "A measurement by cgoleak; render it with: cgoleak report FILE"
_INSERT_SNAPSHOT = "INSERT INTO snapshot VALUES (?" + ",?" * (SNAPSHOT_COLUMNS - 1) + ")"
_INSERT_CHANGE = "INSERT INTO change VALUES (?,?" + ",?" * COUNT_COLUMNS + ")"  # noqa: S608 - a constant
_Row = tuple[int | None, ...]
_GONE: _Row = (None,) * COUNT_COLUMNS
_Names = tuple[str, ...]
# The columns of ``snapshot`` are the fields of these values, in their order.
_PROCESS_VALUES: _Names = tuple(
    field.name for field in fields(ProcessMemory) if field.name != "cpu_ms"
)
_GO_VALUES: _Names = tuple(field.name for field in fields(GoMemory) if field.name != "owners")
_NATIVE_VALUES: _Names = tuple(field.name for field in fields(NativeMemory))


class CaptureWriter:
    """The sink of a recorder; not safe for use by several threads at once."""

    def __init__(self, path: Path | str | None = None, *, overwrite: bool = False) -> None:
        """Create the file, or keep everything in memory if ``path`` is None.

        Raises:
            OutputError: the file exists and ``overwrite`` is false, or it cannot be created.
        """
        self._name = "capture" if path is None else str(path)
        self._counts: dict[StackId, _Row] = {}
        self._go_stacks: dict[tuple[Address, ...], int] = {}
        self._go_profiles = 0
        self._snapshots = 0
        if path is not None:
            _make_room(Path(path), overwrite=overwrite)
        try:
            self._db = Database(path)
        except sqlite3.Error as exc:
            raise _refused(self._name, exc) from exc
        try:
            self._create()
        except sqlite3.Error as exc:
            self._db.close()
            if path is not None:
                with suppress(OSError):
                    Path(path).unlink()  # nothing is in it
            raise _refused(self._name, exc) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write_target(
        self, target: Target, *, mode: str = "exact", started_unix_ns: int | None = None
    ) -> None:
        """Say what is measured, once and before the first snapshot; the clock is read if not given.

        ``mode`` and ``started_unix_ns`` stand until ``finish`` says otherwise, so that the file
        of a recorder that died has them.
        """
        started = time.time_ns() if started_unix_ns is None else started_unix_ns
        with self._writing(commit=True):
            self._db.execute("DELETE FROM target")
            self._db.execute(
                "INSERT INTO target VALUES (?,?,?,?,?,?,?,?)",
                (
                    target.pid,
                    _text(target.exe),
                    _text(target.go_version),
                    _text(target.libc),
                    _text(target.allocator),
                    _text(target.arch),
                    int(target.stripped),
                    _text(target.godebug),
                ),
            )
            self._db.execute("DELETE FROM measurement")
            self._db.execute(
                "INSERT INTO measurement (started_unix_ns, mode) VALUES (?,?)", (started, mode)
            )

    def add_module(self, module: Module) -> None:
        """Add an ELF file; stored with the next snapshot.

        Raises:
            CaptureError: an address that no user process can have, or memory refuses.
        """
        what = f"module {module.path}"
        row = (
            _text(module.path),
            _text(module.build_id),
            module.bias,
            _address(module.start, what),
            _address(module.end, what),
        )
        with self._writing():
            self._db.execute(
                "INSERT INTO module (path, build_id, bias, start_address, end_address)"
                " VALUES (?,?,?,?,?)",
                row,
            )

    def add_stack(self, stack: RawStack) -> None:
        """Add a stack, or replace the one of the same id; stored with the next snapshot.

        Raises:
            CaptureError: an address that no user process can have, or memory refuses.
        """
        what = f"stack {stack.id}"
        addresses = _array([_address(address, what) for address in stack.addresses])
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO stack VALUES (?,?,?)",
                (stack.id, int(stack.complete), addresses),
            )
            if stack.family:
                self._db.execute(
                    "INSERT OR REPLACE INTO family_stack VALUES (?,?)", (stack.id, stack.family)
                )

    def put_mappings(self, stacks: Iterable[StackId]) -> None:
        """Say of stacks that their memory came from mmap itself; a second time is once."""
        with self._writing():
            self._db.execute_all(
                "INSERT OR IGNORE INTO mapping_stack VALUES (?)", [(one,) for one in stacks]
            )

    def put_families(self, families: Iterable[HandleFamily]) -> None:
        """Say which kinds of handles are counted, and what happened to them; replaces all."""
        rows = [
            (
                number,
                _text(one.name),
                " ".join(one.creates),
                " ".join(one.destroys),
                *map(
                    _integer,
                    (one.created, one.destroyed, one.gone, one.unmatched, one.dropped),
                ),
            )
            for number, one in enumerate(families, start=1)
        ]
        with self._writing():
            self._db.execute("DELETE FROM family")
            self._db.execute_all("INSERT INTO family VALUES (?,?,?,?,?,?,?,?,?)", rows)

    def add_snapshot(self, snapshot: Snapshot, *, commit: bool = True) -> int:
        """Store what changed since the previous snapshot and commit; give its number.

        Without ``commit`` it is stored with the next one that is: a watch of days need not wake the
        disk each second.

        Raises:
            CaptureError: memory refuses too; the file holds all earlier snapshots.
        """
        number = self._snapshots + 1
        now = {
            stack: _count_row(counts, snapshot.at_ns) for stack, counts in snapshot.stacks.items()
        }
        changed = {stack: row for stack, row in now.items() if self._counts.get(stack) != row}
        changed |= dict.fromkeys(self._counts.keys() - now.keys(), _GONE)
        in_order = sorted(changed)
        columns = zip(*map(changed.__getitem__, in_order), strict=True)
        with self._writing(commit=commit):
            self._db.execute(
                _INSERT_SNAPSHOT,
                (number, *_snapshot_row(snapshot)),
            )
            if snapshot.go is not None and snapshot.go.owners is not None:
                owners = _integer(snapshot.go.owners)
                self._db.execute("INSERT INTO go_owner VALUES (?,?)", (number, owners))
            if snapshot.process is not None and snapshot.process.cpu_ms is not None:
                cpu_ms = _integer(snapshot.process.cpu_ms)
                self._db.execute("INSERT INTO process_cpu VALUES (?,?)", (number, cpu_ms))
            if changed:
                self._db.execute(_INSERT_CHANGE, (number, _array(in_order), *map(_array, columns)))
        self._counts = now
        self._snapshots = number
        return number

    def drop_snapshots(self, numbers: Iterable[int]) -> None:
        """Drop snapshots of a long watch; done with the next snapshot.

        Those that say how stacks changed stay, since later ones build on them.
        """
        dropped = list(numbers)
        with self._writing():
            self._db.execute_all(
                "DELETE FROM snapshot WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM change WHERE snapshot = ?1)",
                [(number,) for number in dropped],
            )
            for table in sorted(OPTIONAL):
                self._db.execute_all(
                    f"DELETE FROM {table} WHERE snapshot = ?1"  # noqa: S608 - a constant
                    " AND NOT EXISTS (SELECT 1 FROM snapshot WHERE id = ?1)",
                    [(number,) for number in dropped],
                )

    def put_process(self, number: int, process: WatchedProcess) -> None:
        """Add a process that is watched, or say anew what is known of it; numbers are from 1."""
        with self._writing(commit=True):
            self._db.execute(
                "INSERT OR REPLACE INTO process VALUES (?,?,?,?,?,?,?)",
                (
                    number,
                    process.pid,
                    process.start_ticks,
                    _text(process.exe),
                    process.since_ns,
                    process.ended_ns,
                    _text(process.reason),
                ),
            )

    def put_hooked(self, span: Span) -> None:
        """Say which part of a watch was measured with hooks."""
        with self._writing(commit=True):
            self._db.execute("DELETE FROM hooked")
            self._db.execute("INSERT INTO hooked VALUES (?,?)", (span.since_ns, span.until_ns))

    def add_go_profile(self, profile: GoProfile) -> None:
        """Add Go's own heap profile, and commit.

        Raises:
            CaptureError: an address that no user process can have, or memory refuses.
        """
        number = self._go_profiles + 1
        known = dict(self._go_stacks)
        uses = [
            (
                number,
                known.setdefault(use.addresses, len(known) + 1),
                _integer(use.size),
                _integer(use.objects),
            )
            for use in profile.uses
        ]
        stacks = [
            (stack, depth, _address(address, "a stack of Go's heap profile"))
            for addresses, stack in known.items()
            if addresses not in self._go_stacks
            for depth, address in enumerate(addresses)
        ]
        with self._writing(commit=True):
            self._db.execute(
                "INSERT INTO go_profile VALUES (?,?,?,?)",
                (number, profile.at_ns, profile.rate, _text(profile.missing)),
            )
            self._db.execute_all("INSERT INTO go_stack VALUES (?,?,?)", stacks)
            self._db.execute_all("INSERT INTO go_use VALUES (?,?,?,?)", uses)
        self._go_stacks, self._go_profiles = known, number

    def put_holdings(self, holdings: Mapping[StackId, Holding] | None) -> None:
        """Say who knew the blocks of a command at its exit; stored with what is stored next."""
        with self._writing():
            self._db.execute("DELETE FROM holding")
            self._db.execute_all(
                "INSERT INTO holding VALUES (?,?,?,?,?)",
                [
                    (
                        stack,
                        _integer(one.lost_blocks),
                        _integer(one.lost_bytes),
                        _integer(one.owned_blocks),
                        _integer(one.known_blocks),
                    )
                    for stack, one in sorted((holdings or {}).items())
                ],
            )

    def put_sampling(self, sampling: Iterable[Sampling]) -> None:
        """Say since when blocks were sampled; stored with what is stored next."""
        with self._writing():
            self._db.execute_all(
                "INSERT OR REPLACE INTO sampling VALUES (?,?,?)",
                [(one.since_ns, one.rate, one.share) for one in sampling],
            )

    def add_notice(self, notice: Notice) -> None:
        """Add a notice; stored with the next snapshot."""
        with self._writing():
            self._db.execute(
                "INSERT INTO notice (code, text, fix) VALUES (?,?,?)",
                (_text(notice.code), _text(notice.text), _text(notice.fix)),
            )

    def seal_frames(self, frames: Mapping[Address, tuple[Frame, ...]]) -> None:
        """Store the names of addresses and commit; an address sealed before is sealed anew.

        An address with no frames is not stored.

        Raises:
            CaptureError: an address that no user process can have, or memory refuses.
        """
        rows = [
            (
                _address(address, "frame"),
                depth,
                frame.lang.value,
                _text(frame.function),
                _text(frame.file),
                frame.line,
                _text(frame.module),
                int(frame.inlined),
            )
            for address, found in frames.items()
            for depth, frame in enumerate(found)
        ]
        with self._writing(commit=True):
            self._db.execute_all(
                "DELETE FROM frame WHERE address = ?", [(address,) for address in frames]
            )
            self._db.execute_all("INSERT INTO frame VALUES (?,?,?,?,?,?,?,?)", rows)

    def finish(self, window: Window, cost: Cost) -> None:
        """Say that the measurement came to its end, and commit."""
        with self._writing(commit=True):
            self._db.execute("DELETE FROM measurement")
            self._db.execute(
                "INSERT INTO measurement VALUES (?,?,?,?,?,?,?)",
                (
                    window.started_unix_ns,
                    window.mode,
                    window.seconds,
                    window.ended,
                    cost.pause_seconds,
                    cost.target_bytes,
                    cost.ns_per_event,
                ),
            )
            self._db.execute("DELETE FROM paid")
            if cost.cpu_share is not None:
                self._db.execute("INSERT INTO paid VALUES (?)", (cost.cpu_share,))

    def capture(self) -> Capture:
        """Read back everything that was written so far, committed or not.

        Raises:
            CaptureError: ``write_target`` was not called yet.
        """
        return read_connection(self._db.connection, name=self._name)

    def close(self) -> None:
        """Commit what is left and close; a second call does nothing."""
        try:
            if self._db.connection.in_transaction:
                self._db.commit()
        except sqlite3.ProgrammingError:
            return  # closed before
        except sqlite3.Error as exc:
            raise CaptureError(f"cannot write {self._name}", cause=str(exc)) from exc
        finally:
            self._db.close()

    def _create(self) -> None:
        connection = self._db.connection
        for pragma in (
            "page_size=4096",
            "journal_mode=DELETE",
            "synchronous=NORMAL",
            "cache_spill=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        for statement in (TABLES | VIEWS).values():
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta VALUES (?,?)",
            (("written_by", _program()), ("about", _ABOUT)),
        )
        connection.execute("COMMIT")

    @contextmanager
    def _writing(self, *, commit: bool = False) -> Iterator[None]:
        """Open a transaction if none is; on failure go back to what was committed and say why."""
        was_refused = self._db.refusal
        try:
            with self._db.transaction(commit=commit):
                yield
        except (sqlite3.Error, OverflowError) as exc:
            raise CaptureError(
                f"cannot write {self._name}",
                cause=str(exc),
                fix="what was measured before is in the file: cgoleak report shows it",
            ) from exc
        if self._db.refusal != was_refused:
            self.add_notice(self._cut(str(self._db.refusal)))

    def _cut(self, refusal: str) -> Notice:
        return Notice(
            CAPTURE_CUT,
            f"{self._name} ends after {plural(self._snapshots, 'snapshot')}: {refusal}; what came "
            "later was kept in memory for this report",
            "make room there, or name another place for it: -o FILE.cgoleak",
        )


def _refused(name: str, error: sqlite3.Error) -> OutputError:
    return OutputError(
        f"cannot write {name}", cause=str(error), fix="make room there, or write elsewhere"
    )


def _make_room(path: Path, *, overwrite: bool) -> None:
    """Start with no file and no journal of an earlier one, which would be played into ours."""
    journal = path.with_name(path.name + "-journal")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists",
            cause="captures are not overwritten",
            fix="add --force, or name another",
        )
    try:
        path.unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot write {path}", cause=exc.strerror) from exc


def _program() -> str:
    # Readers import this module too, and it takes 30 ms.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return f"cgoleak {version('cgoleak')}"
    except PackageNotFoundError:
        return "cgoleak, from a source tree"


def _address(address: int, what: str) -> int:
    if 0 <= address < ADDRESS_LIMIT:
        return address
    raise CaptureError(
        f"{what} holds the address {address:#x}", cause="no user process has such an address"
    )


def _array(values: Sequence[int | None]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _integer(value: int) -> int:
    return min(int(value), INTEGER_MAX)


def _text(value: str | None) -> str | bytes | None:
    """Text as it is; file names that are not UTF-8 (surrogates of ``os.fsdecode``) as bytes."""
    if value is None or value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def _count_row(counts: StackCounts, at_ns: int) -> _Row:
    return (
        _integer(counts.born_blocks),
        _integer(counts.born_bytes),
        _integer(counts.freed_blocks),
        _integer(counts.freed_bytes),
        _integer(counts.cleaned_blocks),
        _integer(counts.lifetime_ns_sum),
        _integer(counts.lifetime_ns_max),
        at_ns - counts.oldest_ns if counts.oldest_ns else None,
        counts.old_blocks,
        counts.samples,
        _integer(counts.blocks_error),
        _integer(counts.bytes_error),
    )


def _snapshot_row(snapshot: Snapshot) -> _Row:
    counters, process, go = snapshot.counters, snapshot.process, snapshot.go
    row: _Row = (
        snapshot.at_ns,
        counters.events,
        counters.dropped_blocks,
        counters.dropped_stacks,
        counters.unmatched_frees,
        counters.truncated_stacks,
        counters.table_bytes,
    )
    row += _values(process, _PROCESS_VALUES)
    row += _values(go, _GO_VALUES)
    row += _values(snapshot.native, _NATIVE_VALUES)
    return tuple(None if value is None else _integer(value) for value in row)


def _values(memory: ProcessMemory | GoMemory | NativeMemory | None, names: _Names) -> _Row:
    """Give the values in the order of the columns; none of them if nothing was read."""
    return tuple(None if memory is None else getattr(memory, name) for name in names)
