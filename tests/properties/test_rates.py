"""Laws of the sampling rates, whatever the cost does."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cgoleak.probe.rates import LEAST_GROWTH, SAMPLES, Load, Rates, most_rate
from cgoleak.probe.wire.layout import EPOCHS, RATE_MOST

shares = st.one_of(st.none(), st.floats(0, 3))
costs = st.floats(0, 500)
sites = st.lists(
    st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)).map(
        lambda one: (one[0], one[0] * one[1])
    ),
    max_size=5,
)
traces = st.lists(st.tuples(shares, costs, sites, st.floats(0.5, 30)), min_size=1, max_size=60)


def changes(trace, window, limit=0.05):
    """Give time and rate of each change, in a window of so many seconds."""
    rates, at, found = Rates(limit), 0.0, []
    for share, ns, births, passed in trace:
        at += passed
        if at > window:
            break
        rate = rates.next(Load(share, ns, lambda births=births: births, window - at))
        if rate is not None:
            found.append((at, rate))
    return found


@given(traces, st.floats(1, 3600))
def test_the_rate_only_rises_within_its_bounds(trace, window) -> None:
    found = changes(trace, window)

    rates = [rate for _, rate in found]
    assert rates == sorted(set(rates))
    assert all(0 < rate <= min(most_rate(window - at), RATE_MOST) for at, rate in found)
    assert len(found) < EPOCHS


@given(traces, st.floats(1, 3600), st.integers(1, 1 << 20))
def test_the_least_leak_has_its_samples_whatever_the_cost_does(trace, window, size) -> None:
    """Of blocks of any size, as far as there are so many."""
    expected, was, since = 0.0, 0, 0.0
    for at, rate in [*changes(trace, window), (window, 0)]:
        blocks = (at - since) * LEAST_GROWTH / size
        expected += blocks * (-math.expm1(-size / was) if was else 1.0)
        was, since = rate, at

    everything = window * LEAST_GROWTH / size
    # A block of the rate's size or above is followed with 1 - 1/e at the least.
    enough = min(SAMPLES, everything)
    assert expected >= 0.63 * enough
    if size * 100 < most_rate(window):
        assert expected >= 0.99 * enough


@given(traces)
def test_below_the_limit_every_block_is_followed(trace) -> None:
    assert changes([(min(share or 0.0, 0.05), *rest) for share, *rest in trace], 600) == []
