"""Our side of the injector's protocol, spoken with a shell script in the injector's place."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from dataclasses import replace

import pytest

from cgoleak import errors
from cgoleak.errors import AttachFailed, NoSuchProcess, NotPermitted, TargetBusy, UnsupportedTarget
from cgoleak.probe.entry import injector as driver
from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.entry.orders import Order
from cgoleak.target.kernel import procfs
from support.live import wait_until

RESULT = {"ok": True, "pause_seconds": 0.0125, "attempts": 2, "unloaded": True}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Nobody waits half a minute for a script that says nothing."""
    monkeypatch.setattr(driver, "_READY_S", 10.0)
    monkeypatch.setattr(driver, "_INJECT_S", 10.0)


def an_order(*, held=False):
    return Order(
        pid=4242,
        image="/usr/lib/x86_64.so",
        start=0x7F00_0000_1000,
        namespaced=False,
        held=held,
        risky=[(0x1000, 0x2000)],
        risky_data=[],
        returns=[0x1234],
        arch="x86_64",
    )


def say(message):
    return f"echo '{json.dumps(message)}'; "


READY = say({"ready": True})
TAKE_ORDER = "read -r order; "


@pytest.mark.parametrize(
    ("which", "what", "fix"),
    [
        # Frida ends itself when it cannot write; the target was left stopped.
        (resource.RLIMIT_FSIZE, "may not have large files", "ulimit -f unlimited"),
        (resource.RLIMIT_AS, "may not map enough memory", "ulimit -v unlimited"),
    ],
)
def test_a_limit_of_ours_is_told_before_anything_is_touched(monkeypatch, which, what, fix):
    limits = {which: (1 << 20, 1 << 20)}
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits.get(kind, unlimited))

    with pytest.raises(UnsupportedTarget, match=what) as caught:
        a_script(READY)
    assert fix in str(caught.value.fix)


def a_script(*steps):
    return Injector(["sh", "-c", "".join(steps)])


def test_an_order_is_sent_whole_and_its_result_comes_back(tmp_path):
    told = tmp_path / "order"
    script = (READY, TAKE_ORDER, f'printf %s "$order" > {told}; ', say(RESULT))
    with a_script(*script) as injector:
        assert injector.inject(an_order()) == RESULT

    received = json.loads(told.read_text())
    assert (received["pid"], received["start"], received["held"]) == (4242, 0x7F00_0000_1000, False)
    assert (received["risky"], received["returns"]) == ([[0x1000, 0x2000]], [0x1234])
    assert Order(**received).image == "/usr/lib/x86_64.so"


def test_a_held_process_is_released_by_a_second_line():
    script = (READY, TAKE_ORDER, say({"injected": True}), TAKE_ORDER, say(RESULT))
    with a_script(*script) as injector:
        assert injector.inject(an_order(held=True)) == {"injected": True}
        assert injector.release() == RESULT


def test_without_an_order_it_is_sent_away(tmp_path):
    gone = tmp_path / "gone"
    with a_script(f"read -r order || echo gone > {gone}") as injector:
        pid = injector.pid

    assert gone.read_text() == "gone\n"
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_one_that_does_not_leave_is_ended(monkeypatch):
    monkeypatch.setattr(driver, "_INJECT_S", 0.05)
    injector = Injector(["sleep", "60"])

    injector.close()

    with pytest.raises(ProcessLookupError):
        os.kill(injector.pid, 0)


def test_it_is_out_of_reach_of_our_process_group():
    with a_script(READY, TAKE_ORDER) as injector:
        assert os.getsid(injector.pid) == injector.pid


def test_a_process_that_stands_still_after_its_injector_died_is_told_with_what_lets_it_go_on():
    with subprocess.Popen(["sleep", "60"]) as target:
        try:
            target.send_signal(signal.SIGSTOP)
            wait_until(lambda: procfs.stat(target.pid).state == "T", "its stop")
            with a_script(READY, TAKE_ORDER) as injector, pytest.raises(AttachFailed) as error:
                injector.inject(replace(an_order(), pid=target.pid))
        finally:
            target.kill()

    assert f"and pid {target.pid} stands still" in error.value.what
    assert f"kill -CONT {target.pid}" in str(error.value.fix)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TargetBusy, NoSuchProcess, NotPermitted, AttachFailed])
