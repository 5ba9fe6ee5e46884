"""The growth that tables show."""

from __future__ import annotations

import pytest

from cgoleak.model.report import Verdict
from cgoleak.render.growth import growth_shown
from support.reports import a_finding

FILLED = (0, 400, 800, 900, 900, 900, 900, 900, 900)
FILLING = (0, 100, 200, 300, 400, 500, 600, 700, 800)


@pytest.mark.parametrize(
    ("verdict", "history", "shown"),
    [
        (Verdict.BOUNDED, FILLED, 0.0),
        (Verdict.BOUNDED, FILLING, 60.0),
        (Verdict.BOUNDED, FILLED[:5], 60.0),
        (Verdict.BOUNDED, (), 60.0),
        (Verdict.NATIVE_LEAK, FILLED, 60.0),
        (Verdict.GO_HELD, FILLED, 60.0),
    ],
)
def test_a_bounded_site_grows_no_more_once_it_is_full(verdict, history, shown):
    found = a_finding(verdict=verdict, growth=60.0, history=history)
    assert growth_shown(found) == shown


def test_what_shrank_is_shown_as_it_is():
    found = a_finding(verdict=Verdict.BOUNDED, growth=-5.0, history=FILLING[::-1])
    assert growth_shown(found) == -5.0
