"""What a capture file looks like: one place for its identity and its tables.

A capture is an SQLite database. ``sqlite3 FILE .schema`` prints the statements below with their
comments, so that the file explains itself to a person who has never seen cgoleak. Two numbers in
the first 100 bytes (SQLite file format, section 1.3) identify it: ``application_id`` at offset 68
and ``user_version``, the version of this schema, at offset 60.

Only counts that changed since the previous snapshot are stored, so that a site at rest costs
nothing. The age of the oldest block would change at every instant; its time of birth does not, and
that is what is stored.

What there is by the hundred thousand, counts and addresses, is stored as arrays in JSON, which are
read in a quarter of the time that as many rows take; the views ``stack_count`` and
``stack_address`` show them as rows. Files of version 1 have tables of these
names instead (``earlier``).
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADDRESS_LIMIT",
    "APPLICATION_ID",
    "COUNT_COLUMNS",
    "HEADER_BYTES",
    "INTEGER_MAX",
    "OPTIONAL",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SNAPSHOT_COLUMNS",
    "TABLES",
    "VIEWS",
]

APPLICATION_ID: Final = 0x63674C6B
"""``cgLk``: what ``file`` and ``PRAGMA application_id`` show."""

SCHEMA_VERSION: Final = 2

HEADER_BYTES: Final = 100

ADDRESS_LIMIT: Final = 1 << 56
"""User addresses end at 2^47 on x86-64, at 2^52 on aarch64 and at 2^56 with five-level paging."""

INTEGER_MAX: Final = (1 << 63) - 1
"""SQLite's integers are signed; larger sums are stored as this (292 years in nanoseconds)."""

_META: Final = """CREATE TABLE meta (
  key TEXT PRIMARY KEY,  -- written_by: program and version; about: one sentence on this file
  value TEXT NOT NULL
) WITHOUT ROWID"""

_TARGET: Final = """CREATE TABLE target (  -- the watched process; one row
  pid INTEGER NOT NULL,
  exe TEXT NOT NULL,
  go_version TEXT,
  libc TEXT,
  allocator TEXT,
  arch TEXT NOT NULL,
  stripped INTEGER NOT NULL, -- 0 or 1
  godebug TEXT NOT NULL      -- settings of Go's runtime
)"""

_MEASUREMENT: Final = """CREATE TABLE measurement (  -- one row
  started_unix_ns INTEGER NOT NULL,  -- wall clock at attach
  mode TEXT NOT NULL,                -- exact, sampled or watch
  seconds REAL,                      -- this and what follows is NULL until the recorder finished
  ended TEXT,                        -- detached, target-exited, interrupted or lost
  pause_seconds REAL,                -- how long the target stood still
  target_bytes INTEGER,              -- memory that the probe took in the target
  ns_per_event REAL                  -- NULL: not measured
)"""

_MODULE: Final = """CREATE TABLE module (  -- ELF files mapped in the target
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL,
  build_id TEXT NOT NULL,         -- lower-case hex, or empty
  bias INTEGER NOT NULL,          -- address in the target less address in the file
  start_address INTEGER NOT NULL,
  end_address INTEGER NOT NULL    -- one past the last
)"""

_STACK: Final = """CREATE TABLE stack (  -- id 0 in change stands for dropped stacks
  id INTEGER PRIMARY KEY,
  complete INTEGER NOT NULL,      -- 0: the outer end was not reached
  addresses TEXT NOT NULL         -- JSON array, see the view stack_address
)"""

_STACK_ADDRESS: Final = """CREATE VIEW stack_address AS SELECT
  stack.id AS stack,
  one.key AS depth,               -- 0 is the leaf, the caller of malloc
  one.value AS address            -- return address; 0: unwinding failed here and went on elsewhere
FROM stack, json_each(stack.addresses) AS one"""

