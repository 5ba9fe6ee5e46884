"""The SQLite database of a capture that is being written.

Statements in, a file out. When the disk refuses, it goes on in memory: what the file holds is
copied there, and what was not committed yet is done again, so that a full disk costs the file its
later part and the measurement nothing.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Database"]

_PATIENCE_S = 60.0
"""How long a commit waits for somebody who reads the file meanwhile."""
_Value = str | bytes | int | float | None


class Database:
    """A connection with explicit transactions; not safe for use by several threads at once.

    Attributes:
        connection: to the file, or to memory.
        refusal: what the disk said, once it refused; all since its last commit is in memory.
    """

    def __init__(self, path: Path | str | None) -> None:
        """Open the file, or a database in memory if ``path`` is None.

        Raises:
            sqlite3.Error: it cannot be opened.
        """
        self.connection = _connect(":memory:" if path is None else path)
        self.refusal: str | None = None
        self._is_file = path is not None
        self._pending: list[tuple[str, list[Sequence[_Value]]]] = []

    def execute(self, statement: str, row: Sequence[_Value] = ()) -> None:
        """Change something, in a transaction.

        Raises:
            sqlite3.Error: it is refused, by memory too.
        """
        self.execute_all(statement, [row])

    def execute_all(self, statement: str, rows: Iterable[Sequence[_Value]]) -> None:
        """Do the same for each row."""
        doing = (statement, list(rows))
        if self._is_file:
            self._pending.append(doing)
        self._try(lambda: self.connection.executemany(*doing))

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[None]:
        """Open a transaction if none is; on failure go back to what was committed.

        Without ``commit`` it stays open for the next.

        Raises:
            sqlite3.Error, OverflowError: something is refused, by memory too.
        """
        try:
            if not self.connection.in_transaction:
                self._try(lambda: self.connection.execute("BEGIN IMMEDIATE"))
            yield
            if commit:
                self.commit()
        except BaseException:
            self._pending.clear()
            with suppress(sqlite3.Error):
                self.connection.rollback()
            raise

    def commit(self) -> None:
        """End the transaction.

        Raises:
            sqlite3.Error: it is refused, by memory too.
        """
        self._try(lambda: self.connection.execute("COMMIT"))
        if self.connection.in_transaction:  # it was the disk that did not take it
            self.connection.execute("COMMIT")
        self._pending.clear()

    def close(self) -> None:
        """Close it, without a commit; a second call does nothing."""
        self.connection.close()

    def _try(self, act: Callable[[], object]) -> None:
        """Act, or do all that is not committed in memory if the disk refuses."""
        try:
            act()
        except sqlite3.OperationalError as exc:
            if not self._is_file:
                raise
            self._go_on_in_memory(exc)

    def _go_on_in_memory(self, refused: sqlite3.OperationalError) -> None:
        memory = _connect(":memory:")
        try:
            with suppress(sqlite3.Error):
                self.connection.rollback()
            self.connection.backup(memory)
            memory.execute("BEGIN IMMEDIATE")
            for statement, rows in self._pending:
                memory.executemany(statement, rows)
        except sqlite3.Error:
            memory.close()
            raise refused from None
        self.connection.close()
        self.connection, self._is_file, self.refusal = memory, False, str(refused)


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
