"""What RSS consists of: each byte in one line, and ``unexplained`` printed as such.

Ledger → lines. The mappings of the process say where a byte lies, Go's runtime what its heap is
used for, the C allocator what of its heaps is free, and the probe what was allocated since attach.
The rest of native memory is from before; it is an estimate, and it cannot grow, so that what
is beyond it is ``unexplained``. See ``docs/balance.md`` for what each line can and cannot know.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from cgoleak.model.notice import Notice
from cgoleak.model.report import BalanceLine
from cgoleak.units import format_bytes
from cgoleak.verdict.totals import narrow_sheet, outstanding_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.ledger import Ledger
    from cgoleak.model.snapshot import GoMemory, NativeMemory

__all__ = ["Sheet", "balance_notices", "balance_of", "is_hooked", "outstanding_bytes", "sheet_at"]

_WORTH_SAYING: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Sheet:
    """RSS of one instant, divided; bytes, in the order of the report.

    Attributes:
        go_lingering: released by Go and still resident: MADV_FREE, or huge pages filled it again.
        outstanding: allocated since attach and not freed, as far as it is resident.
        headers: what malloc needs beside these blocks; computed from their mean size.
        before: native memory in use from before attach; without hooks all that is in use; where
            the allocator is not known, with what it holds free.
        unexplained: what is left.
    """

    go_in_use: int
    go_held: int
    go_lingering: int
    go_other: int
    outstanding: int
    headers: int
    before: int
    slack: int
    stacks: int
    files: int
    shared: int
    own: int
    unexplained: int

    @property
    def rss(self) -> int:
        """All lines together."""
        return sum(getattr(self, field.name) for field in fields(self))


def balance_of(ledger: Ledger) -> tuple[BalanceLine, ...]:
    """Give RSS and the lines that add up to it; no lines without snapshots.

    Start and now are the first and the last snapshot that looked at the mappings. Where none did,
    the last line is ``other``.
    """
    seen = [place for place, native in enumerate(ledger.native) if native is not None]
    if not seen:
        return narrow_sheet(ledger) if ledger.times_ns else ()
    first, last = seen[0], seen[-1]
    start = sheet_at(ledger, first, None)
    now = sheet_at(ledger, last, None if first == last else start.before)
    sources = _sources(ledger, last, now)
    lines = []
    for field in fields(Sheet):
        part, source = sources[field.name]
        then, size = getattr(start, field.name), getattr(now, field.name)
        if then or size or field.name not in _OPTIONAL:
            lines.append(BalanceLine(part, then, size, size - then, source))
    total, began = (
        sum(line.now_bytes for line in lines),
        sum(line.start_bytes or 0 for line in lines),
    )
    return (BalanceLine("RSS", began, total, total - began, "/proc/PID/smaps"), *lines)


_ROUGHLY: Final = 64 << 10
"""How exact malloc's headers and free chunks are known, in bytes."""


def balance_notices(ledger: Ledger) -> tuple[Notice, ...]:
    """Say what bears on RSS and is no line of it: swap, lazily freed pages, huge pages."""
    process = next((one for one in reversed(ledger.process) if one is not None), None)
    native = next((one for one in reversed(ledger.native) if one is not None), None)
    found = []
    if process is not None and process.swap >= _WORTH_SAYING:
        found.append(
            Notice(
                "memory.swapped",
                f"{format_bytes(process.swap)} of the process are in swap space: RSS is too low by"
                " as much",
            )
        )
    if process is not None and process.lazy_free >= _WORTH_SAYING:
        found.append(
            Notice(
                "memory.lazily-freed",
                f"{format_bytes(process.lazy_free)} of RSS were given up with MADV_FREE: the kernel"
                " takes them when it runs short of memory",
                "GODEBUG=madvdontneed=1 makes Go give memory back at once",
            )
        )
    if native is not None and native.go_huge_pages >= _WORTH_SAYING:
        lingering = sheet_at(ledger, ledger.native.index(native), None).go_lingering
        if lingering - native.go_lazy_free >= _WORTH_SAYING:
            found.append(
                Notice(
                    "memory.huge-pages",
                    f"{format_bytes(lingering - native.go_lazy_free)} that Go had handed back are"
                    " resident again, since the kernel filled huge pages",
                    "set /sys/kernel/mm/transparent_hugepage/enabled to madvise",
                )
            )
    return tuple(found)


