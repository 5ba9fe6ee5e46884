"""A command held at its entry point: real children, from the start to the exit status."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cgoleak.errors import AttachFailed, NoSuchProcess
from cgoleak.probe.entry.spawn import HeldProcess
from cgoleak.probe.stopped.ptrace import Request, request
from cgoleak.target.kernel import procfs
from support.fake_target import state_of

pytestmark = pytest.mark.native


@pytest.fixture(scope="module", autouse=True)
def _may_trace():
    try:
        HeldProcess(["true"], tracer=os.getpid()).kill()
    except AttachFailed as exc:
        pytest.skip(f"children cannot be traced here: {exc.cause}")


@pytest.fixture
def hold():
    """Hold a command; whatever becomes of the test, no child stays."""
    children = []

    def start(*command):
        held = HeldProcess(command, tracer=os.getpid())
        children.append(held)
        return held

    yield start
    for held in children:
        held.kill()


@contextmanager
def handling(number, disposition):
    """Let a signal do this in us, for a while."""
    before = signal.signal(number, disposition)
    try:
        yield
    finally:
        signal.signal(number, before)


def ended(held):
    """Wait for its end; None after ten seconds."""
    deadline = time.monotonic() + 10
    return held.wait(lambda: time.monotonic() > deadline)


def mask(pid, name):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith(f"{name}:"))


def ignores(pid, number):
    return bool(mask(pid, "SigIgn") >> (number - 1) & 1)


# --- holding ----------------------------------------------------------------------------------


def test_a_held_command_stands_still_with_its_libraries_mapped(hold):
    held = hold("sh", "-c", "exit 0")

    assert state_of(held.pid) == "T"
    assert held.poll() is None
    assert not held.has_ended()
    assert any("libc" in region.path or "musl" in region.path for region in procfs.maps(held.pid))
    assert procfs.status(held.pid).tracer_pid == 0


def test_nothing_of_its_own_has_run_before_the_release(hold, tmp_path):
    made = tmp_path / "made"
    held = hold("touch", str(made))

    assert not made.exists()
    held.release()
    assert ended(held) == 0
    assert made.exists()


def test_its_code_is_that_of_the_file_to_the_byte(hold):
    held = hold("sleep", "60")

    file = Path(f"/proc/{held.pid}/exe").read_bytes()
    code = [
        region
        for region in procfs.maps(held.pid)
        if region.executable and region.inode == Path(f"/proc/{held.pid}/exe").stat().st_ino
    ]
    assert code
    with open(f"/proc/{held.pid}/mem", "rb") as memory:  # noqa: PTH123
        for region in code:
            memory.seek(region.start)
            there = memory.read(region.end - region.start)
            expected = file[region.offset : region.offset + len(there)]
            assert there[: len(expected)] == expected


def test_a_script_is_held_in_its_interpreter(hold, tmp_path):
    script = tmp_path / "job"
    script.write_text('#!/bin/sh\nexit "$1"\n')
    script.chmod(0o755)

    held = hold(str(script), "5")

    assert Path(f"/proc/{held.pid}/exe").resolve() == Path("/bin/sh").resolve()
    held.release()
    assert ended(held) == 5


def test_a_released_command_needs_no_second_release(hold):
    held = hold("true")

    held.release()
    held.release()

    assert ended(held) == 0
    held.release()


# --- exit status ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_status_is_passed_on(hold, code):
    held = hold("sh", "-c", f"exit {code}")
    held.release()

    assert ended(held) == code
    assert held.poll() == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_gives_its_number_and_128(hold, number):
    held = hold("sleep", "60")
    held.release()
    os.kill(held.pid, number)

    assert ended(held) == 128 + number


def test_a_command_that_is_asked_to_end_ends(hold):
    held = hold("sleep", "60")
    held.release()
    held.terminate()

    assert ended(held) == 128 + signal.SIGTERM
    held.terminate()


def test_a_command_that_never_ran_is_ended_for_good(hold, tmp_path):
    made = tmp_path / "made"
    held = hold("touch", str(made))

    held.kill()

    assert held.poll() == 128 + signal.SIGKILL
    assert held.has_ended()
    assert not made.exists()


def test_waiting_can_be_given_up(hold):
    held = hold("sleep", "60")
    asked = iter([False, True])

    assert held.wait(lambda: next(asked)) is None


def test_looking_whether_it_has_ended_does_not_take_its_status(hold):
    held = hold("sh", "-c", "exit 3")
    held.release()
    os.waitid(os.P_PID, held.pid, os.WEXITED | os.WNOWAIT)

    assert held.has_ended()
    assert held.poll() == 3


def test_a_stop_for_a_thread_of_ours_that_traces_it_is_no_end(hold):
    held = hold("sleep", "60")
    held.release()
    stopped, looked = threading.Event(), threading.Event()

    def trace():
        request(Request.SEIZE, held.pid)
        request(Request.INTERRUPT, held.pid)
        os.waitid(os.P_PID, held.pid, os.WSTOPPED | os.WNOWAIT)
        stopped.set()
        looked.wait(10)

    tracer = threading.Thread(target=trace)
    tracer.start()
    try:
        assert stopped.wait(10)
        assert not held.has_ended()
        assert held.poll() is None
    finally:
        looked.set()
        tracer.join()


def test_a_command_that_somebody_else_waited_for_has_ended(hold):
    held = hold("sh", "-c", "exit 3")
    held.release()
    os.waitpid(held.pid, 0)

    assert held.has_ended()
    assert ended(held) == 0


def test_where_children_are_reaped_by_the_kernel_waiting_still_ends(hold):
    with handling(signal.SIGCHLD, signal.SIG_IGN):
        held = hold("true")
        held.release()

        assert ended(held) == 0


# --- signals ----------------------------------------------------------------------------------


def test_ctrl_c_reaches_the_command_though_we_handle_it(hold):
    with handling(signal.SIGINT, signal.default_int_handler):
        held = hold("sleep", "60")

    assert not ignores(held.pid, signal.SIGINT)
    held.release()
    os.kill(held.pid, signal.SIGINT)
    assert ended(held) == 128 + signal.SIGINT


def test_what_our_caller_ignores_the_command_ignores(hold):
    with handling(signal.SIGINT, signal.SIG_IGN):
        held = hold("sleep", "60")

    assert ignores(held.pid, signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGXFSZ])
def test_what_only_python_ignores_the_command_does_not(hold, number):
    with handling(number, signal.SIG_IGN):
        held = hold("sleep", "60")

    assert not ignores(held.pid, number)


# --- what cannot be started -------------------------------------------------------------------


def test_a_command_that_is_not_there_is_told_with_a_fix(hold, tmp_path):
    with pytest.raises(NoSuchProcess) as error:
        hold(str(tmp_path / "nowhere"))

    assert "nowhere" in error.value.what
    assert error.value.cause == "No such file or directory"
    assert "PATH" in error.value.fix


def test_a_file_that_is_not_executable_is_told(hold, tmp_path):
    (tmp_path / "notes").write_text("#!/bin/sh\n")

    with pytest.raises(NoSuchProcess) as error:
        hold(str(tmp_path / "notes"))

    assert error.value.cause == "Permission denied"
    assert error.value.fix == f"make it executable: chmod +x {tmp_path / 'notes'}"


def test_a_file_that_is_no_program_is_told(hold, tmp_path):
    (tmp_path / "data").write_bytes(b"\0" * 64)
    (tmp_path / "data").chmod(0o755)

    with pytest.raises(NoSuchProcess) as error:
        hold(str(tmp_path / "data"))

    assert error.value.cause == "Exec format error"


def test_a_command_that_ends_in_its_loader_is_told_with_its_status(hold, monkeypatch, capfd):
    monkeypatch.setenv("LD_TRACE_LOADED_OBJECTS", "1")  # as ldd does: it lists and exits

    with pytest.raises(AttachFailed) as error:
        hold("true")

    assert error.value.cause == "exit status 0"