def test_the_injectors_errors_are_raised_here_with_all_they_say(kind):
    told = {"error": kind.__name__, "what": "no", "cause": "because", "fix": "do"}
    with a_script(READY, TAKE_ORDER, say(told)) as injector, pytest.raises(kind) as error:
        injector.inject(an_order())

    assert type(error.value) is kind
    assert (error.value.what, error.value.cause, error.value.fix) == ("no", "because", "do")


def test_an_error_that_says_little_gets_words():
    told = {"error": "AttachFailed", "what": None, "cause": "Frida says no", "fix": None}
    with a_script(READY, TAKE_ORDER, say(told)) as injector, pytest.raises(AttachFailed) as error:
        injector.inject(an_order())

    assert "4242" in error.value.what
    assert error.value.cause == "Frida says no"
    assert "cgoleak doctor 4242" in error.value.fix


@pytest.mark.parametrize("name", ["Nonsense", "annotations", "ClassVar", "__all__", None, 7])
def test_an_error_that_is_none_of_ours_is_a_failed_attach(name):
    told = {"error": name}
    with a_script(READY, TAKE_ORDER, say(told)) as injector, pytest.raises(AttachFailed):
        injector.inject(an_order())


def test_an_error_after_the_release_is_raised_too():
    told = {"error": "AttachFailed", "what": None, "cause": "it broke", "fix": None}
    script = (READY, TAKE_ORDER, say({"injected": True}), TAKE_ORDER, say(told))
    with a_script(*script) as injector:
        injector.inject(an_order(held=True))
        with pytest.raises(AttachFailed) as error:
            injector.release()

    assert error.value.cause == "it broke"


@pytest.mark.parametrize(
    "garbage",
    [
        "Segmentation fault",
        "\\377\\376",
        "[1, 2]",
        "null",
        "{}",
        '{"ok": true}',
        "[" * 5000,
        '{"injected": true}',
    ],
    ids=["words", "bytes", "list", "null", "nothing", "too little", "nested", "out of turn"],
)
def test_garbage_is_a_failed_attach_that_quotes_it(garbage):
    script = (READY, TAKE_ORDER, f"printf '{garbage}\\n'")
    with a_script(*script) as injector, pytest.raises(AttachFailed) as error:
        injector.inject(an_order())

    assert "cannot be understood" in error.value.what
    assert len(error.value.cause) < 200
    assert error.value.fix


def test_garbage_instead_of_ready_is_found_before_the_order_goes_out(tmp_path):
    told = tmp_path / "order"
    script = ("echo Traceback; ", f"read -r order && echo told > {told}")
    with a_script(*script) as injector, pytest.raises(AttachFailed):
        injector.inject(an_order())

    assert not told.exists()


def test_no_answer_is_a_failed_attach(monkeypatch):
    monkeypatch.setattr(driver, "_READY_S", 0.05)
    with a_script(TAKE_ORDER) as injector, pytest.raises(AttachFailed) as error:
        injector.inject(an_order())

    assert error.value.cause.startswith("nothing came")


@pytest.mark.parametrize("script", [("exit 1",), (READY, TAKE_ORDER, "kill -9 $$")])
def test_an_injector_that_dies_is_a_failed_attach(script):
    with a_script(*script) as injector, pytest.raises(AttachFailed) as error:
        injector.inject(an_order())

    assert error.value.cause == "it ended"


def test_an_injector_that_dies_while_the_process_is_held_is_a_failed_attach():
    with a_script(READY, TAKE_ORDER, say({"injected": True})) as injector:
        injector.inject(an_order(held=True))
        os.waitid(os.P_PID, injector.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(AttachFailed) as error:
            injector.release()

    assert error.value.cause == "it ended"


def test_every_error_of_ours_can_cross():
    for name in errors.__all__:
        told = {"error": name, "what": "w", "cause": None, "fix": None}
        assert type(driver._error(1, told)).__name__ == name
