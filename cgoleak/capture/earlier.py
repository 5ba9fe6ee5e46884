"""What differs in captures of version 1, which are still read.

They have a row per count and per address, where later ones have arrays and show them by views of
the same names. SQLite turns the rows into such arrays, so that both are read in the same way.
"""

from __future__ import annotations

from typing import Final

from cgoleak.capture.format import TABLES

__all__ = ["EARLIER_OPTIONAL", "EARLIER_TABLES", "EARLIER_VERSION"]

EARLIER_VERSION: Final = 1

_STACK: Final = """CREATE TABLE stack (  -- id 0 in stack_count stands for dropped stacks
  id INTEGER PRIMARY KEY,
  complete INTEGER NOT NULL       -- 0: the outer end was not reached
)"""

_STACK_ADDRESS: Final = """CREATE TABLE stack_address (
  stack INTEGER NOT NULL,
  depth INTEGER NOT NULL,         -- 0 is the leaf, the caller of malloc
  address INTEGER NOT NULL,       -- return address; 0: unwinding failed here and went on elsewhere
  PRIMARY KEY (stack, depth)
) WITHOUT ROWID"""

_STACK_COUNT: Final = """CREATE TABLE stack_count (  -- totals since attach, only where they changed
  snapshot INTEGER NOT NULL,
  stack INTEGER NOT NULL,
  born_blocks INTEGER,            -- NULL from here on: the stack is no longer reported
  born_bytes INTEGER,
  freed_blocks INTEGER,           -- outstanding is born less freed
  freed_bytes INTEGER,
  cleaned_blocks INTEGER,         -- those freed by Go's finalizers and cleanups
  lifetime_ns_sum INTEGER,        -- of the freed blocks
  lifetime_ns_max INTEGER,
  oldest_born_ns INTEGER,         -- birth of the oldest outstanding block; NULL: none or unknown
  old_blocks INTEGER,             -- outstanding ones that the previous snapshot had; NULL: unknown
  PRIMARY KEY (snapshot, stack)
) WITHOUT ROWID"""

_SAMPLE_COUNT: Final = """CREATE TABLE sample_count (  -- beside rows of stack_count with estimates
  snapshot INTEGER NOT NULL,
  stack INTEGER NOT NULL,
  samples INTEGER NOT NULL,       -- sampled blocks that are outstanding
  blocks_error INTEGER NOT NULL,  -- standard error of the outstanding blocks
  bytes_error INTEGER NOT NULL,
  PRIMARY KEY (snapshot, stack)
) WITHOUT ROWID"""

_LATER: Final = frozenset({"sampling", "paid", "family", "family_stack"})
"""Tables that version 1 did not have from its beginning."""

_SINCE: Final = frozenset({"change", "mapping_stack", "go_owner", "process_cpu"})
"""Tables that it never had."""

EARLIER_TABLES: Final[dict[str, str]] = {
    **{name: text for name, text in TABLES.items() if name not in _LATER | _SINCE},
    "stack": _STACK,
    "stack_address": _STACK_ADDRESS,
    "stack_count": _STACK_COUNT,
}
"""Name of each table and the statement that makes it."""

EARLIER_OPTIONAL: Final[dict[str, str]] = {
    **{name: TABLES[name] for name in sorted(_LATER)},
    "sample_count": _SAMPLE_COUNT,
}
"""The same for those that not all of these captures have: they count as empty."""
