"""The probe's entry, called as Frida's loader calls it, and who sees that thread to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import pytest

pytestmark = pytest.mark.native

LEFT_AT_ONCE, STAYS = 0, 1
"""What the entry tells Frida of the pages that it brought."""

ENTERED: Final = """
import ctypes, json, sys, threading, time
from cgoleak.probe.wire.artifact import load_artifact
entry = ctypes.CDLL(str(load_artifact().path)).cgoleak_entry
said = {}
def enter():
    policy = ctypes.c_int(7)
    entry(b"0w", ctypes.byref(policy), None)
    said["policy"], said["returned"] = policy.value, time.monotonic()
    time.sleep(0.3)
    said["ended"] = time.monotonic()
loader = threading.Thread(target=enter)
loader.start()
print("entered", flush=True)
loader.join()
print(json.dumps(said), flush=True)
sys.stdin.readline()
"""
"""A process that is entered; its loader's thread takes its time to end."""

INJECTOR: Final = """
import json, subprocess, sys, time
words = [sys.executable, "-m", "cgoleak.probe.entry.loaderend", sys.argv[1]]
watcher = subprocess.Popen(words, stdin=subprocess.PIPE)
watcher.stdin.write(b"go\\n")
watcher.stdin.close()
alive = []
while watcher.poll() is None:
    alive.append(time.monotonic())
    time.sleep(0.005)
alive.append(time.monotonic())
print(json.dumps({"alive": alive, "status": watcher.returncode}))
"""
"""Stands for the injector: says when it was awake."""


@pytest.fixture
def entered():
    words = [sys.executable, "-c", ENTERED]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"entered\n"
        yield process
        process.kill()


def test_the_injector_stands_still_until_the_loaders_thread_has_ended(entered):
    words = [sys.executable, "-c", INJECTOR, str(entered.pid)]
    injector = subprocess.run(words, capture_output=True, timeout=60, check=True)

    target, seen = json.loads(entered.stdout.readline()), json.loads(injector.stdout)
    assert seen["status"] == 0
    assert target["policy"] == LEFT_AT_ONCE
    assert not [at for at in seen["alive"] if target["returned"] < at < target["ended"]]
    assert seen["alive"][-1] > target["ended"]


def test_an_entry_that_nobody_watches_has_the_loader_left_where_it_is(entered):
    assert json.loads(entered.stdout.readline())["policy"] == STAYS


def test_whoever_sees_the_thread_out_ends_with_an_injector_that_never_told_it_to_begin(entered):
    words = [sys.executable, "-m", "cgoleak.probe.entry.loaderend", str(entered.pid)]

    watcher = subprocess.run(words, stdin=subprocess.DEVNULL, timeout=60, check=False)

    assert watcher.returncode == 1
