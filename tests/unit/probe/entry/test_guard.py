"""Where the main thread may be borrowed, and that a target is left stopped there or running."""

from __future__ import annotations

import os
import platform
import subprocess

import pytest

from cgoleak.errors import NoSuchProcess, TargetBusy
from cgoleak.probe.entry import guard
from cgoleak.probe.entry.guard import Place, SafePlaces, stop_at_safe_place
from support.fake_target import a_child, a_stopped_process, state_of, words

GO_TEXT = 0x401000
LIBC_TEXT = 0x7F00_0000_1000
LIBC_DATA = 0x7F00_0020_0000
RESTORER = 0x7F00_0000_1F50
ARENA = 0x7E00_0400_0000
CALLS = {
    "x86_64": {"read": 0, "poll": 7, "nanosleep": 35, "futex": 202, "brk": 12},
    "aarch64": {"read": 63, "poll": 73, "nanosleep": 101, "futex": 98, "brk": 214},
}
CALM = words(*range(512))


def places(arch="x86_64"):
    return SafePlaces(
        risky=[(LIBC_TEXT, LIBC_TEXT + 0x10000)],
        risky_data=[(LIBC_DATA, LIBC_DATA + 0x4000)],
        returns=frozenset({RESTORER}),
        arch=arch,
    )


def in_go():
    return Place(syscall=-1, argument=0, sp=0x10000, pc=GO_TEXT)


def in_libc(syscall=-1, argument=0):
    return Place(syscall, argument, sp=0x10000, pc=LIBC_TEXT + 0x40)


def test_go_code_is_a_safe_place():
    assert places().is_safe(in_go(), CALM)


@pytest.mark.parametrize("pc", [LIBC_TEXT, LIBC_TEXT + 0xFFFF])
def test_the_code_of_libc_is_none(pc):
    assert not places().is_safe(Place(-1, 0, 0x10000, pc), CALM)


def test_the_byte_behind_libcs_code_is_somebody_elses():
    assert places().is_safe(Place(-1, 0, 0x10000, LIBC_TEXT + 0x10000), CALM)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("call", ["read", "poll", "nanosleep"])
def test_a_wait_in_libc_that_holds_no_lock_is_safe(arch, call):
    assert places(arch).is_safe(in_libc(CALLS[arch][call]), CALM)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_call_that_the_allocator_makes_is_not(arch):
    assert not places(arch).is_safe(in_libc(CALLS[arch]["brk"]), CALM)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("mutex", "safe"),
    [
        (0xC000012340, True),
        (LIBC_DATA, False),
        (LIBC_DATA + 0x3FFC, False),
        (LIBC_DATA + 0x4000, True),
        (ARENA, False),
        (ARENA + 0x30, False),
        (ARENA + 4096, True),
    ],
)
def test_a_mutex_of_the_programs_own_is_safe_and_the_allocators_is_not(arch, mutex, safe):
    assert places(arch).is_safe(in_libc(CALLS[arch]["futex"], mutex), CALM) is safe


@pytest.mark.parametrize("place", [in_go(), in_libc(0)], ids=["in Go", "in read"])
@pytest.mark.parametrize("depth", [0, 7, 4095])
def test_nothing_is_safe_while_a_signal_handler_runs(place, depth):
    stack = [0] * 4096
    stack[depth] = RESTORER

    assert not places().is_safe(place, words(*stack))


def test_a_stack_that_cannot_be_read_may_hold_a_handler():
    assert not places().is_safe(in_go(), None)


# --- stopping -------------------------------------------------------------------------------


@pytest.fixture
def sleeper():
    with a_child("sleep", "60") as pid:
        yield pid


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(guard, "_PATIENCE_S", 0.03)


def nowhere_risky(arch=None):
    return SafePlaces([], [], frozenset({RESTORER}), arch or platform.machine())


def test_a_process_at_a_safe_place_is_left_stopped(sleeper):
    assert stop_at_safe_place(sleeper, nowhere_risky()) == 1

    assert state_of(sleeper) == "T"


