"""The short form of the stress suite: what must hold before anything is merged."""

from __future__ import annotations

import pytest

from stress.kills import run_kills
from stress.limits import no_memory_group, run_full, run_limited, run_narrow
from stress.rounds import run_rounds
from stress.target import hammer, missing
from stress.tortures import ENDINGS, MODES, run_asked, run_ending, run_mode
from support.containers import can_make_namespaces

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]


def test_twenty_rounds_under_a_hammer_leave_the_target_as_it_was() -> None:
    with hammer("-threads", "4") as running:
        found = run_rounds(running, 20)

    assert found.done == 20


def test_rounds_in_which_calls_are_rewritten_leave_the_code_as_it_was() -> None:
    with hammer("-threads", "4", own_malloc=True) as running:
        found = run_rounds(running, 6, seconds_each=0.1)

    assert found.done == 6


@pytest.mark.skipif(not can_make_namespaces(), reason="unshare is refused here")
def test_rounds_from_outside_its_pid_namespace_leave_the_target_as_it_was() -> None:
    with hammer("-threads", "4", namespaced=True) as running:
        found = run_rounds(running, 10)

    assert found.done == 10


def test_a_main_thread_that_allocates_all_the_time_is_entered_or_left_alone() -> None:
    with hammer("-threads", "1", "-main-in-c") as running:
        found = run_rounds(running, 4)

    assert found.done + found.busy == 4


def test_killing_cgoleak_at_any_moment_leaves_the_target_as_it_was() -> None:
    with hammer("-threads", "2") as running:
        found = run_kills(running, 6, seed=20260923)

    assert len(found.delays) == 6


def test_every_block_is_counted_to_the_byte() -> None:
    run_asked(2000)


def test_a_target_that_may_not_have_large_files_is_refused_and_lives() -> None:
    run_limited()


def test_what_finds_no_room_in_the_tables_is_counted_and_the_target_lives() -> None:
    run_full()


@pytest.mark.skipif(no_memory_group() is not None, reason=str(no_memory_group()))
def test_a_target_close_to_its_memory_limit_is_refused_or_left_and_lives() -> None:
    run_narrow()


@pytest.mark.parametrize("mode", ["fork", "dlopen", "threads", "handler", "callback"])
def test_what_a_program_may_do_while_it_is_measured(mode: str) -> None:
    run_mode(mode, 1, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_what_a_program_may_do_while_it_is_measured_again_and_again(mode: str) -> None:
    run_mode(mode, 3, 2.0)


@pytest.mark.parametrize("mode", ["crash", "exec"])
def test_a_target_that_ends_while_it_is_hooked_ends_as_it_would(mode: str) -> None:
    assert run_ending(mode, 1, hooked=True) == "attached"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ENDINGS)
def test_a_target_that_ends_while_it_is_entered_ends_as_it_would(mode: str, seed: int) -> None:
    run_ending(mode, seed, hooked=False)