_FRAME: Final = """CREATE TABLE frame (  -- the names of the addresses above
  address INTEGER NOT NULL,
  depth INTEGER NOT NULL,         -- 0 is the innermost of the functions inlined there
  lang TEXT NOT NULL,             -- C, C++, Go, bridge (cgo plumbing), runtime (Go's) or unknown
  function TEXT NOT NULL,
  file TEXT,
  line INTEGER,
  module TEXT,
  inlined INTEGER NOT NULL,       -- 1: merged into the next outer function
  PRIMARY KEY (address, depth)
) WITHOUT ROWID"""

_SNAPSHOT: Final = """CREATE TABLE snapshot (
  id INTEGER PRIMARY KEY,         -- in order of time; a long watch drops some
  at_ns INTEGER NOT NULL,         -- since attach, monotonic
  events INTEGER NOT NULL,        -- the probe, running totals since attach
  dropped_blocks INTEGER NOT NULL,
  dropped_stacks INTEGER NOT NULL,
  unmatched_frees INTEGER NOT NULL,
  truncated_stacks INTEGER NOT NULL,
  table_bytes INTEGER NOT NULL,
  rss INTEGER,                    -- the kernel, bytes; NULL from here to huge_pages: not read
  anonymous INTEGER,
  file INTEGER,
  shmem INTEGER,
  swap INTEGER,
  threads INTEGER,
  lazy_free INTEGER,              -- given up with MADV_FREE, still in rss
  huge_pages INTEGER,
  heap_in_use INTEGER,            -- Go's runtime; NULL from here to forced_gc_cycles: not read
  heap_free INTEGER,              -- resident, not handed back
  heap_released INTEGER,
  stacks_in_use INTEGER,
  metadata INTEGER,
  gc_cycles INTEGER,
  last_gc_unix_ns INTEGER,
  gc_percent INTEGER,             -- GOGC, -1: off
  memory_limit INTEGER,           -- GOMEMLIMIT
  heap_goal INTEGER,
  last_heap_goal INTEGER,
  heap_live INTEGER,
  heap_marked INTEGER,
  last_heap_in_use INTEGER,
  mapped_ready INTEGER,
  total_alloc INTEGER,
  total_free INTEGER,
  scavenge_goal INTEGER,          -- NULL: nothing is handed back at the moment
  limit_goal INTEGER,             -- NULL: GOMEMLIMIT asks for nothing
  work_bufs INTEGER,
  stacks_sys INTEGER,
  forced_gc_cycles INTEGER,
  native_go_heap INTEGER,         -- where rss lies; these eight add up; NULL from here on: not read
  native_go_metadata INTEGER,
  native_heap INTEGER,            -- heaps of the C allocator
  native_anonymous INTEGER,       -- mapped by malloc or by the program
  native_stacks INTEGER,          -- of threads
  native_files INTEGER,           -- code and data of programs and libraries
  native_shared INTEGER,          -- other files, shared memory
  native_own INTEGER,             -- cgoleak's
  native_free INTEGER,            -- part of native_heap that malloc holds free; NULL: not known
  native_free_complete INTEGER,   -- 0: there is more than that
  native_cached INTEGER,          -- part of native_free in caches of threads
  native_handed_out INTEGER,      -- what malloc counts as in use; NULL: not known
  native_mapped_blocks INTEGER,   -- large blocks that malloc has mapped; NULL: not known
  native_arenas INTEGER,
  native_go_lazy_free INTEGER,
  native_go_huge_pages INTEGER
)"""

_CHANGE: Final = """CREATE TABLE change (  -- totals since attach, only of stacks where they changed
  snapshot INTEGER PRIMARY KEY,
  stacks TEXT NOT NULL,           -- JSON array; the others are as long, see the view stack_count
  born_blocks TEXT NOT NULL,
  born_bytes TEXT NOT NULL,
  freed_blocks TEXT NOT NULL,
  freed_bytes TEXT NOT NULL,
  cleaned_blocks TEXT NOT NULL,
  lifetime_ns_sum TEXT NOT NULL,
  lifetime_ns_max TEXT NOT NULL,
  oldest_born_ns TEXT NOT NULL,
  old_blocks TEXT NOT NULL,
  samples TEXT NOT NULL,
  blocks_error TEXT NOT NULL,
  bytes_error TEXT NOT NULL
)"""

