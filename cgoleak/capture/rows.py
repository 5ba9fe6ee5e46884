"""Rows of a capture → values of ``model``, each value checked for its type."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from itertools import chain, groupby, repeat
from types import NoneType
from typing import TYPE_CHECKING, Any, NoReturn

from cgoleak.capture.earlier import EARLIER_VERSION
from cgoleak.capture.format import INTEGER_MAX, SNAPSHOT_COLUMNS
from cgoleak.capture.history import Changes, CountRow, CountsAt, History
from cgoleak.errors import DamagedCapture
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
from cgoleak.model.frames import Frame, Language
from cgoleak.model.holding import Holding
from cgoleak.model.ids import Address, StackId
from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import (
    GoMemory,
    NativeMemory,
    ProbeCounters,
    ProcessMemory,
    Snapshot,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from cgoleak.model.goprofile import GoProfile, GoUse
    from cgoleak.model.handles import HandleFamily

__all__ = ["Rows"]

_PROCESS = 7
"""Where the kernel's numbers begin in a row of ``snapshot`` without its ``id``."""
_GO = 15
_NATIVE = 37
_OLDEST_BORN = CountRow._fields.index("oldest_born_ns")
_OLD_BLOCKS = CountRow._fields.index("old_blocks")
_raw_stack = partial(tuple.__new__, RawStack)
_frame = partial(tuple.__new__, Frame)
"""Make them of tuples, at half the cost of a call."""
_LANGUAGES = {language.value: language for language in Language}

# Arrays are read as a whole. What is none of these is a whole number that is not negative, or null.
_NOT_NATURAL = ('"', ".", "e", "E", "N", "I", "{", "[", "-")
_NOT_WHOLE = _NOT_NATURAL[:-1]
_CHANGES = f"SELECT snapshot, stacks, {', '.join(CountRow._fields)} FROM change ORDER BY snapshot"  # noqa: S608 - of constants
_STACKS = "SELECT id, complete, addresses FROM stack ORDER BY id"

# Of version 1 SQLite makes the same. Rows lie in order of their primary keys, and so do the arrays.
_COUNTED = CountRow._fields[:9]
_SAMPLED = CountRow._fields[9:]
_EARLIER_CHANGES = f"""SELECT snapshot, json_group_array(stack),
  {", ".join(f"json_group_array({name})" for name in _COUNTED)},
  {", ".join(f"json_group_array(coalesce({name}, 0))" for name in _SAMPLED)}
  FROM stack_count {{samples}}
  GROUP BY snapshot ORDER BY snapshot"""  # noqa: S608 - of constants
_SAMPLES = "LEFT JOIN sample_count USING (snapshot, stack)"
_NO_SAMPLES = "JOIN (SELECT 0 AS samples, 0 AS blocks_error, 0 AS bytes_error)"
_EARLIER_STACKS = """SELECT id, complete,
  (SELECT json_group_array(address) FROM stack_address WHERE stack = stack.id)
  FROM stack ORDER BY id"""


