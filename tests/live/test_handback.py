"""The classic demonstration: a burst on Go's heap, RSS that stays, and when it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cgoleak.capture import open_capture
from support.findings import leaks, reported
from support.go_programs import missing_tools
from support.handback import HandBack, hand_back_of, watched

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

MIB = 1 << 20
TRICKLE = 100
"""Pictures a second after the burst: Go collects in seconds, and not in minutes as when idle."""


def came_true(found: HandBack) -> None:
    forecast = found.found.forecast
    assert found.peak.rss > found.before.rss + 100 * MIB
    assert found.returned_bytes == pytest.approx(forecast.returning_bytes, rel=0.15)
    assert forecast.within_seconds is not None
    low, high = forecast.within_seconds
    assert low <= found.seconds <= high


# With usual work after the burst one collection may find all of it and hand it back between two
# readings: then there is no forecast to compare. What is sure is the replay in test_recorded.py.
@pytest.mark.slow
def test_a_burst_before_usual_work_comes_back_as_foretold(sample: Path, tmp_path: Path) -> None:
    running = watched(sample, tmp_path, trickle=TRICKLE)
    report = running.report()

    assert report["cause"] == "go-retained", reported(report)
    assert leaks(report) == []
    came_true(hand_back_of(open_capture(running.capture_file)))


def test_a_burst_before_silence_comes_back_as_foretold(
    sample: Path, tmp_path: Path, *, is_full: bool
) -> None:
    """It takes five minutes, as Go does; recorded once, it is replayed in test_recorded.py."""
    if not is_full:
        pytest.skip("takes five minutes: CGOLEAK_LIVE=full")
    running = watched(sample, tmp_path)
    report = running.report()

    assert report["cause"] == "go-retained", reported(report)
    found = hand_back_of(open_capture(running.capture_file))
    came_true(found)
    forecast = found.quiet.forecast
    assert 0 < forecast.returning_bytes <= found.returned_bytes
    assert forecast.within_seconds is not None
    low, high = forecast.within_seconds
    assert low <= found.done.at_s - found.quiet.at_s <= high
