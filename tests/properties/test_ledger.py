"""Laws of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.ledger import Ledger
from cgoleak.model.ids import StackId
from support.builders import a_snapshot, counts
from support.strategies import histories

if TYPE_CHECKING:
    from cgoleak.model.snapshot import Snapshot

many = st.lists(histories(), min_size=1, max_size=5)


def snapshots_of(rows: list[list[tuple[int, int, int]]], order: list[int]) -> list[Snapshot]:
    length = max(map(len, rows))
    return [
        a_snapshot(
            at + 1,
            {
                stack + 1: counts(born, freed, cleaned=cleaned)
                for stack in order
                for born, freed, cleaned in [rows[stack][min(at, len(rows[stack]) - 1)]]
            },
        )
        for at in range(length)
    ]


def folded(snapshots: list[Snapshot]) -> Ledger:
    return Ledger(snapshots)


@given(many, st.randoms(use_true_random=False))
def test_the_order_of_stacks_in_a_snapshot_does_not_matter(rows, random) -> None:
    order = list(range(len(rows)))
    shuffled = random.sample(order, len(order))
    stacks = [StackId(stack + 1) for stack in order]

    one = folded(snapshots_of(rows, order)).series(stacks)
    other = folded(snapshots_of(rows, shuffled)).series([stacks[place] for place in shuffled])

    assert one == other


@given(many)
def test_born_is_freed_and_outstanding_at_every_instant(rows) -> None:
    ledger = folded(snapshots_of(rows, list(range(len(rows)))))
    blocks = ledger.series(ledger.stacks).blocks

    for instant, outstanding in enumerate(blocks, start=1):
        one = ledger.series(ledger.stacks, instants=instant)
        assert one.last.born_blocks == one.last.freed_blocks + outstanding
        assert one.blocks == blocks[:instant]
        assert outstanding >= 0


@given(many, st.integers(0, 12))
def test_a_stack_that_is_told_not_to_have_changed_since_an_instant_is_the_same_from_there_on(
    rows, instant
) -> None:
    ledger = folded(snapshots_of(rows, list(range(len(rows)))))
    instant = min(instant, len(ledger.times_ns))
    changed = ledger.changed_since(instant)

    for stack in ledger.stacks:
        then = ledger.series([stack], instants=instant + 1).last
        assert (stack not in changed) == (then == ledger.last(stack) and instant > 0)


@given(many, st.sets(st.tuples(st.integers(1, 12), st.integers(1, 5))))
def test_sums_are_those_of_the_curves_of_all_stacks_and_what_goes_keeps_what_it_had(
    rows, missing
) -> None:
    snapshots = [
        replace(
            one,
            stacks={at: had for at, had in one.stacks.items() if (number, at) not in missing},
        )
        for number, one in enumerate(snapshots_of(rows, list(range(len(rows)))), start=1)
    ]
    ledger = folded(snapshots)
    curves = [ledger.series([stack]) for stack in ledger.stacks]

    assert ledger.outstanding_bytes == tuple(
        sum(curve.bytes[instant] for curve in curves) for instant in range(1, len(snapshots) + 1)
    )


@given(many, st.integers(0, 5))
def test_sites_add_up_to_the_whole(rows, cut) -> None:
    ledger = folded(snapshots_of(rows, list(range(len(rows)))))
    left = [stack for stack in ledger.stacks if stack <= cut]
    right = [stack for stack in ledger.stacks if stack > cut]

    parts = zip(ledger.series(left).blocks, ledger.series(right).blocks, strict=True)

    assert tuple(map(sum, parts)) == ledger.series(ledger.stacks).blocks
