"""Hypothesis strategies for the values of the model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from cgoleak.model.capture import Capture, Cost, Module, RawStack, Target, Window
from cgoleak.model.frames import Frame, Language
from cgoleak.model.goprofile import GoProfile, GoUse
from cgoleak.model.ids import Address, StackId
from cgoleak.model.notice import Notice
from cgoleak.model.snapshot import (
    GoMemory,
    NativeMemory,
    ProbeCounters,
    ProcessMemory,
    Snapshot,
    StackCounts,
)

_TOTALS = (
    "born_blocks",
    "born_bytes",
    "freed_blocks",
    "freed_bytes",
    "cleaned_blocks",
    "lifetime_ns_sum",
    "lifetime_ns_max",
)

amounts = st.one_of(st.integers(0, 1000), st.integers(0, (1 << 63) - 1))
addresses = st.integers(0, (1 << 47) - 1).map(Address)
stack_ids = st.integers(0, 12).map(StackId)
# Surrogates as os.fsdecode makes them of file names that are not UTF-8.
texts = st.text(max_size=8) | st.binary(max_size=6).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
maybe_texts = st.none() | texts
seconds = st.floats(0, 1e6, allow_nan=False)

frame_values = st.builds(
    Frame,
    lang=st.sampled_from(Language),
    function=texts,
    file=maybe_texts,
    line=st.none() | st.integers(0, 1 << 31),
    module=maybe_texts,
    inlined=st.booleans(),
)
targets = st.builds(
    Target,
    pid=st.integers(1, 1 << 22),
    exe=texts,
    go_version=maybe_texts,
    libc=maybe_texts,
    allocator=maybe_texts,
    arch=texts,
    stripped=st.booleans(),
    godebug=texts,
)
windows = st.builds(
    Window,
    started_unix_ns=st.integers(0, (1 << 63) - 1),
    seconds=seconds,
    mode=st.sampled_from(["exact", "sampled", "watch"]),
    ended=st.sampled_from(["detached", "target-exited", "interrupted", "lost"]),
)
modules = st.builds(
    Module,
    path=texts,
    build_id=texts,
    bias=st.integers(-5, 1 << 47),
    start=addresses,
    end=addresses,
)
costs = st.builds(
    Cost, pause_seconds=seconds, target_bytes=amounts, ns_per_event=st.none() | seconds
)
notices = st.builds(Notice, code=texts, text=texts, fix=maybe_texts)
_followed = st.builds(
    StackCounts,
    **dict.fromkeys(
        (
            "born_blocks",
            "born_bytes",
            "freed_blocks",
            "freed_bytes",
            "cleaned_blocks",
            "lifetime_ns_sum",
            "lifetime_ns_max",
        ),
        amounts,
    ),
    oldest_ns=st.integers(0, 1 << 60),
    old_blocks=st.none() | amounts,
)
_sampled = st.builds(
    lambda followed, samples, blocks, size: replace(
        followed, samples=samples, blocks_error=blocks, bytes_error=size
    ),
    _followed,
    st.integers(1, 1 << 40),
    amounts,
    amounts,
)
counts_values = _followed | _sampled
counters = st.builds(ProbeCounters, *[amounts] * 6)
processes = st.builds(ProcessMemory, *[amounts] * 8)
maybe_amounts = st.none() | amounts
go_memories = st.builds(
    GoMemory,
    *[amounts] * 7,
    st.integers(-1, 1000),
    *[amounts] * 9,
    scavenge_goal=maybe_amounts,
    limit_goal=maybe_amounts,
    work_bufs=amounts,
    stacks_sys=amounts,
    forced_gc_cycles=amounts,
)
native_memories = st.builds(
    NativeMemory,
    *[amounts] * 8,
    free=maybe_amounts,
    free_complete=st.booleans(),
    cached=amounts,
    handed_out=maybe_amounts,
    mapped_blocks=maybe_amounts,
    arenas=amounts,
    go_lazy_free=amounts,
    go_huge_pages=amounts,
)
snapshots = st.builds(
    Snapshot,
    at_ns=st.integers(0, 1 << 60),
    stacks=st.dictionaries(stack_ids, counts_values, max_size=5),
    counters=counters,
    process=st.none() | processes,
    go=st.none() | go_memories,
    native=st.none() | native_memories,
)

go_uses = st.builds(
    GoUse,
    addresses=st.lists(addresses, min_size=1, max_size=3).map(tuple),
    size=amounts,
    objects=amounts,
)
go_profiles = st.builds(
    GoProfile,
    at_ns=st.integers(0, 1 << 60),
    rate=maybe_amounts,
    # Objects of one size from one stack are one record.
    uses=st.lists(go_uses, max_size=3, unique_by=lambda use: (use.addresses, use.size)).map(tuple),
    missing=maybe_texts,
)


@st.composite
def captures(draw: st.DrawFn) -> Capture:
    """Any capture that a recorder could write, however odd its numbers."""
    stacks = draw(
        st.dictionaries(
            stack_ids, st.tuples(st.lists(addresses, max_size=6), st.booleans()), max_size=5
        )
    )
    return Capture(
        target=draw(targets),
        window=draw(windows),
        modules=tuple(draw(st.lists(modules, max_size=3))),
        stacks={
            stack: RawStack(id=stack, addresses=tuple(found), complete=complete)
            for stack, (found, complete) in stacks.items()
        },
        snapshots=tuple(draw(st.lists(snapshots, max_size=5))),
        cost=draw(costs),
        frames=draw(
            st.dictionaries(
                addresses, st.lists(frame_values, min_size=1, max_size=3).map(tuple), max_size=4
            )
        ),
        notices=tuple(draw(st.lists(notices, max_size=3))),
        go_profiles=tuple(draw(st.lists(go_profiles, max_size=3))),
        mappings=frozenset(draw(st.sets(st.sampled_from(sorted(stacks)))))
        if stacks
        else frozenset(),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Growing totals of one stack: (born, freed, freed by cleanups) at each snapshot."""
    born = freed = cleaned = 0
    rows: list[tuple[int, int, int]] = []
    for _ in range(draw(st.integers(2, 24))):
        born += draw(st.integers(0, 50))
        dying = draw(st.integers(0, born - freed))
        freed += dying
        cleaned += draw(st.integers(0, dying)) if draw(st.booleans()) else 0
        rows.append((born, freed, cleaned))
    return rows
