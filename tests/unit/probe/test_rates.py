"""Which rate comes next: by what it costs, and by what a verdict needs."""

from __future__ import annotations

import pytest

from cgoleak.probe.rates import FIRST, SAMPLES, Load, Rates, Why, most_rate

SMALL = ((1_000_000, 64_000_000),)


def load(share=0.2, ns=30.0, *, sites=SMALL, seconds=3600.0):
    return Load(share, ns, lambda: sites, seconds)


def goes(rates, *loads):
    """Look twice at each load, as it takes to change anything."""
    return [rates.next(one) for one in loads for _ in range(2)][1::2]


def test_the_first_step_still_sees_blocks_of_its_size():
    assert goes(Rates(0.05), load()) == [FIRST]


def test_above_the_limit_only_now_and_then_nothing_changes():
    rates = Rates(0.05)

    assert [rates.next(load(share)) for share in (0.2, 0.01, 0.2, None, 0.01, 0.2)] == [None] * 6


def test_each_step_is_four_times_the_last_while_it_helps():
    assert goes(Rates(0.05), load(ns=400), load(ns=100), load(ns=30)) == [
        FIRST,
        4 * FIRST,
        16 * FIRST,
    ]


def test_within_the_limit_it_stays():
    rates = Rates(0.05)

    assert goes(rates, load(), load(share=0.04), load(share=0.05)) == [FIRST, None, None]
    assert rates.why is None


def test_a_step_that_was_in_vain_is_the_last():
    rates = Rates(0.05)

    assert goes(rates, load(ns=30), load(ns=28), load(ns=28)) == [FIRST, None, None]
    assert rates.why is Why.FLOOR


def test_large_blocks_are_followed_at_nearly_any_rate_so_that_sampling_is_no_use():
    rates = Rates(0.05)

    assert goes(rates, load(sites=((1000, 1000 << 20),))) == [None]
    assert rates.why is Why.FLOOR


@pytest.mark.parametrize("ns", [1.0, 5.0, 5.4])
def test_the_cost_of_passing_over_is_a_floor(ns):
    rates = Rates(0.05, now=FIRST)

    assert goes(rates, load(ns=ns)) == [None]
    assert rates.why is Why.FLOOR


def test_a_short_window_has_a_smaller_first_step():
    rates = Rates(0.05)

    assert goes(rates, load(seconds=10)) == [most_rate(10)]
    assert SAMPLES < most_rate(10) < FIRST


def test_beyond_what_a_verdict_needs_nothing_goes():
    rates = Rates(0.05)

    assert goes(rates, load(ns=90, seconds=50), load(ns=30, seconds=40)) == [FIRST, None]
    assert rates.why is Why.SAMPLES


def test_at_the_end_of_the_window_it_is_too_late():
    rates = Rates(0.05)

    assert goes(rates, load(seconds=0)) == [None]
    assert rates.why is Why.SAMPLES
    assert rates.now == 0


def test_the_rate_that_was_asked_for_is_where_it_begins():
    assert goes(Rates(0.05, now=512 << 10), load(seconds=10_000)) == [2 << 20]
