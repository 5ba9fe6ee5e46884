"""When native memory grows fast enough, and how often the dear reading is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgoleak.model.snapshot import NativeMemory
from cgoleak.watching.growth import GrowthAlarm, NativeGauge, native_bytes
from cgoleak.watching.pace import Pace
from support.builders import SECOND, a_snapshot, go_memory, process_memory

KIB = 1024


def rings(sizes, *, rate=100 * KIB, every=1.0):
    """Number of the sample at which the alarm first rings, from 1; None if it does not."""
    alarm = GrowthAlarm(rate)
    for place, size in enumerate(sizes, 1):
        if alarm.add(int(place * every * SECOND), int(size)):
            return place
    return None


def test_ten_samples_of_growth_at_the_rate_ring():
    assert rings(n * 101 * KIB for n in range(60)) == 10


def test_growth_below_the_rate_does_not_ring():
    assert rings(n * 99 * KIB for n in range(300)) is None


def test_a_level_curve_with_noise_does_not_ring():
    assert rings((10 << 20) + (n * 7919 % 13) * 40 * KIB for n in range(300)) is None


def test_a_single_step_up_does_not_ring():
    assert rings([1 << 20] * 60 + [5 << 20] * 120, rate=100 * KIB) is None


def test_growth_of_an_hour_ago_does_not_count():
    slow_then_fast = [n * KIB for n in range(600)] + [600 * KIB + n * 150 * KIB for n in range(90)]

    assert 600 < rings(slow_then_fast) <= 660


def test_at_long_intervals_ten_samples_are_enough():
    assert rings((n * 600 * 200 * KIB for n in range(20)), every=600.0) == 10


def test_another_process_begins_anew():
    alarm = GrowthAlarm(KIB)
    for n in range(9):
        assert not alarm.add(n * SECOND, n << 20)
    alarm.reset()

    assert not alarm.add(9 * SECOND, 9 << 20)


def test_native_memory_is_what_is_neither_gos_nor_of_files():
    process = replace(process_memory(rss=100 << 20), anonymous=80 << 20, swap=2 << 20)
    go = go_memory(heap_in_use=30 << 20, heap_free=10 << 20)  # and 1 MiB of stacks and metadata

    assert native_bytes(process, go) == (82 - 30 - 10 - 2) << 20
    assert native_bytes(process, None) == 82 << 20


def test_between_two_sheets_native_memory_is_the_last_ones_and_the_change_since():
    gauge = NativeGauge()
    sheet = NativeMemory(0, 0, 30 << 20, 5 << 20, 0, 0, 0, 0)

    def reading(anonymous, native=None):
        process = replace(process_memory(rss=100 << 20), anonymous=anonymous << 20)
        seen = a_snapshot(1, process=process, go=go_memory(heap_in_use=40 << 20))
        return replace(seen, native=native)

    assert gauge.read(reading(20)) == 0  # Go has more than it has touched
    assert gauge.read(reading(60, sheet)) == 35 << 20
    assert gauge.read(reading(67)) == 42 << 20
    assert gauge.read(a_snapshot(2)) is None


@pytest.mark.parametrize(("cost", "again_after"), [(0.001, 0.5), (0.010, 5.0), (100.0, 60.0)])
def test_a_full_sheet_takes_no_more_than_its_share(cost, again_after):
    pace = Pace(share=0.002)
    assert pace.is_due(0.0)
    pace.paid(10.0, cost)

    assert not pace.is_due(10.0 + again_after * 0.99)
    assert pace.is_due(10.0 + again_after * 1.01)
