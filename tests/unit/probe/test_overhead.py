"""What the hooks cost: measured while they are in, and kept below a limit."""

from __future__ import annotations

import pytest

from cgoleak.model.capture import Sampling
from cgoleak.probe.overhead import RATES, Overhead
from support.recorded_session import RecordedSession


@pytest.fixture
def session():
    session = RecordedSession()
    session.made.set(clock_per_ms=1_000_000)  # one unit is a nanosecond
    yield session
    session.close()


class Load:
    """A target that makes events at a rate, each of them dear or cheap."""

    def __init__(self, session, *, ns, per_second):
        self.session = session
        self.ns = ns
        self.per_second = per_second
        self.timed = self.clock = self.births = 0

    def goes_on(self, seconds=1.0):
        self.session.now += seconds
        self.births += int(self.per_second * seconds)
        self.timed += 1000
        self.clock += int(1000 * (self.ns - 3))  # the probe does not see three of them
        self.session.made.set(
            passed_births=self.births, timed_events=self.timed, timed_clock=self.clock
        )


def looks(session, load, seconds, limit=0.05):
    overhead = Overhead(session, limit)
    for _ in range(seconds + 1):
        overhead.look(session.elapsed, at_ns=int(session.elapsed * 1e9))
        load.goes_on()
    overhead.look(session.elapsed, at_ns=0, last=True)
    return overhead


def test_the_cost_is_events_times_what_one_takes(session):
    load = Load(session, ns=20, per_second=1_000_000)

    overhead = looks(session, load, 5, limit=None)

    assert overhead.ns_per_event == pytest.approx(20)
    assert overhead.share == pytest.approx(0.02)
    assert session.did == []


def test_below_the_limit_every_block_is_followed(session):
    overhead = looks(session, Load(session, ns=20, per_second=2_000_000), 10)

    assert (overhead.changes, session.did) == ([], [])


def test_above_the_limit_twice_in_a_row_blocks_are_sampled(session):
    load = Load(session, ns=20, per_second=5_000_000)

    overhead = looks(session, load, 2)

    assert session.did == [f"sample {RATES[0]}"]
    (change,) = overhead.changes
    assert isinstance(change, Sampling)
    assert change.rate == RATES[0]
    assert change.since_ns == pytest.approx(2e9, rel=0.01)
    assert change.share == pytest.approx(0.1)


def test_a_burst_of_one_second_changes_nothing(session):
    load = Load(session, ns=20, per_second=100_000)
    overhead = Overhead(session, 0.05)
    for second in range(6):
        overhead.look(session.elapsed, at_ns=0)
        load.per_second = 10_000_000 if second == 2 else 100_000
        load.goes_on()

    assert session.did == []


def test_fewer_samples_are_taken_if_that_makes_it_cheaper(session):
    load = Load(session, ns=20, per_second=20_000_000)

    looks(session, load, 10)

    assert session.did == [f"sample {rate}" for rate in RATES]


def test_fewer_samples_are_not_taken_if_passing_over_is_what_costs(session):
    load = Load(session, ns=20, per_second=20_000_000)
    overhead = Overhead(session, 0.05)
    for _ in range(8):
        overhead.look(session.elapsed, at_ns=0)
        load.ns = 4 if session.did else 20
        load.goes_on()

    assert session.did == [f"sample {RATES[0]}"]


def test_a_target_that_hardly_runs_is_left_alone(session):
    session.cpu_s = lambda elapsed: elapsed / 1000
    load = Load(session, ns=20, per_second=50_000)

    looks(session, load, 10)

    assert session.did == []


def test_without_events_or_after_its_end_nothing_is_known(session):
    overhead = Overhead(session, 0.05)
    session.dies_at = 0.0
    overhead.look(0.0, at_ns=0)

    assert (overhead.share, overhead.ns_per_event) == (None, None)
