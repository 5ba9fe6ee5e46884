"""Values of the model with everything filled in, so that a test says only what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.model.capture import Capture, Cost, Module, RawStack, Target, Window
from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import Address, StackId
from cgoleak.model.snapshot import (
    GoMemory,
    NativeMemory,
    ProbeCounters,
    ProcessMemory,
    Snapshot,
    StackCounts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgoleak.model.notice import Notice

SECOND = 1_000_000_000
"""Nanoseconds."""


def a_target(*, pid: int = 4242, exe: str = "/srv/thumbnailer") -> Target:
    return Target(
        pid=pid,
        exe=exe,
        go_version="go1.27.3",
        libc="glibc 2.36",
        allocator="glibc",
        arch="x86-64",
        stripped=False,
    )


def a_window(*, seconds: float = 30.0, mode: str = "exact", ended: str = "detached") -> Window:
    return Window(
        started_unix_ns=1_700_000_000_000_000_000, seconds=seconds, mode=mode, ended=ended
    )


def a_cost(*, pause_seconds: float = 0.014, target_bytes: int = 1 << 20) -> Cost:
    return Cost(pause_seconds=pause_seconds, target_bytes=target_bytes, ns_per_event=20.0)


def a_module(
    *, path: str = "/srv/thumbnailer", start: int = 0x400000, size: int = 1 << 20
) -> Module:
    return Module(
        path=path, build_id="00ff", bias=0, start=Address(start), end=Address(start + size)
    )


def counts(
    born: int = 0,
    freed: int = 0,
    *,
    block_bytes: int = 64,
    cleaned: int = 0,
    lifetime_s: float = 0.0,
    oldest_s: float = 0.0,
    old: int | None = None,
) -> StackCounts:
    """Totals of a stack whose blocks are of one size and whose freed ones lived equally long."""
    return StackCounts(
        born_blocks=born,
        born_bytes=born * block_bytes,
        freed_blocks=freed,
        freed_bytes=freed * block_bytes,
        cleaned_blocks=cleaned,
        lifetime_ns_sum=int(freed * lifetime_s * SECOND),
        lifetime_ns_max=int(lifetime_s * SECOND) if freed else 0,
        oldest_ns=int(oldest_s * SECOND),
        old_blocks=old,
    )


def process_memory(*, rss: int = 64 << 20, threads: int = 8) -> ProcessMemory:
    return ProcessMemory(
        rss=rss, anonymous=rss - (4 << 20), file=4 << 20, shmem=0, swap=0, threads=threads
    )


def go_memory(*, gc_cycles: int = 0, heap_in_use: int = 20 << 20, heap_free: int = 0) -> GoMemory:
    return GoMemory(
        heap_in_use=heap_in_use,
        heap_free=heap_free,
        heap_released=0,
        stacks_in_use=1 << 20,
        metadata=1 << 20,
        gc_cycles=gc_cycles,
        last_gc_unix_ns=0,
        gc_percent=100,
        memory_limit=(1 << 63) - 1,
    )


def native_memory(
    *,
    go_heap: int = 0,
    go_metadata: int = 0,
    heap: int = 0,
    anonymous: int = 0,
    stacks: int = 0,
    files: int = 0,
    shared: int = 0,
    own: int = 0,
    free: int | None = 0,
    free_complete: bool = True,
    go_lazy_free: int = 0,
    go_huge_pages: int = 0,
) -> NativeMemory:
    return NativeMemory(
        go_heap=go_heap,
        go_metadata=go_metadata,
        heap=heap,
        anonymous=anonymous,
        stacks=stacks,
        files=files,
        shared=shared,
        own=own,
        free=free,
        free_complete=free_complete,
        arenas=1,
        go_lazy_free=go_lazy_free,
        go_huge_pages=go_huge_pages,
    )


def a_snapshot(
    at_s: float = 1.0,
    stacks: Mapping[int, StackCounts] | None = None,
    *,
    counters: ProbeCounters | None = None,
    process: ProcessMemory | None = None,
    go: GoMemory | None = None,
    native: NativeMemory | None = None,
) -> Snapshot:
    return Snapshot(
        at_ns=int(at_s * SECOND),
        stacks={StackId(stack): count for stack, count in (stacks or {}).items()},
        counters=counters or ProbeCounters(),
        process=process,
        go=go,
        native=native,
    )


def a_frame(text: str) -> Frame:
    """Read ``C row_dup png_row.c:41 @libpng.so``; place and module may be left out.

    ``inl`` before the language marks an inlined frame.
    """
    words = text.split()
    inlined = words[0] == "inl"
    lang, function, *rest = words[inlined:]
    module = next((word[1:] for word in rest if word.startswith("@")), "thumbnailer")
    place = next((word for word in rest if ":" in word), None)
    file, _, line = place.rpartition(":") if place else (None, "", None)
    return Frame(
        lang=Language(lang),
        function=function,
        file=file,
        line=int(line) if line else None,
        module=module,
        inlined=inlined,
    )


def frames(*texts: str) -> tuple[Frame, ...]:
    """Read frames, leaf first, as ``a_frame`` does."""
    return tuple(a_frame(text) for text in texts)


def a_stack(
    stack: int = 1, addresses: Sequence[int] = (0x401000,), *, complete: bool = True
) -> RawStack:
    return RawStack(
        id=StackId(stack),
        addresses=tuple(Address(address) for address in addresses),
        complete=complete,
    )


def a_capture(
    snapshots: Sequence[Snapshot] = (),
    stacks: Mapping[int, Sequence[Frame]] | None = None,
    *,
    incomplete: Sequence[int] = (),
    target: Target | None = None,
    window: Window | None = None,
    cost: Cost | None = None,
    notices: tuple[Notice, ...] = (),
) -> Capture:
    """A sealed capture; each frame of ``stacks`` (leaf first) has an address of its own."""
    addresses: dict[Frame, Address] = {}
    raw: dict[StackId, RawStack] = {}
    for stack, found in (stacks or {}).items():
        for frame in found:
            addresses.setdefault(frame, Address(0x401000 + 16 * len(addresses)))
        raw[StackId(stack)] = a_stack(
            stack, [addresses[frame] for frame in found], complete=stack not in incomplete
        )
    seconds = snapshots[-1].at_ns / SECOND if snapshots else 0.0
    return Capture(
        target=target or a_target(),
        window=window or a_window(seconds=seconds),
        modules=(a_module(),),
        stacks=raw,
        snapshots=tuple(snapshots),
        cost=cost or a_cost(),
        frames={address: (frame,) for frame, address in addresses.items()},
        notices=notices,
    )
