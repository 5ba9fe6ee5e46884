from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.ledger import Ledger
from cgoleak.model.snapshot import GoMemory, ProbeCounters
from cgoleak.verdict.balance import balance_notices, balance_of
from support.builders import a_snapshot, counts, go_memory, native_memory, process_memory

if TYPE_CHECKING:
    from cgoleak.model.report import BalanceLine
    from cgoleak.model.snapshot import NativeMemory, Snapshot

MIB = 1 << 20
HOOKED = ProbeCounters(events=1000, table_bytes=MIB)


def folded(*snapshots: Snapshot) -> Ledger:
    return Ledger(snapshots)


def at(
    second: float,
    native: NativeMemory | None,
    *,
    outstanding: int = 0,
    block: int = MIB - 16,
    go: GoMemory | None = None,
    counters: ProbeCounters = HOOKED,
) -> Snapshot:
    """A snapshot with so many blocks outstanding, each with its header a round number."""
    return a_snapshot(
        second,
        {1: counts(born=outstanding, block_bytes=block)} if outstanding else {},
        counters=counters,
        process=process_memory(rss=native.resident) if native else None,
        go=go,
        native=native,
    )


def sheet(*snapshots: Snapshot) -> dict[str, BalanceLine]:
    """The lines by their names; they add up, whatever they are."""
    rss, *lines = balance_of(folded(*snapshots))
    assert rss.part == "RSS"
    assert rss.now_bytes == sum(line.now_bytes for line in lines)
    assert rss.start_bytes == sum(line.start_bytes or 0 for line in lines)
    assert all(line.change_bytes == line.now_bytes - (line.start_bytes or 0) for line in lines)
    assert lines[-1].part == "unexplained"
    return {line.part: line for line in (rss, *lines)}


def now(*snapshots: Snapshot) -> dict[str, float]:
    return {
        part: line.now_bytes / MIB for part, line in sheet(*snapshots).items() if line.now_bytes
    }


def test_every_owner_has_its_line() -> None:
    native = native_memory(
        go_heap=28 * MIB,
        go_metadata=2 * MIB,
        heap=20 * MIB,
        anonymous=5 * MIB,
        stacks=MIB,
        files=9 * MIB,
        shared=3 * MIB,
        own=4 * MIB,
        free=6 * MIB,
    )
    go = replace(go_memory(heap_in_use=20 * MIB, heap_free=7 * MIB), work_bufs=0)

    found = now(at(0, native, go=go))

    assert found == {
        "RSS": 72,
        "Go heap in use": 20,
        "Go heap held back": 7,
        "Go stacks and metadata": 3,
        "native from before": 19,
        "allocator slack": 6,
        "thread stacks": 1,
        "files and code": 9,
        "other files, shared": 3,
        "cgoleak's own": 4,
    }


def test_what_grows_since_the_attach_is_outstanding_and_what_was_there_stays() -> None:
    found = sheet(
        at(0, native_memory(heap=10 * MIB)),
        at(30, native_memory(heap=18 * MIB), outstanding=8, block=MIB),
    )

    assert found["native outstanding"].change_bytes == 8 * MIB
    assert found["native from before"].start_bytes == 10 * MIB
    assert found["malloc's headers"].now_bytes == 8 * 16
    assert found["native from before"].now_bytes == 10 * MIB - 8 * 16
    assert found["unexplained"].now_bytes == 0


def test_headers_and_rounding_of_small_blocks_have_their_own_line() -> None:
    # 40 bytes need 48, and 1,000,000 of them 8 MB more than was asked for.
    found = sheet(
        at(0, native_memory(heap=0)),
        at(30, native_memory(heap=48_000_000), outstanding=1_000_000, block=40),
    )

    assert found["native outstanding"].now_bytes == 40_000_000
    assert found["malloc's headers"].now_bytes == 8_000_000
    assert found["unexplained"].now_bytes == 0


def test_memory_from_before_cannot_grow_and_the_rest_is_unexplained() -> None:
    found = sheet(at(0, native_memory(heap=10 * MIB)), at(30, native_memory(heap=25 * MIB)))

    assert found["native from before"].now_bytes == 10 * MIB
    assert found["unexplained"].now_bytes == 15 * MIB


def test_memory_from_before_that_was_freed_is_gone() -> None:
    freed = replace(HOOKED, unmatched_frees=1)
    found = sheet(
        at(0, native_memory(heap=10 * MIB)),
        at(30, native_memory(heap=10 * MIB, free=4 * MIB), outstanding=3, counters=freed),
    )

    assert found["native from before"].now_bytes == 3 * MIB
    assert found["allocator slack"].change_bytes == 4 * MIB


def test_outstanding_memory_that_was_never_touched_is_not_in_rss() -> None:
    found = sheet(
        at(0, native_memory(heap=0)),
        at(30, native_memory(anonymous=2 * MIB), outstanding=10),
    )

    assert found["native outstanding"].now_bytes == 2 * MIB
    assert found["native outstanding"].source.endswith("8.0 MiB more are not resident")
    assert found["unexplained"].now_bytes == 0