_STACK_COUNT: Final = """CREATE VIEW stack_count AS SELECT
  snapshot,
  one.value AS stack,
  json_extract(born_blocks, one.fullkey) AS born_blocks,  -- NULL: the stack is no longer reported
  json_extract(born_bytes, one.fullkey) AS born_bytes,
  json_extract(freed_blocks, one.fullkey) AS freed_blocks,  -- outstanding is born less freed
  json_extract(freed_bytes, one.fullkey) AS freed_bytes,
  -- those freed by Go's finalizers and cleanups
  json_extract(cleaned_blocks, one.fullkey) AS cleaned_blocks,
  json_extract(lifetime_ns_sum, one.fullkey) AS lifetime_ns_sum,  -- of the freed blocks
  json_extract(lifetime_ns_max, one.fullkey) AS lifetime_ns_max,
  -- birth of the oldest outstanding block; NULL: none or unknown
  json_extract(oldest_born_ns, one.fullkey) AS oldest_born_ns,
  -- outstanding ones that the previous snapshot had; NULL: unknown
  json_extract(old_blocks, one.fullkey) AS old_blocks,
  -- sampled blocks that are outstanding; 0: every block was followed
  json_extract(samples, one.fullkey) AS samples,
  -- standard errors of the outstanding blocks and bytes, where they are estimates
  json_extract(blocks_error, one.fullkey) AS blocks_error,
  json_extract(bytes_error, one.fullkey) AS bytes_error
FROM change, json_each(stacks) AS one"""

_PROCESS: Final = """CREATE TABLE process (  -- those that a watch has followed; else empty
  id INTEGER PRIMARY KEY,         -- 1, 2, 3 in order of time
  pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL,   -- since boot; with the pid, its identity
  exe TEXT NOT NULL,
  since_ns INTEGER NOT NULL,      -- its snapshots have at_ns from here to ended_ns
  ended_ns INTEGER,               -- NULL: it had not ended, or the recorder was killed
  reason TEXT                     -- why it ended
)"""

_HOOKED: Final = """CREATE TABLE hooked (  -- part of a watch, measured with hooks; one row at most
  since_ns INTEGER NOT NULL,      -- stack_count has totals since then
  until_ns INTEGER NOT NULL
)"""

_GO_PROFILE: Final = """CREATE TABLE go_profile (  -- Go's own heap profile, as of its last GC
  id INTEGER PRIMARY KEY,
  at_ns INTEGER NOT NULL,         -- since attach
  rate INTEGER,                   -- one object sampled per so many bytes; NULL: not known
  missing TEXT                    -- why there is none; NULL: there is one
)"""

_GO_USE: Final = """CREATE TABLE go_use (  -- what was sampled and is in use, per Go stack
  profile INTEGER NOT NULL,
  stack INTEGER NOT NULL,         -- in go_stack
  size INTEGER NOT NULL,          -- of each object
  objects INTEGER NOT NULL        -- how many were sampled, not scaled up
)"""

_GO_STACK: Final = """CREATE TABLE go_stack (
  id INTEGER NOT NULL,
  depth INTEGER NOT NULL,         -- 0 is the leaf
  address INTEGER NOT NULL,       -- return address; stands for the innermost function there
  PRIMARY KEY (id, depth)
) WITHOUT ROWID"""

_HOLDING: Final = """CREATE TABLE holding (  -- of a command that was held at its exit; else empty
  stack INTEGER PRIMARY KEY,
  lost_blocks INTEGER NOT NULL,   -- nothing in the process pointed to them
  lost_bytes INTEGER NOT NULL,
  owned_blocks INTEGER NOT NULL,  -- a Go object with a finalizer or cleanup did
  known_blocks INTEGER NOT NULL   -- something else did
)"""

