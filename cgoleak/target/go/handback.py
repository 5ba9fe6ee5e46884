"""What Go will hand back to the kernel, how much it keeps, and when: ``GoMemory`` → ``GoReturn``.

Pure arithmetic on the runtime's own numbers. The rules, with their place in the sources
(``mgcscavenge.go`` unless said otherwise):

- After each collection ``gcPaceScavenger`` sets a goal: 1.10 times the heap in use when marking
  ended, scaled by the change of the heap goal (``retainExtraPercent``; 1.19:141, 1.21:167). Until
  ``heap_in_use + heap_free`` is down to it, the background scavenger works. No goal, no work.
- With GOMEMLIMIT it also works until ``mapped_ready`` is down to 95 % of the limit. Go 1.19 to 1.21
  computed 95 times the limit instead (1.21:175, mended in 1.22:175): there it never does.
- From 1.21 a 4 MiB chunk that was nearly full in this or the previous cycle is left alone
  (``scavChunkHiOccFrac``, 1.21:145): what was freed waits for one more collection.
- An idle process collects every 2 minutes (``forcegcperiod``, proc.go), unless GOGC=off.
  ``sysmon`` starts both collection and scavenger, and sleeps up to 60 s when nothing runs.
- ``debug.FreeOSMemory`` collects, and hands back all that is free then, dense chunks and the buffer
  too (``mheap_.scavengeAll``; 1.21:1671, 1.27:1804 of ``mheap.go``).
- The scavenger takes 1 % of a CPU: 125 to 250 MiB went in 1.5 to 5 s in an idle process (measured
  on 1.19, 1.21, 1.25, 1.27).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.model.report import GoReturn
from cgoleak.model.snapshot import NO_LIMIT
from cgoleak.units import format_bytes

if TYPE_CHECKING:
    from cgoleak.model.snapshot import GoMemory

__all__ = ["forecast"]

_FORCED_GC_SECONDS: Final = 120.0
_SYSMON_SECONDS: Final = 60.0
_SLOWEST_BYTES_PER_SECOND: Final = 25 << 20
_SETTLE_SECONDS: Final = 5.0
_DENSE_CHUNKS_WAIT: Final = 21  # first minor release with the rule
_LIMIT_WORKS: Final = 22


def forecast(
    memory: GoMemory,
    minor: int,
    *,
    now_unix_ns: int,
    gc_interval_s: float | None = None,
    godebug: str = "",
) -> GoReturn:
    """Foretell how ``heap_free`` divides into what goes back and what stays, and when.

    Args:
        memory: read from the process.
        minor: N of Go 1.N; the rules differ.
        now_unix_ns: the same clock as ``memory.last_gc_unix_ns``.
        gc_interval_s: mean time between collections that was observed, or None. A process that
            collects more often than once a minute is taken to be at work: it keeps what its next
            cycle needs. Otherwise it is taken to be idle from now on.
        godebug: the process's GODEBUG.
    """
    busy = gc_interval_s is not None and gc_interval_s < _SYSMON_SECONDS
    collects = memory.gc_percent >= 0 and memory.gc_cycles > 0
    pending = _pending(memory)
    later = 0 if busy or not collects else _after_next_gc(memory, minor)
    returning = max(pending, later)
    waits_for_gc = later > pending or minor >= _DENSE_CHUNKS_WAIT
    lazily = _is_lazy(godebug)
    within = None
    if returning and not lazily and (collects or busy or not waits_for_gc):
        next_gc = _next_gc(memory, now_unix_ns, gc_interval_s) if waits_for_gc else (0.0, 0.0)
        low = 0.0 if pending else next_gc[0]
        high = next_gc[1] + _SYSMON_SECONDS + _SETTLE_SECONDS
        if later > 2 * pending and minor >= _DENSE_CHUNKS_WAIT:
            # Most of it has no goal yet, which the next collection sets; what was dense then waits
            # for the one after it.
            high += _FORCED_GC_SECONDS + _SYSMON_SECONDS
        within = (low, high + returning / _SLOWEST_BYTES_PER_SECOND)
    return GoReturn(
        held_bytes=memory.heap_free,
        returning_bytes=returning,
        buffer_bytes=memory.heap_free - returning,
        within_seconds=within,
        why=" ".join(
            _why(
                memory,
                minor,
                returning=returning,
                waits_for_gc=waits_for_gc,
                collects=collects,
                busy=busy,
                lazily=lazily,
            )
        ),
    )


def _pending(memory: GoMemory) -> int:
    """Bytes above a goal that the runtime has set already."""
    retained = memory.heap_in_use + memory.heap_free
    over = 0 if memory.scavenge_goal is None else retained - memory.scavenge_goal
    limit = 0 if memory.limit_goal is None else memory.mapped_ready - memory.limit_goal
    return min(memory.heap_free, max(0, over, limit))


def _after_next_gc(memory: GoMemory, minor: int) -> int:
    """Bytes above the goals of the next collections, at least, if nothing is allocated until then.

    Garbage that is still counted as in use comes on top: it is not known from outside.
    """
    over = memory.heap_free - memory.heap_in_use // 10
    limit = 0
    if minor >= _LIMIT_WORKS and memory.memory_limit != NO_LIMIT:
        limit = memory.mapped_ready - memory.memory_limit * 95 // 100
    return min(memory.heap_free, max(0, over, limit))


def _awaits_its_collection(memory: GoMemory) -> bool:
    """Tell if a fair part of the heap was allocated since the last collection looked at it."""
    return memory.heap_live - memory.heap_marked > memory.heap_in_use // 10


def _next_gc(
    memory: GoMemory, now_unix_ns: int, gc_interval_s: float | None
) -> tuple[float, float]:
    """Seconds until the next collection: earliest, latest."""
    age = max(0.0, (now_unix_ns - memory.last_gc_unix_ns) / 1e9)
    forced = max(0.0, _FORCED_GC_SECONDS - age)
    if gc_interval_s is None or gc_interval_s >= _FORCED_GC_SECONDS:
        return forced, forced + _SYSMON_SECONDS
    return 0.0, min(forced + _SYSMON_SECONDS, 2 * gc_interval_s)


def _is_lazy(godebug: str) -> bool:
    """Tell if released memory stays resident until the kernel needs it (runtime1.go, MADV_FREE)."""
    settings = dict(item.partition("=")[::2] for item in godebug.split(","))
    return settings.get("madvdontneed") == "0"


def _why(
    memory: GoMemory,
    minor: int,
    *,
    returning: int,
    waits_for_gc: bool,
    collects: bool,
    busy: bool,
    lazily: bool,
) -> list[str]:
    garbage = _awaits_its_collection(memory) and not busy
    on_top = (
        f"On top comes what of the {format_bytes(memory.heap_in_use)} in use is garbage: the next"
        " collection tells."
    )
    if not memory.heap_free:
        nothing = "The Go heap holds no free memory back."
        return [nothing, on_top] if garbage else [nothing]
    said = []
    if not returning and busy:
        said.append(
            "The Go heap was about as large when the last garbage collection ended, so Go keeps"
            " its free memory for the next cycle."
        )
    elif not returning:
        said.append("Go keeps about a tenth of its heap as a buffer for new objects.")
    elif not waits_for_gc:
        said.append("Go is handing it back in the background; that takes a minute or so.")
    elif minor >= _DENSE_CHUNKS_WAIT:
        said.append(
            "Memory that was densely used goes back after one more garbage collection"
            f" (Go 1.{_DENSE_CHUNKS_WAIT} and later); an idle process collects every two minutes."
        )
    else:
        said.append("It goes back after the next garbage collection, every two minutes when idle.")
    if garbage:
        said.append(on_top)
    if not collects and memory.gc_cycles and waits_for_gc:
        said.append("GOGC=off: no collection is due by itself, so this can take for ever.")
    if memory.memory_limit != NO_LIMIT and minor < _LIMIT_WORKS:
        said.append("Before Go 1.22, GOMEMLIMIT makes nothing go back in the background.")
    if lazily:
        said.append("GODEBUG=madvdontneed=0: RSS falls only when the kernel runs short of memory.")
    else:
        size = format_bytes(memory.heap_free)
        said.append(f"debug.FreeOSMemory() would hand back {size} at once, and garbage with it.")
    said.append("Whatever stays is reused by the Go heap: not a native leak.")
    return said