def test_a_process_that_sleeps_in_libc_is_left_stopped(sleeper):
    everywhere = SafePlaces([(0, 1 << 64)], [], frozenset(), platform.machine())

    stop_at_safe_place(sleeper, everywhere)

    assert state_of(sleeper) == "T"


def test_a_process_that_never_comes_to_one_runs_on(impatient):
    everywhere = SafePlaces([(0, 1 << 64)], [], frozenset(), platform.machine())
    with a_child("sh", "-c", "while :; do :; done") as pid:
        with pytest.raises(TargetBusy) as error:
            stop_at_safe_place(pid, everywhere)

        assert state_of(pid) == "R"
    assert "looks" in str(error.value.cause)
    assert error.value.fix


def test_a_handler_whose_stack_ends_with_the_memory_is_seen(sleeper, tmp_path, impatient):
    # Three pages and a bit: what is left of a signal stack of eight.
    stack = bytes(3 * 4096 + 512 - 16) + words(RESTORER, 0)
    start = 0x20000 - 512
    a_stopped_process(
        tmp_path,
        sleeper,
        syscall=f"-1 {start:#x} {GO_TEXT:#x}\n",
        stack_at=start,
        stack=stack,
    )

    with pytest.raises(TargetBusy):
        stop_at_safe_place(sleeper, nowhere_risky(), tmp_path)


def test_a_short_stack_without_a_handler_is_enough(sleeper, tmp_path, impatient):
    a_stopped_process(
        tmp_path, sleeper, syscall=f"-1 0x1fff0 {GO_TEXT:#x}\n", stack_at=0x1FFF0, stack=bytes(16)
    )

    assert stop_at_safe_place(sleeper, nowhere_risky(), tmp_path) == 1


def test_the_first_argument_of_the_call_is_what_it_waits_for(sleeper, tmp_path, impatient):
    futex = CALLS[platform.machine()]["futex"]
    at_its_end = f"0x80 0x0 0x0 0x0 0x0 0x10000 {LIBC_TEXT:#x}\n"
    folder = a_stopped_process(
        tmp_path, sleeper, syscall=f"{futex} {LIBC_DATA:#x} {at_its_end}", stack=CALM
    )
    ours = SafePlaces(
        places().risky, places().risky_data, frozenset({RESTORER}), platform.machine()
    )

    with pytest.raises(TargetBusy):
        stop_at_safe_place(sleeper, ours, tmp_path)

    (folder / "syscall").write_text(f"{futex} 0xc000012340 {at_its_end}")
    assert stop_at_safe_place(sleeper, ours, tmp_path) == 1


@pytest.mark.parametrize("said", ["running\n", ""], ids=["woken", "ended"])
def test_a_place_that_the_kernel_does_not_tell_is_not_safe(sleeper, tmp_path, impatient, said):
    a_stopped_process(tmp_path, sleeper, syscall=said, stack=CALM)

    with pytest.raises(TargetBusy):
        stop_at_safe_place(sleeper, nowhere_risky(), tmp_path)

    assert state_of(sleeper) != "T"


def test_a_process_that_does_not_stop_in_time_runs_on(sleeper, tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(guard, "_STOP_S", 0.01)
    folder = a_stopped_process(tmp_path, sleeper, syscall=f"-1 0x10000 {GO_TEXT:#x}\n", stack=CALM)
    (folder / "stat").write_text((folder / "stat").read_text().replace(" T ", " D ", 1))

    with pytest.raises(TargetBusy):
        stop_at_safe_place(sleeper, nowhere_risky(), tmp_path)

    assert state_of(sleeper) != "T"


def test_a_process_that_has_ended_is_no_such_process():
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NoSuchProcess):
            stop_at_safe_place(process.pid, nowhere_risky())


def test_a_process_that_was_reaped_meanwhile_is_no_such_process(tmp_path):
    with subprocess.Popen(["true"]) as process:
        process.wait()
    a_stopped_process(tmp_path, process.pid, syscall="")

    with pytest.raises(NoSuchProcess):
        stop_at_safe_place(process.pid, nowhere_risky(), tmp_path)