def sheet_at(ledger: Ledger, place: int, before_at_start: int | None) -> Sheet:
    """Divide RSS at one snapshot that looked at the mappings.

    ``before_at_start``: native memory from before the attach as the first sheet had it, which it
    cannot exceed later; None for the first.
    """
    native = ledger.native[place]
    assert native is not None
    in_use, held, lingering, inner, go_rest = _go_heap(native, ledger.go[place])
    outstanding = max(0, ledger.outstanding_bytes[place])
    headers = max(0, ledger.sums(_header_bytes)[place]) if native.free is not None else 0
    used = native.heap + native.anonymous - (native.free or 0)
    before = max(0, used - outstanding - headers)
    # Nothing that was there at the attach can become more. But without hooks, or where free memory
    # is not told from memory in use, this line is all that is known.
    if before_at_start is not None and native.free is not None and is_hooked(ledger):
        before = min(before, before_at_start)
        lent = before_at_start - before
        if lent > _ROUGHLY and native.free_complete and not _old_blocks_freed(ledger, place):
            # Then it has not become less either: of what is outstanding more is not resident.
            before = min(before_at_start, max(0, used))
    outstanding = min(outstanding, used - before)
    headers = min(headers, used - before - outstanding)
    return Sheet(
        go_in_use=in_use,
        go_held=held,
        go_lingering=lingering,
        go_other=inner + native.go_metadata,
        outstanding=outstanding,
        headers=headers,
        before=before,
        slack=native.free or 0,
        stacks=native.stacks,
        files=native.files,
        shared=native.shared,
        own=native.own,
        unexplained=go_rest + used - before - outstanding - headers,
    )


def _old_blocks_freed(ledger: Ledger, place: int) -> bool:
    """Whether blocks from before the attach were freed up to a snapshot; true if nobody knows."""
    return ledger.counters[place].unmatched_frees > 0 or ledger.sampled


def _go_heap(native: NativeMemory, go: GoMemory | None) -> tuple[int, int, int, int, int]:
    """Divide what is resident in Go's arenas: in use, held, lingering, stacks, the rest.

    What is free was used before, and so it is resident; what is in use may never have been touched
    (a large ``make`` that nobody wrote to), so that it comes last.
    """
    left = native.go_heap
    if go is None:
        return left, 0, 0, 0, 0
    held = min(go.heap_free, left)
    left -= held
    inner = min(go.stacks_in_use + go.work_bufs, left)
    left -= inner
    in_use = min(go.heap_in_use, left)
    left -= in_use
    lingering = min(left, native.go_lazy_free)
    lingering += min(left - lingering, native.go_huge_pages)
    return in_use, held, lingering, inner, left - lingering


def _header_bytes(blocks: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Give what malloc needs beside the outstanding blocks of stacks, and their bytes."""
    # request2size, malloc.c: 8 bytes more than the mean, a multiple of 16, and at least 32, as
    # it is for 24 bytes.
    return [
        (many * ((-(-size // many) + 23) & ~15) if size > 24 * many else many * 32) - size
        if many > 0 <= size
        else 0
        for many, size in zip(blocks, sizes, strict=True)
    ]


def is_hooked(ledger: Ledger) -> bool:
    """Tell if calls were followed at any time; a watch follows none."""
    return any(one.table_bytes or one.events for one in ledger.counters)


_OPTIONAL: Final = frozenset({"go_lingering", "headers", "outstanding", "shared", "own", "slack"})
"""Lines that are left out where they are empty from start to end."""


def _sources(ledger: Ledger, place: int, sheet: Sheet) -> dict[str, tuple[str, str]]:
    """Name each line and where its number is from."""
    native = ledger.native[place]
    assert native is not None
    hooked = is_hooked(ledger)
    if native.free is None:
        before = ("native, not split", "C memory from before attach, and what malloc holds free")
    elif hooked:
        before = (
            "native from before",
            "malloc's heaps and mappings in use, less outstanding: estimate",
        )
    else:
        before = ("native in use", "malloc's heaps and private mappings, less what is free")
    least = "" if native.free_complete else "at least: "
    return {
        "go_in_use": (
            "Go heap in use",
            "gcController.heapInUse, as far as resident" if any(ledger.go) else "Go's arenas",
        ),
        "go_held": ("Go heap held back", "gcController.heapFree"),
        "go_lingering": ("Go heap released", "released by Go, still resident"),
        "go_other": ("Go stacks and metadata", "memstats, and the runtime's mappings"),
        "outstanding": (
            "native outstanding",
            _outstanding_source(ledger.outstanding_bytes[place], sheet),
        ),
        "headers": ("malloc's headers", "computed from the mean size of outstanding blocks"),
        "before": before,
        "slack": ("allocator slack", f"{least}free chunks of {native.arenas} malloc arenas"),
        "stacks": ("thread stacks", "mappings with a guard and a thread's descriptor"),
        "files": ("files and code", "programs and libraries as mapped"),
        "shared": ("other files, shared", "mapped files and shared memory"),
        "own": ("cgoleak's own", "the probe and its tables"),
        "unexplained": ("unexplained", "RSS less the lines above"),
    }


def _outstanding_source(outstanding: int, sheet: Sheet) -> str:
    """Say how much of what is outstanding has no page in RAM."""
    total, resident = max(0, outstanding), sheet.outstanding
    said = "allocated since attach and not freed"
    if total - resident >= _WORTH_SAYING:
        return f"{said}; {format_bytes(total - resident)} more are not resident"
    return said
