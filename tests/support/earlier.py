"""Captures as version 1 stored them, a row per count and per address."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from cgoleak.capture.earlier import EARLIER_OPTIONAL, EARLIER_TABLES, EARLIER_VERSION
from cgoleak.capture.format import APPLICATION_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["write_earlier"]


def write_earlier(
    source: Path, to: Path, tables: Mapping[str, str] = EARLIER_TABLES | EARLIER_OPTIONAL
) -> Path:
    """Copy a capture of any version into tables of version 1; columns that it lacks are NULL."""
    with closing(sqlite3.connect(to, isolation_level=None)) as db:
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={EARLIER_VERSION}")
        for statement in tables.values():
            db.execute(statement)
        db.execute("ATTACH ? AS old", (str(source),))
        db.execute("BEGIN")
        for table in tables:
            now = [row[1] for row in db.execute(f"PRAGMA main.table_info({table})")]
            then = {row[1] for row in db.execute(f"PRAGMA old.table_info({table})")}
            names = ", ".join(name for name in now if name in then)
            if names:
                db.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM old.{table}")
        if (
            "sample_count" in tables
            and db.execute("SELECT 1 FROM old.sqlite_master WHERE name = 'change'").fetchone()
        ):
            db.execute(
                "INSERT INTO main.sample_count SELECT snapshot, stack, samples, blocks_error,"
                " bytes_error FROM old.stack_count WHERE samples > 0"
            )
        db.execute("COMMIT")
    return to
