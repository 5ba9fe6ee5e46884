"""Blocks and bytes are those that the worker itself has counted: all of them, and no others."""

from __future__ import annotations

import json

import pytest

from cgoleak.capture.reader import open_capture
from support.go_programs import missing_tools
from support.live import Load, Worker, attach
from support.tallies import MORE_CALLS, seen_by_counter

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
]

THREADS = 4
PAIRS = 2_200_000  # on each; every fourth is two allocations
ALL_FAULTS = (
    "c-leak,cpp-leak,cstring-leak,realloc-leak,callback-leak,thread-leak,dlopen-leak,"
    "aligned-leak,strdup-leak,mmap-leak,cache-fills,pool"
)


@pytest.fixture(scope="module")
def hammered(sample, tmp_path_factory):
    """Pictures with all faults at once, and threads that do nothing but malloc, realloc and free.

    Gives the worker's counts, taken when nothing ran any more, and the capture.
    """
    folder = tmp_path_factory.mktemp("exact")
    with Worker(sample, "-scenario", ALL_FAULTS, "-event-delay", "1s") as worker:
        assert worker.counters() == {}
        with attach(folder, worker.pid) as watching:
            watching.until_hooked(worker.pid)
            with Load(sample, worker.address, seconds=6) as load:
                path = f"/hammer?threads={THREADS}&pairs={PAIRS}&depth=6&keep=1000"
                hammer = json.loads(worker.post(path))
                answered = load.answered()
            counters = worker.settled_counters()
            watching.interrupt()
            status = watching.finish()
        assert (status, answered["errors"]) == (0, 0), watching.stderr
        assert hammer["pairs"] == PAIRS
        assert worker.answers()
    return counters, open_capture(watching.capture_file)


def test_ten_million_allocations_were_made_on_four_threads(hammered):
    counters, capture = hammered

    made = sum(n["allocs"] for name, n in counters.items() if name.startswith("hammer_"))

    assert made >= 10_000_000
    assert capture.snapshots[-1].counters.events >= 2 * made - 4 * THREADS * PAIRS // 1000


def test_nothing_was_dropped(hammered):
    _, capture = hammered
    said = capture.snapshots[-1].counters

    assert (said.dropped_blocks, said.dropped_stacks) == (0, 0)


def test_outstanding_blocks_and_bytes_of_every_site_are_exact(hammered):
    counters, capture = hammered
    seen = seen_by_counter(capture, counters)

    assert len(counters) > 20
    for name, counted in counters.items():
        for what in ("blocks", "bytes"):
            assert (name, what, seen[name][what]) == (name, what, counted[what])


def test_every_allocation_and_free_was_counted_once(hammered):
    counters, capture = hammered
    seen = seen_by_counter(capture, counters)

    for name, counted in counters.items():
        if name not in MORE_CALLS:
            expected = {what: counted[what] for what in seen[name]}
            assert (name, seen[name]) == (name, expected)


def test_what_is_freed_later_is_not_outstanding_any_more(sample, tmp_path):
    """Blocks of an earlier request, freed by another thread."""
    with Worker(sample) as worker, attach(tmp_path, worker.pid) as watching:
        watching.until_hooked(worker.pid)
        worker.post("/hammer?threads=2&pairs=100000&depth=0&keep=10")
        counters = json.loads(worker.post("/hammer/release"))
        watching.interrupt()
        assert watching.finish() == 0, watching.stderr
    capture = open_capture(watching.capture_file)

    seen = seen_by_counter(capture, counters)

    hammers = [name for name in counters if name.startswith("hammer_")]
    assert len(hammers) == 4
    for name in hammers:
        assert seen[name] == counters[name]
        assert seen[name]["blocks"] == 0