class Rows:
    """Reads one connection; every method raises DamagedCapture for what no writer stores."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self._name = name
        ((version,),) = db.execute("PRAGMA user_version")
        self._is_earlier = version == EARLIER_VERSION

    def capture(self) -> Capture:
        """Read everything."""
        target = self._target()
        snapshots = self._snapshots()
        window, cost, finished = self._measurement(snapshots)
        notices = self._notices()
        if not finished:
            notices += (_unfinished(window, len(snapshots)),)
        return Capture(
            target=target,
            window=window,
            modules=self._modules(),
            stacks=self._stacks(),
            snapshots=snapshots,
            cost=cost,
            frames=self._frames(),
            notices=notices,
            processes=self._processes(),
            hooked=self._hooked(),
            go_profiles=self._go_profiles(),
            holdings=self._holdings() or None,
            sampling=self._sampling(),
            families=self._families(),
            mappings=self._mappings(),
        )

    def _target(self) -> Target:
        rows = self._db.execute("SELECT * FROM target").fetchmany(2)
        if len(rows) != 1:
            self._bad("it does not say which process was measured")
        pid, exe, go_version, libc, allocator, arch, stripped, godebug = rows[0]
        return Target(
            pid=self._count(pid),
            exe=self._text(exe),
            go_version=self._maybe_text(go_version),
            libc=self._maybe_text(libc),
            allocator=self._maybe_text(allocator),
            arch=self._text(arch),
            stripped=bool(self._count(stripped)),
            godebug=self._text(godebug),
        )

    def _measurement(self, snapshots: tuple[Snapshot, ...]) -> tuple[Window, Cost, bool]:
        rows = self._db.execute("SELECT * FROM measurement").fetchmany(2)
        if len(rows) != 1:
            self._bad("it does not say when it was measured")
        started, mode, seconds, ended, pause, target_bytes, ns_per_event = rows[0]
        finished = ended is not None
        if finished:
            cost = Cost(
                pause_seconds=self._number(pause),
                target_bytes=self._count(target_bytes),
                ns_per_event=None if ns_per_event is None else self._number(ns_per_event),
                cpu_share=self._paid(),
            )
        else:
            last = snapshots[-1] if snapshots else None
            seconds = last.at_ns / 1e9 if last else 0.0
            ended = "lost"
            cost = Cost(pause_seconds=0.0, target_bytes=last.counters.table_bytes if last else 0)
        window = Window(
            started_unix_ns=self._integer(started),
            seconds=self._number(seconds),
            mode=self._text(mode),
            ended=self._text(ended),
        )
        return window, cost, finished

    def _modules(self) -> tuple[Module, ...]:
        rows = self._db.execute(
            "SELECT path, build_id, bias, start_address, end_address FROM module ORDER BY id"
        )
        return tuple(
            Module(
                path=self._text(path),
                build_id=self._text(build_id),
                bias=self._integer(bias),
                start=Address(self._count(start)),
                end=Address(self._count(end)),
            )
            for path, build_id, bias, start, end in rows
        )

    def _families(self) -> tuple[HandleFamily, ...]:
        if not self._has("family"):
            return ()
        rows = self._db.execute(
            "SELECT name, creates, destroys, created, destroyed, gone, unmatched, dropped"
            " FROM family ORDER BY id"
        ).fetchall()
        if not rows:
            return ()
        from cgoleak.model.handles import HandleFamily  # noqa: PLC0415 - few captures have any

        return tuple(
            HandleFamily(
                self._text(name),
                tuple(self._text(creates).split()),
                tuple(self._text(destroys).split()),
                *map(self._count, counts),
            )
            for name, creates, destroys, *counts in rows
        )

    def _family_of_stack(self) -> dict[object, int]:
        if not self._has("family_stack"):
            return {}
        known = len(self._families())
        rows = self._db.execute("SELECT stack, family FROM family_stack").fetchall()
        if any(not 1 <= self._count(family) <= known for _, family in rows):
            self._bad("a stack belongs to a family of handles that it does not name")
        return dict(rows)

    def _mappings(self) -> frozenset[StackId]:
        if not self._has("mapping_stack"):
            return frozenset()
        rows = self._db.execute("SELECT stack FROM mapping_stack")
        return frozenset(StackId(self._integer(stack)) for (stack,) in rows)

    def _stacks(self) -> dict[StackId, RawStack]:
        families = self._family_of_stack()
        rows = self._db.execute(_EARLIER_STACKS if self._is_earlier else _STACKS).fetchall()
        if not rows:
            return {}
        ids, complete, arrays = zip(*rows, strict=True)
        text = ",".join(self._texts(arrays))
        if text.count("[") != len(rows):
            self._bad("the addresses of a stack are no array")
        found = self._loaded(f"[{text}]")
        if len(found) != len(rows) or set(map(type, found)) != {list}:
            self._bad("the addresses of a stack are no array")
        if any(sign in text for sign in (*_NOT_NATURAL, "n") if sign != "["):
            for address in chain.from_iterable(found):
                self._count(address)
        self._check_size(found, text)
        columns = (
            self._integers(ids),
            map(tuple, found),
            map(bool, self._counts(complete)),
            map(families.get, ids, repeat(0)),
        )
        return dict(zip(ids, map(_raw_stack, zip(*columns, strict=True)), strict=True))

    def _frames(self) -> dict[Address, tuple[Frame, ...]]:
        rows = self._db.execute(
            "SELECT address, lang, function, file, line, module, inlined FROM frame"
            " ORDER BY address, depth"
        ).fetchall()
        if not rows:
            return {}
        addresses, lang, function, file, line, module, inlined = zip(*rows, strict=True)
        languages = list(map(_LANGUAGES.get, self._texts(lang)))
        if None in languages:
            self._bad(f"a frame is written in {lang[languages.index(None)]!r}")
        columns = (
            languages,
            self._texts(function),
            self._texts(file, or_none=True),
            self._integers(line, or_none=True),
            self._texts(module, or_none=True),
            map(bool, self._counts(inlined)),
        )
        frames = zip(*columns, strict=True)
        found: dict[Address, tuple[Frame, ...]] = {}
        for address, frame in zip(self._counts(addresses), map(_frame, frames), strict=True):
            found[address] = (*found[address], frame) if address in found else (frame,)
        return found

    def _snapshots(self) -> tuple[Snapshot, ...]:
        history = self._history()
        owners = self._beside("go_owner", "objects")
        cpu = self._beside("process_cpu", "ms")
        snapshots: list[Snapshot] = []
        for row in self._db.execute("SELECT * FROM snapshot ORDER BY id"):
            if len(row) != SNAPSHOT_COLUMNS:
                self._bad("a snapshot has the wrong number of columns")
            number = self._count(row[0])
            snapshot = self._snapshot(row[1:], number, history)
            if snapshot.go is not None and number in owners:
                snapshot = replace(snapshot, go=replace(snapshot.go, owners=owners[number]))
            if snapshot.process is not None and number in cpu:
                process = replace(snapshot.process, cpu_ms=cpu[number])
                snapshot = replace(snapshot, process=process)
            snapshots.append(snapshot)
        return tuple(snapshots)

    def _beside(self, table: str, column: str) -> dict[int, int]:
        """Give what a table has beside snapshots, where it was read."""
        if not self._has(table):
            return {}
        rows = self._db.execute(f"SELECT snapshot, {column} FROM {table}")  # noqa: S608 - constants
        return {self._count(snapshot): self._count(value) for snapshot, value in rows}

    def _snapshot(self, row: Sequence[object], number: int, history: History) -> Snapshot:
        at_ns = self._integer(row[0])
        process = go = native = None
        if row[_PROCESS] is not None:
            process = ProcessMemory(*(self._count(value) for value in row[_PROCESS:_GO]))
        if row[_GO] is not None:
            go = self._go(row[_GO:_NATIVE])
        if row[_NATIVE] is not None:
            native = self._native(row[_NATIVE:])
        return Snapshot(
            at_ns=at_ns,
            stacks=CountsAt(history, number, at_ns),
            counters=ProbeCounters(*(self._count(value) for value in row[1:_PROCESS])),
            process=process,
            go=go,
            native=native,
        )

    def _go(self, row: Sequence[object]) -> GoMemory:
        scavenge, limit = row[17:19]
        return replace(
            GoMemory(*(self._integer(value) for value in row[:17])),
            scavenge_goal=self._maybe_count(scavenge),
            limit_goal=self._maybe_count(limit),
            work_bufs=self._integer(row[19]),
            stacks_sys=self._integer(row[20]),
            forced_gc_cycles=self._integer(row[21]),
        )

    def _native(self, row: Sequence[object]) -> NativeMemory:
        go_heap, go_metadata, heap, anonymous, stacks, files, shared, own = map(
            self._count, row[:8]
        )
        return NativeMemory(
            go_heap=go_heap,
            go_metadata=go_metadata,
            heap=heap,
            anonymous=anonymous,
            stacks=stacks,
            files=files,
            shared=shared,
            own=own,
            free=self._maybe_count(row[8]),
            free_complete=bool(self._count(row[9])),
            cached=self._count(row[10]),
            handed_out=self._maybe_count(row[11]),
            mapped_blocks=self._maybe_count(row[12]),
            arenas=self._count(row[13]),
            go_lazy_free=self._count(row[14]),
            go_huge_pages=self._count(row[15]),
        )

    def _history(self) -> History:
        changes = Changes()
        stacks: list[Any] = []
        before, are_odd = None, False
        for number, of_stacks, *texts in self._db.execute(self._changes()):
            if of_stacks != before:  # under a steady load they are those of the snapshot before
                stacks = self._array(*self._texts([of_stacks]))
                before, are_odd = of_stacks, _is_odd(of_stacks, None)
            zeros = [0] * len(stacks)
            nothing = f"[{','.join('0' * len(stacks))}]"  # as most of many columns are
            columns: list[list[Any]] = []
            is_odd = are_odd
            for place, text in enumerate(self._texts(texts)):
                if text == nothing:
                    columns.append(zeros)
                else:
                    columns.append(self._array(text))
                    is_odd |= _is_odd(text, place)
            if any(len(column) != len(stacks) for column in columns):
                self._bad("the columns of a change are not equally long")
            if is_odd:
                for stack, *values in zip(stacks, *columns, strict=True):
                    self._integer(stack)
                    self._check_counts(values)
            changes.add(
                self._count(number), stacks, [c if c is not zeros else None for c in columns]
            )
        return History(changes)

    def _changes(self) -> str:
        """Give the statement that reads the changes, as columns per snapshot."""
        if not self._is_earlier:
            return _CHANGES
        sampled = self._has("sample_count")
        if sampled:
            sampled = self._db.execute("SELECT 1 FROM sample_count").fetchone() is not None
        return _EARLIER_CHANGES.format(samples=_SAMPLES if sampled else _NO_SAMPLES)

    def _array(self, text: str) -> list[Any]:
        found = self._loaded(text)
        if type(found) is not list:
            self._bad("an array is none")
        self._check_size([found], text)
        return found

    def _check_size(self, arrays: Sequence[list[Any]], text: str) -> None:
        """See that no number is larger than SQLite's are; what is no number is found elsewhere."""
        try:
            if "-" not in text and max(map(sum, arrays)) <= INTEGER_MAX:
                return  # nor is any number of them
        except TypeError:
            pass
        numbers = (one for one in chain.from_iterable(arrays) if type(one) is int)
        largest = max(numbers, default=0)
        if largest > INTEGER_MAX:
            self._bad(f"a number has {len(str(largest))} digits")

    def _loaded(self, text: str) -> list[Any]:
        try:
            found: list[Any] = json.loads(text)
        except (ValueError, RecursionError) as exc:
            self._bad(f"an array is none: {exc}")
        return found

    def _has(self, table: str) -> bool:
        """Say whether the file has a table that earlier captures of this version have not."""
        found = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))
        return found.fetchone() is not None

    def _sampling(self) -> tuple[Sampling, ...]:
        if not self._has("sampling"):
            return ()
        rows = self._db.execute("SELECT since_ns, rate, share FROM sampling ORDER BY since_ns")
        return tuple(
            Sampling(
                since_ns=self._integer(since),
                rate=self._count(rate),
                share=None if share is None else self._number(share),
            )
            for since, rate, share in rows
        )

    def _paid(self) -> float | None:
        if not self._has("paid"):
            return None
        rows = self._db.execute("SELECT cpu_share FROM paid").fetchmany(2)
        if len(rows) > 1:
            self._bad("it says twice what it cost")
        return self._number(rows[0][0]) if rows else None

    def _check_counts(self, values: Sequence[object]) -> None:
        """Say what is wrong with the counts of a stack; without the first it is not reported."""
        if values[0] is None:
            return
        for place, value in enumerate(values):
            if place == _OLDEST_BORN and value is not None:
                self._integer(value)
            elif place == _OLD_BLOCKS:
                self._maybe_count(value)
            elif place != _OLDEST_BORN:
                self._count(value)

    def _processes(self) -> tuple[WatchedProcess, ...]:
        rows = self._db.execute(
            "SELECT pid, start_ticks, exe, since_ns, ended_ns, reason FROM process ORDER BY id"
        )
        return tuple(
            WatchedProcess(
                pid=self._count(pid),
                start_ticks=self._count(start_ticks),
                exe=self._text(exe),
                since_ns=self._integer(since),
                ended_ns=None if ended is None else self._integer(ended),
                reason=self._maybe_text(reason),
            )
            for pid, start_ticks, exe, since, ended, reason in rows
        )

    def _hooked(self) -> Span | None:
        rows = self._db.execute("SELECT since_ns, until_ns FROM hooked").fetchmany(2)
        if len(rows) > 1:
            self._bad("it says twice when hooks were in")
        return Span(*map(self._integer, rows[0])) if rows else None

    def _go_profiles(self) -> tuple[GoProfile, ...]:
        profiles = self._db.execute(
            "SELECT id, at_ns, rate, missing FROM go_profile ORDER BY id"
        ).fetchall()
        if not profiles:
            return ()
        from cgoleak.model.goprofile import GoProfile, GoUse  # noqa: PLC0415 - not all have any

        stacks = {
            self._count(stack): tuple(Address(self._count(address)) for _, address in rows)
            for stack, rows in groupby(
                self._db.execute("SELECT id, address FROM go_stack ORDER BY id, depth"),
                key=lambda row: row[0],
            )
        }
        uses: dict[int, list[GoUse]] = {}
        for profile, stack, size, objects in self._db.execute(
            "SELECT profile, stack, size, objects FROM go_use ORDER BY rowid"
        ):
            uses.setdefault(self._count(profile), []).append(
                GoUse(
                    addresses=stacks.get(self._count(stack), ()),
                    size=self._count(size),
                    objects=self._count(objects),
                )
            )
        return tuple(
            GoProfile(
                at_ns=self._integer(at_ns),
                rate=self._maybe_count(rate),
                uses=tuple(uses.get(self._count(number), ())),
                missing=self._maybe_text(missing),
            )
            for number, at_ns, rate, missing in profiles
        )

    def _holdings(self) -> dict[StackId, Holding]:
        return {
            StackId(self._integer(stack)): Holding(*map(self._count, counts))
            for stack, *counts in self._db.execute(
                "SELECT stack, lost_blocks, lost_bytes, owned_blocks, known_blocks FROM holding"
                " ORDER BY stack"
            )
        }

    def _notices(self) -> tuple[Notice, ...]:
        return tuple(
            Notice(code=self._text(code), text=self._text(text), fix=self._maybe_text(fix))
            for code, text, fix in self._db.execute(
                "SELECT code, text, fix FROM notice ORDER BY id"
            )
        )

    def _integers(self, column: Sequence[Any], *, or_none: bool = False) -> Sequence[Any]:
        """See that all of a column are numbers: together, and one by one if they are not."""
        if not set(map(type, column)) <= ({int, NoneType} if or_none else {int}):
            for value in column:
                if value is not None or not or_none:
                    self._integer(value)
        return column

    def _counts(self, column: Sequence[Any]) -> Sequence[Any]:
        if min(self._integers(column), default=0) < 0:
            self._count(min(column))
        return column

    def _texts(self, column: Sequence[Any], *, or_none: bool = False) -> Sequence[Any]:
        if set(map(type, column)) <= ({str, NoneType} if or_none else {str}):
            return column
        return [None if value is None and or_none else self._text(value) for value in column]

    def _integer(self, value: object) -> int:
        if type(value) is not int:  # JSON's true would be an instance
            self._bad(f"a number is {value!r}")
        return value

    def _count(self, value: object) -> int:
        number = self._integer(value)
        if number < 0:
            self._bad(f"a count is {number}")
        return number

    def _maybe_count(self, value: object) -> int | None:
        return None if value is None else self._count(value)

    def _number(self, value: object) -> float:
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            self._bad(f"a duration is {value!r}")
        return float(value)

    def _text(self, value: object) -> str:
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogatepass")
        if not isinstance(value, str):
            self._bad(f"a text is {value!r}")
        return value

    def _maybe_text(self, value: object) -> str | None:
        return None if value is None else self._text(value)

    def _bad(self, cause: str) -> NoReturn:
        raise DamagedCapture(
            f"{self._name} is damaged", cause=cause, fix="measure again, or copy the file once more"
        )


def _is_odd(array: str, place: int | None) -> bool:
    """Tell if values of a column of ``change`` have to be looked at one by one.

    ``place`` is that of the column in ``CountRow``; None for the stacks' names.
    """
    signs = _NOT_WHOLE if place in (None, _OLDEST_BORN) else _NOT_NATURAL
    if place not in (_OLDEST_BORN, _OLD_BLOCKS):
        signs = (*signs, "n")  # null
    body = array[1:]
    return any(sign in body for sign in signs)


def _unfinished(window: Window, snapshots: int) -> Notice:
    return Notice(
        code="capture.unfinished",
        text=(
            f"the recorder ended before it could close the capture; this is what it had stored: "
            f"{snapshots} snapshots in {window.seconds:.1f} s"
        ),
        fix="end a measurement with Ctrl-C or --duration, not with SIGKILL",
    )
