"""What the hooks cost: measured while they are in, and kept below a limit."""

from __future__ import annotations

import pytest

from cgoleak.model.capture import Sampling
from cgoleak.probe.overhead import Overhead
from cgoleak.probe.rates import FIRST
from support.recorded_session import RecordedSession


@pytest.fixture
def session():
    session = RecordedSession()
    session.made.set(clock_per_ms=1_000_000)  # one unit is a nanosecond
    session.made.stack(1, [0x400000])
    session.made.row(1, born_blocks=1000, born_bytes=64_000)
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


def looks(session, load, seconds, limit=0.05, window=60.0):
    overhead = Overhead(session, limit, window)
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


def test_events_that_were_timed_below_zero_cost_nothing(session):
    # Seen: 0.5 ns less than nothing, and a capture that its own reader called damaged.
    load = Load(session, ns=20, per_second=1_000_000)
    load.goes_on(0)
    overhead = Overhead(session, None, 60.0)
    overhead.look(session.elapsed, at_ns=0)
    load.ns = -10

    load.goes_on()
    overhead.look(session.elapsed, at_ns=0, last=True)

    assert overhead.ns_per_event is None or overhead.ns_per_event >= 0
    assert overhead.share is None or overhead.share >= 0


def test_events_after_some_that_were_timed_below_zero_cost_what_they_take(session):
    load = Load(session, ns=-10, per_second=1_000_000)
    load.goes_on(0)
    overhead = Overhead(session, None, 60.0)
    overhead.look(session.elapsed, at_ns=0)
    load.ns = 20

    load.goes_on()
    overhead.look(session.elapsed, at_ns=0, last=True)

    assert overhead.ns_per_event == pytest.approx(20)


def test_below_the_limit_every_block_is_followed(session):
    overhead = looks(session, Load(session, ns=20, per_second=2_000_000), 10)

    assert (overhead.changes, session.did) == ([], [])


def test_above_the_limit_twice_in_a_row_blocks_are_sampled(session):
    load = Load(session, ns=20, per_second=5_000_000)

    overhead = looks(session, load, 2)

    assert session.did == [f"sample {FIRST}"]
    (change,) = overhead.changes
    assert isinstance(change, Sampling)
    assert change.rate == FIRST
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
    load = Load(session, ns=200, per_second=20_000_000)
    overhead = Overhead(session, 0.05, 3600.0)
    for _ in range(10):
        overhead.look(session.elapsed, at_ns=0)
        load.ns = 200 / 4 ** len(session.did)
        load.goes_on()

    assert session.did == [f"sample {FIRST}", f"sample {4 * FIRST}", f"sample {16 * FIRST}"]


def test_fewer_samples_are_not_taken_if_passing_over_is_what_costs(session):
    load = Load(session, ns=20, per_second=20_000_000)
    overhead = Overhead(session, 0.05, 3600.0)
    for _ in range(8):
        overhead.look(session.elapsed, at_ns=0)
        load.ns = 4 if session.did else 20
        load.goes_on()
    overhead.look(session.elapsed, at_ns=0, last=True)

    assert session.did == [f"sample {FIRST}"]
    (notice,) = overhead.notices()
    assert notice.code == "probe.above-limit"
    assert "one block per 16.0 KiB followed: fewer samples would cost as much" in notice.text
    assert "hooks still took 8.0 % of the target's CPU time" in notice.text
    assert notice.fix == "allow more with --max-overhead"


def test_a_limit_that_is_held_needs_no_word(session):
    load = Load(session, ns=20, per_second=5_000_000)
    overhead = Overhead(session, 0.05, 60.0)
    for _ in range(8):
        overhead.look(session.elapsed, at_ns=0)
        load.ns = 4 if session.did else 20
        load.goes_on()
    overhead.look(session.elapsed, at_ns=0, last=True)

    assert len(overhead.changes) == 1
    assert overhead.notices() == []


def test_in_a_window_too_short_for_fewer_samples_the_cost_is_told(session):
    load = Load(session, ns=200, per_second=20_000_000)

    overhead = looks(session, load, 3, window=2.05)

    assert overhead.changes == []
    (notice,) = overhead.notices()
    assert "with every block followed: a sample would be too small" in notice.text
    assert notice.fix == "allow more with --max-overhead, or measure longer"


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