def test_memory_from_before_stays_where_none_of_it_was_freed_whatever_was_not_touched() -> None:
    found = sheet(
        at(0, native_memory(heap=100 * MIB)),
        at(30, native_memory(heap=102 * MIB), outstanding=300),
    )

    assert found["native from before"].now_bytes == 100 * MIB
    assert found["native outstanding"].now_bytes == 2 * MIB
    assert found["native outstanding"].source.endswith("298 MiB more are not resident")


def test_without_hooks_native_memory_in_use_is_one_line_that_may_grow() -> None:
    none = ProbeCounters()
    found = sheet(
        at(0, native_memory(heap=10 * MIB, free=MIB), counters=none),
        at(30, native_memory(heap=30 * MIB, free=3 * MIB), counters=none),
    )

    assert found["native in use"].change_bytes == 18 * MIB
    assert found["unexplained"].now_bytes == 0
    assert "native outstanding" not in found


def test_an_allocator_that_is_not_known_leaves_native_memory_in_one_line() -> None:
    found = sheet(
        at(0, native_memory(anonymous=10 * MIB, free=None)),
        at(30, native_memory(anonymous=30 * MIB, free=None), outstanding=4, block=MIB),
    )

    assert found["native, not split"].now_bytes == 26 * MIB
    assert "allocator slack" not in found
    assert "malloc's headers" not in found


def test_slack_that_was_not_counted_to_the_end_says_at_least() -> None:
    found = sheet(at(0, native_memory(heap=9 * MIB, free=MIB, free_complete=False)))

    assert found["allocator slack"].source.startswith("at least")


def test_go_memory_in_use_that_was_never_touched_is_not_in_rss() -> None:
    go = replace(go_memory(heap_in_use=125 * MIB, heap_free=2 * MIB), stacks_in_use=MIB)

    found = now(at(0, native_memory(go_heap=9 * MIB), go=go))

    assert (found["Go heap in use"], found["Go heap held back"]) == (6, 2)


def test_what_go_released_lazily_is_a_line_and_a_notice() -> None:
    native = native_memory(go_heap=100 * MIB, go_lazy_free=60 * MIB)
    go = replace(go_memory(heap_in_use=30 * MIB, heap_free=9 * MIB), stacks_in_use=MIB)
    snapshot = at(0, native, go=go)
    assert snapshot.process is not None
    lazily = replace(snapshot, process=replace(snapshot.process, lazy_free=60 * MIB))

    assert sheet(lazily)["Go heap released"].now_bytes == 60 * MIB
    assert [one.code for one in balance_notices(folded(lazily))] == ["memory.lazily-freed"]


def test_huge_pages_that_filled_released_memory_again_are_told() -> None:
    native = native_memory(go_heap=100 * MIB, go_huge_pages=80 * MIB)
    go = replace(go_memory(heap_in_use=30 * MIB, heap_free=9 * MIB), stacks_in_use=MIB)
    snapshot = at(0, native, go=go)

    assert sheet(snapshot)["Go heap released"].now_bytes == 60 * MIB
    assert [one.code for one in balance_notices(folded(snapshot))] == ["memory.huge-pages"]


def test_swap_is_told_beside_the_sheet() -> None:
    snapshot = at(0, native_memory(heap=MIB))
    assert snapshot.process is not None
    swapped = replace(snapshot, process=replace(snapshot.process, swap=5 * MIB))

    (notice,) = balance_notices(folded(swapped))

    assert (notice.code, notice.text.split(" of ")[0]) == ("memory.swapped", "5.0 MiB")


def test_the_last_look_at_the_mappings_counts_where_later_ones_had_none() -> None:
    found = sheet(
        at(0, native_memory(heap=10 * MIB)),
        at(20, native_memory(heap=12 * MIB), outstanding=2, block=MIB - 8),
        at(30, None, outstanding=9),
    )

    assert found["RSS"].now_bytes == 12 * MIB
    assert found["native outstanding"].now_bytes == 2 * (MIB - 8)


bytes_ = st.integers(0, 1 << 34)


@given(
    st.lists(st.tuples(*[bytes_] * 8), min_size=1, max_size=4),
    st.none() | bytes_,
    st.tuples(bytes_, bytes_, bytes_),
    st.integers(0, 5000),
    st.integers(1, 1 << 22),
)
def test_the_lines_always_add_up_and_only_unexplained_may_be_below_zero(
    sizes: list[tuple[int, ...]],
    free: int | None,
    go: tuple[int, int, int],
    blocks: int,
    block: int,
) -> None:
    names = ("go_heap", "go_metadata", "heap", "anonymous", "stacks", "files", "shared", "own")
    in_use, held, stacks = go
    snapshots = []
    for second, parts in enumerate(sizes):
        native = native_memory(**dict(zip(names, parts, strict=True)))
        native = replace(native, free=None if free is None else min(free, native.heap))
        runtime = replace(go_memory(heap_in_use=in_use, heap_free=held), stacks_in_use=stacks)
        snapshots.append(at(second, native, outstanding=blocks * second, block=block, go=runtime))

    lines = sheet(*snapshots)

    assert lines["RSS"].now_bytes == snapshots[-1].native.resident  # type: ignore[union-attr]
    assert all(line.now_bytes >= 0 for line in lines.values())