_SAMPLING: Final = """CREATE TABLE sampling (  -- empty: every block was followed
  since_ns INTEGER PRIMARY KEY,   -- in the window
  rate INTEGER NOT NULL,          -- bytes per sampled block, in the mean; sums are estimates then
  share REAL                      -- of the CPU time that hooks had taken; NULL: it was asked for
)"""

_PAID: Final = """CREATE TABLE paid (  -- one row at most
  cpu_share REAL NOT NULL         -- of the target's CPU time that went into hooks, 0 to 1
)"""

_FAMILY: Final = """CREATE TABLE family (  -- kinds of handles; empty: none were counted
  id INTEGER PRIMARY KEY,         -- from 1 on
  name TEXT NOT NULL,
  creates TEXT NOT NULL,          -- functions that make one, apart by spaces
  destroys TEXT NOT NULL,         -- functions that give one up
  created INTEGER NOT NULL,       -- since attach
  destroyed INTEGER NOT NULL,     -- by one of destroys
  gone INTEGER NOT NULL,          -- by the library itself, which freed their memory
  unmatched INTEGER NOT NULL,     -- destroyed, and from before attach
  dropped INTEGER NOT NULL        -- without room in the probe's table
)"""

_FAMILY_STACK: Final = """CREATE TABLE family_stack (  -- stacks that made handles: no blocks
  stack INTEGER PRIMARY KEY,      -- its rows of stack_count count handles
  family INTEGER NOT NULL
)"""

_GO_OWNER: Final = """CREATE TABLE go_owner (  -- beside snapshots in which it was read
  snapshot INTEGER PRIMARY KEY,
  objects INTEGER NOT NULL        -- of Go, with a finalizer or cleanup, and not found dead
)"""

_PROCESS_CPU: Final = """CREATE TABLE process_cpu (  -- beside snapshots in which it was read
  snapshot INTEGER PRIMARY KEY,
  ms INTEGER NOT NULL             -- CPU time since the process started, in milliseconds
)"""

_MAPPING_STACK: Final = """CREATE TABLE mapping_stack (  -- stacks that called mmap itself
  stack INTEGER PRIMARY KEY
)"""

_NOTICE: Final = """CREATE TABLE notice (
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL,
  text TEXT NOT NULL,
  fix TEXT
)"""

TABLES: Final[dict[str, str]] = {
    "meta": _META,
    "target": _TARGET,
    "measurement": _MEASUREMENT,
    "module": _MODULE,
    "stack": _STACK,
    "frame": _FRAME,
    "snapshot": _SNAPSHOT,
    "change": _CHANGE,
    "process": _PROCESS,
    "hooked": _HOOKED,
    "go_profile": _GO_PROFILE,
    "go_use": _GO_USE,
    "go_stack": _GO_STACK,
    "holding": _HOLDING,
    "notice": _NOTICE,
    "sampling": _SAMPLING,
    "paid": _PAID,
    "family": _FAMILY,
    "family_stack": _FAMILY_STACK,
    "mapping_stack": _MAPPING_STACK,
    "go_owner": _GO_OWNER,
    "process_cpu": _PROCESS_CPU,
}
"""Name of each table and the statement that makes it; a reader compares the text."""

OPTIONAL: Final = frozenset({"go_owner", "process_cpu"})
"""Those that captures of this version did not have from its beginning: they count as empty."""

VIEWS: Final[dict[str, str]] = {"stack_address": _STACK_ADDRESS, "stack_count": _STACK_COUNT}
"""The same for views; they are for people, and nothing here reads them."""

SCHEMA: Final = ";\n\n".join((TABLES | VIEWS).values()) + ";\n"

SNAPSHOT_COLUMNS: Final = 54
COUNT_COLUMNS: Final = 12
"""Columns of ``change`` after ``snapshot`` and ``stacks``."""
