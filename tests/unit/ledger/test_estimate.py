"""What a sampled number may be."""

from __future__ import annotations

import pytest

from cgoleak.ledger.estimate import interval, seen


def test_what_was_not_sampled_is_what_it_is():
    assert interval(1000, 0) == (1000, 1000)
    assert seen(1000, 0) == 1000


@pytest.mark.parametrize(
    # Exact limits of a Poisson mean, 95 %: Garwood 1936, as in every table of them.
    ("samples", "low", "high"),
    [(1, 0.0253, 5.572), (4, 1.090, 10.242), (10, 4.795, 18.390), (100, 81.364, 121.627)],
)
def test_samples_of_equal_weight_have_the_limits_of_a_poisson_number(samples, low, high):
    weight = 512 << 10
    error = round(samples**0.5 * weight)

    found = interval(samples * weight, error)

    assert found[0] / weight == pytest.approx(low, rel=0.02, abs=0.02)
    assert found[1] / weight == pytest.approx(high, rel=0.02)
    assert seen(samples * weight, error) == pytest.approx(samples, rel=1e-3)
