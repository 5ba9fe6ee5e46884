from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cgoleak.errors import DamagedCapture
from cgoleak.ledger import Ledger
from cgoleak.ledger.series import Line, fit, largest_fall
from cgoleak.model.ids import StackId
from support.builders import SECOND, a_snapshot, counts, go_memory, process_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.snapshot import Snapshot

ONE, TWO = StackId(1), StackId(2)


def a_ledger(*snapshots: Snapshot) -> Ledger:
    return Ledger(snapshots)


def test_a_series_begins_with_nothing_at_the_attach() -> None:
    ledger = a_ledger(a_snapshot(2, {1: counts(born=5, freed=2)}))

    series = ledger.series([ONE])

    assert series.times_ns == (0, 2 * SECOND)
    assert series.blocks == (0, 3)
    assert series.bytes == (0, 192)


def test_a_stack_that_appears_late_or_is_left_out_later_keeps_its_place() -> None:
    ledger = a_ledger(
        a_snapshot(1),
        a_snapshot(2, {1: counts(born=5)}),
        a_snapshot(3),
        a_snapshot(4, {1: counts(born=9)}),
        a_snapshot(5),
    )

    assert ledger.series([ONE]).blocks == (0, 0, 5, 5, 9, 9)
    assert ledger.last(ONE).born_blocks == 9
    assert ledger.last(TWO).born_blocks == 0


def test_the_age_of_a_stack_is_that_when_it_was_reported_last() -> None:
    ledger = a_ledger(a_snapshot(2, {1: counts(born=5, oldest_s=1.5)}), a_snapshot(9))

    assert ledger.oldest_ns([ONE]) == 1.5 * SECOND
    assert ledger.oldest_ns([ONE, TWO]) == 1.5 * SECOND
    assert ledger.oldest_ns([TWO]) == 0


def test_of_a_stack_at_rest_one_row_is_looked_at_however_many_snapshots_there_are() -> None:
    looked: list[int] = []

    def measure(blocks: Sequence[int], sizes: Sequence[int]) -> list[int]:
        looked.extend(blocks)
        return [size // 64 for size in sizes]

    moves = [a_snapshot(at, {1: counts(born=5), 2: counts(born=at // 50)}) for at in range(1, 101)]
    ledger = a_ledger(*moves)

    assert ledger.sums(measure)[48:51] == (5, 6, 6)
    assert ledger.sums(measure)[-1] == 7
    assert sorted(looked) == [0, 0, 1, 2, 5]  # the attach is one


def test_a_site_is_the_sum_of_its_stacks() -> None:
    ledger = a_ledger(
        a_snapshot(1, {1: counts(born=5, freed=1, lifetime_s=1, oldest_s=0.5, old=2)}),
        a_snapshot(
            2,
            {
                1: counts(born=6, freed=1, lifetime_s=1, oldest_s=1.5, old=4),
                2: counts(born=10, freed=10, lifetime_s=4, old=0),
            },
        ),
    )

    both = ledger.series([ONE, TWO])

    assert both.blocks == (0, 4, 5)
    assert both.survivors == (0, 2, 4)
    assert both.last.lifetime_ns_max == 4 * SECOND
    assert ledger.oldest_ns([ONE, TWO]) == 1.5 * SECOND
    assert both.mean_lifetime_seconds == pytest.approx(41 / 11)
    assert (both.last.born_blocks, both.last.freed_bytes) == (16, 704)


def test_survivors_are_all_blocks_if_one_snapshot_did_not_look_at_ages() -> None:
    ledger = a_ledger(a_snapshot(1, {1: counts(born=5, old=0)}), a_snapshot(2, {1: counts(born=7)}))

    series = ledger.series([ONE])

    assert series.survivors == series.blocks == (0, 5, 7)


def test_snapshots_out_of_order_are_damage() -> None:
    with pytest.raises(DamagedCapture, match="out of order"):
        a_ledger(a_snapshot(2), a_snapshot(1))


def test_gc_cycles_are_those_between_the_snapshots_that_know() -> None:
    assert a_ledger(a_snapshot(1)).gc_cycles is None
    assert a_ledger(a_snapshot(1, go=go_memory(gc_cycles=4))).gc_cycles is None
    ledger = a_ledger(
        a_snapshot(1, go=go_memory(gc_cycles=4)),
        a_snapshot(2, process=process_memory()),
        a_snapshot(3, go=go_memory(gc_cycles=9)),
    )
    assert ledger.gc_cycles == 5
    assert ledger.process[1] == process_memory()
    assert ledger.seconds == 3.0


def test_growth_leaves_out_the_warm_up() -> None:
    """1,000 blocks in flight from the first second on are no growth of 1,000 blocks."""
    ledger = a_ledger(*(a_snapshot(at, {1: counts(born=1000)}) for at in range(1, 31)))

    assert ledger.series([ONE]).growth() == Line(0.0, 0.0)


def test_a_straight_curve_has_its_slope_and_an_r2_of_one() -> None:
    assert fit((0, SECOND, 2 * SECOND), (5, 15, 25)) == (pytest.approx(10), pytest.approx(1))
    assert fit((SECOND,), (7,)) == Line(0.0, 0.0)


def test_the_largest_fall_is_from_any_peak_to_any_later_low() -> None:
    assert largest_fall((0, 5, 3, 9, 4, 6, 2, 8)) == 7
    assert largest_fall((1, 2, 3)) == 0


def test_an_empty_ledger_has_an_empty_series() -> None:
    ledger = Ledger()

    assert ledger.seconds == 0.0
    assert ledger.series([ONE]).blocks == (0,)
    assert ledger.series([ONE]).growth() == Line(0.0, 0.0)
    assert ledger.stacks == frozenset()
