from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.model.report import GoReturn
from cgoleak.model.snapshot import GoMemory
from cgoleak.target.go.handback import forecast
from cgoleak.target.go.heap import NO_LIMIT

MIB = 1 << 20
NOW = 1_700_000_100 * 10**9


def memory(
    *,
    in_use: int = 100 * MIB,
    free: int = 60 * MIB,
    goal: int | None = None,
    limit_goal: int | None = None,
    ready: int = 200 * MIB,
    limit: int = NO_LIMIT,
    gc_percent: int = 100,
    gc_cycles: int = 12,
    gc_age_s: int = 30,
) -> GoMemory:
    return GoMemory(
        heap_in_use=in_use,
        heap_free=free,
        heap_released=0,
        stacks_in_use=0,
        metadata=0,
        gc_cycles=gc_cycles,
        last_gc_unix_ns=NOW - gc_age_s * 10**9,
        gc_percent=gc_percent,
        memory_limit=limit,
        mapped_ready=ready,
        scavenge_goal=goal,
        limit_goal=limit_goal,
    )


def shares(found: GoReturn) -> tuple[int, int, int]:
    return (found.held_bytes // MIB, found.returning_bytes // MIB, found.buffer_bytes // MIB)


def test_up_to_1_20_what_is_above_the_goal_goes_within_a_minute_or_so() -> None:
    found = forecast(memory(goal=110 * MIB), 20, now_unix_ns=NOW)

    assert shares(found) == (60, 50, 10)
    assert found.within_seconds == (0.0, 60 + 5 + 50 / 25)
    assert "in the background" in found.why


def test_from_1_21_on_it_waits_for_one_more_collection() -> None:
    found = forecast(memory(goal=110 * MIB, gc_age_s=30), 21, now_unix_ns=NOW)

    assert shares(found) == (60, 50, 10)
    # The next collection is due in 90 s, may be noticed 60 s late, the scavenger 60 s after it.
    assert found.within_seconds == (0.0, 90 + 60 + 60 + 5 + 50 / 25)
    assert "one more garbage collection" in found.why


def test_an_idle_process_without_a_goal_gives_back_all_but_a_tenth_after_its_next_collections() -> (
    None
):
    found = forecast(memory(goal=None), 26, now_unix_ns=NOW)

    assert shares(found) == (60, 50, 10)
    # The next collection in 90 s, or 60 s late; one more 120 + 60 s later; then the scavenger.
    assert found.within_seconds == (90, 90 + 60 + 120 + 60 + 60 + 5 + 50 / 25)


def test_up_to_1_20_an_idle_process_waits_for_one_collection_only() -> None:
    found = forecast(memory(goal=None), 20, now_unix_ns=NOW)

    assert found.within_seconds == (90, 90 + 60 + 60 + 5 + 50 / 25)


def test_what_was_allocated_since_the_last_collection_may_come_on_top() -> None:
    idle = replace(memory(in_use=100 * MIB), heap_live=90 * MIB, heap_marked=40 * MIB)
    nothing_free = replace(idle, heap_free=0)

    on_top = "On top comes what of the 100 MiB in use is garbage: the next collection tells."
    assert on_top in forecast(idle, 26, now_unix_ns=NOW).why
    assert on_top in forecast(nothing_free, 26, now_unix_ns=NOW).why
    assert "On top" not in forecast(idle, 26, now_unix_ns=NOW, gc_interval_s=2.0).why
    assert "On top" not in forecast(replace(idle, heap_live=45 * MIB), 26, now_unix_ns=NOW).why


def test_what_freeosmemory_would_release_is_said_unless_the_kernel_takes_its_time() -> None:
    said = "debug.FreeOSMemory() would hand back 60.0 MiB at once, and garbage with it."

    assert said in forecast(memory(), 26, now_unix_ns=NOW).why
    assert said not in forecast(memory(), 26, now_unix_ns=NOW, godebug="madvdontneed=0").why


def test_a_busy_process_without_a_goal_keeps_everything_for_its_next_cycle() -> None:
    found = forecast(memory(goal=None), 26, now_unix_ns=NOW, gc_interval_s=2.0)

    assert shares(found) == (60, 0, 60)
    assert found.within_seconds is None
    assert "next cycle" in found.why


def test_a_busy_process_above_its_goal_does_not_wait_two_minutes() -> None:
    found = forecast(memory(goal=130 * MIB), 26, now_unix_ns=NOW, gc_interval_s=2.0)

    assert shares(found) == (60, 30, 30)
    assert found.within_seconds is not None
    assert found.within_seconds[1] < 75


def test_a_small_remainder_stays_as_buffer() -> None:
    found = forecast(memory(free=9 * MIB), 26, now_unix_ns=NOW)

    assert shares(found) == (9, 0, 9)
    assert "buffer" in found.why
    assert "not a native leak" in found.why


def test_an_empty_buffer_is_said_to_be_empty() -> None:
    found = forecast(memory(free=0), 26, now_unix_ns=NOW)

    assert found == GoReturn(0, 0, 0, None, "The Go heap holds no free memory back.")


def test_with_gogc_off_nothing_is_promised_beyond_what_is_under_way() -> None:
    idle = forecast(memory(gc_percent=-1), 26, now_unix_ns=NOW)
    under_way = forecast(memory(gc_percent=-1, goal=110 * MIB), 26, now_unix_ns=NOW)
    old = forecast(memory(gc_percent=-1, goal=110 * MIB), 20, now_unix_ns=NOW)

    assert shares(idle) == (60, 0, 60)
    assert shares(under_way) == (60, 50, 10)
    assert (idle.within_seconds, under_way.within_seconds) == (None, None)
    assert "GOGC=off" in under_way.why
    assert old.within_seconds is not None


def test_a_memory_limit_gives_back_what_is_above_95_percent_of_it() -> None:
    limited = memory(free=40 * MIB, in_use=500 * MIB, ready=600 * MIB, limit=600 * MIB)

    found = forecast(limited, 22, now_unix_ns=NOW)

    assert shares(found) == (40, 30, 10)


def test_before_1_22_a_memory_limit_gives_nothing_back() -> None:
    limited = memory(free=40 * MIB, in_use=500 * MIB, ready=600 * MIB, limit=600 * MIB)

    found = forecast(limited, 21, now_unix_ns=NOW)

    assert shares(found) == (40, 0, 40)
    assert "Before Go 1.22" in found.why


def test_a_limit_that_the_runtime_works_on_counts_at_once() -> None:
    found = forecast(memory(goal=None, limit_goal=145 * MIB), 20, now_unix_ns=NOW, gc_interval_s=1)

    assert shares(found) == (60, 55, 5)
    assert found.within_seconds is not None


def test_with_madv_free_the_time_is_the_kernels_business() -> None:
    found = forecast(
        memory(goal=110 * MIB), 20, now_unix_ns=NOW, godebug="gctrace=1,madvdontneed=0"
    )

    assert found.within_seconds is None
    assert "madvdontneed=0" in found.why


def test_a_process_that_never_collected_promises_nothing() -> None:
    found = forecast(memory(gc_cycles=0), 26, now_unix_ns=NOW)

    assert shares(found) == (60, 0, 60)
    assert found.within_seconds is None


sizes = st.integers(0, 1 << 46)


@given(
    st.builds(
        memory,
        in_use=sizes,
        free=sizes,
        ready=sizes,
        goal=st.none() | sizes,
        limit_goal=st.none() | sizes,
        limit=st.integers(1, NO_LIMIT),
        gc_percent=st.integers(-1, 1000),
        gc_cycles=st.integers(0, 3),
        gc_age_s=st.integers(-1000, 100_000),
    ),
    st.integers(19, 27),
    st.none() | st.floats(0, 1e6),
)
def test_held_is_what_returns_and_what_stays_and_times_are_in_order(
    numbers: GoMemory, minor: int, interval: float | None
) -> None:
    found = forecast(numbers, minor, now_unix_ns=NOW, gc_interval_s=interval)

    assert found.held_bytes == numbers.heap_free == found.returning_bytes + found.buffer_bytes
    assert 0 <= found.returning_bytes <= found.held_bytes
    assert found.why.endswith(".")
    if found.within_seconds is not None:
        assert found.returning_bytes > 0
        assert 0 <= found.within_seconds[0] < found.within_seconds[1]
