"""The injector: a process of its own that brings the probe into the target, with Frida as a rule.

While Frida borrows the target's main thread, whoever traces it must not die: the thread would go on
with somebody else's registers. So this runs as a child of cgoleak in a session of its own; once
told to go, it finishes whatever becomes of its parent. Before that it touches nothing.

Input: one line of JSON (``Order``) on standard input; end of file means: do nothing. Output: lines
of JSON on standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import frida

from cgoleak.errors import CgoleakError, NoSuchProcess, TargetBusy
from cgoleak.probe.entry.borrow import bring_in
from cgoleak.probe.entry.guard import SafePlaces, stop_at_safe_place
from cgoleak.probe.entry.orders import Order
from cgoleak.probe.entry.readiness import see_memory_files
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory

__all__ = ["main"]

_UNLOAD_S: Final = 3.0
_LOADER_END: Final = (sys.executable, "-m", "cgoleak.probe.entry.loaderend")


def main() -> int:
    """Wait for the order, carry it out, report."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    _keep_frida_to_itself()
    device = frida.get_local_device()
    _tell({"ready": True})
    line = sys.stdin.readline()
    if not line:
        return 0
    order = Order(**json.loads(line))
    try:
        answer = _inject(device, order)
    except CgoleakError as exc:
        answer = {"error": type(exc).__name__, "what": exc.what, "cause": exc.cause, "fix": exc.fix}
    except Exception as exc:  # noqa: BLE001  (handed over whole: the parent decides what it means)
        said = f"{type(exc).__name__}: {exc}"
        answer = {"error": "AttachFailed", "what": None, "cause": said, "fix": None}
    _finish(order.pid)
    _tell(answer)
    return 0


def _keep_frida_to_itself() -> None:
    """Have Frida start no process but this one.

    Whoever asks it for a device starts its daemon for iPhones (idund), which outlives us, and whose
    ten megabytes stay where temporary files are. Frida says so and goes on where there is no such
    place; nothing that it does with a process of this machine needs one.
    """
    os.environ["TMPDIR"] = os.devnull


def _tell(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the parent is gone; the work goes on
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def _inject(device: frida.Device, order: Order) -> dict[str, Any]:
    if order.dead:
        loan = bring_in(order)
        return {"pause_seconds": loan.seconds, "attempts": loan.attempts, "unloaded": True}
    see_memory_files()
    unloaded = threading.Event()
    device.on("uninjected", lambda _id: unloaded.set())
    image = Path(order.image).read_bytes()
    attempts = 0
    data = f"{order.start:x}"
    watcher = _have_watched(order.pid) if order.namespaced else None
    if watcher is not None:
        data += "w"
    if not order.held:
        places = SafePlaces(
            [(a, b) for a, b in order.risky],
            [(a, b) for a, b in order.risky_data],
            frozenset(order.returns),
            order.arch,
        )
        attempts = stop_at_safe_place(order.pid, places)
    began = time.monotonic()
    try:
        _see_it_is_surveyed(order)
        device.inject_library_blob(order.pid, image, "cgoleak_entry", data)
        if order.held:
            _tell({"injected": True})
            sys.stdin.readline()  # the slots are taken, or our parent has died
    finally:
        paused = time.monotonic() - began
        _let_go(device, order)
    if watcher is not None:
        watcher.communicate(b"it runs again\n")
    gone = unloaded.wait(_UNLOAD_S)
    return {"ok": True, "pause_seconds": paused, "attempts": attempts, "unloaded": gone}


def _have_watched(pid: int) -> subprocess.Popen[bytes]:
    """Start who stops us while the loader's thread ends; it waits to be told, or for our end."""
    return subprocess.Popen(
        (*_LOADER_END, str(pid)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _see_it_is_surveyed(order: Order) -> None:
    """See that a stopped process is still the program that safe places are known of."""
    if not order.mark:
        return
    with Memory(order.pid) as memory:
        if not order.is_for(memory):
            raise TargetBusy(
                f"found no safe moment to enter pid {order.pid}",
                cause="it has just become another program",
                fix="try again",
            )


def _let_go(device: frida.Device, order: Order) -> None:
    """Leave nobody stopped: Frida keeps the main thread of a process that it found stopped."""
    with contextlib.suppress(Exception):  # it was not kept: then there is nothing to resume
        device.resume(order.pid)
    with contextlib.suppress(NoSuchProcess, ProcessLookupError):
        if procfs.stat(order.pid).state == "T":
            os.kill(order.pid, signal.SIGCONT)


def _finish(pid: int) -> None:
    """Wait until Frida has done all it means to do with the target.

    After ``uninjected`` it borrows the main thread once more, to unmap its loader; only its own
    close knows when that is over (LinuxHelperBackend.close waits for ``idle``). Between the signal
    and that the target is untraced for a moment: to end there killed one target in 400.
    """
    closing = threading.Thread(target=frida.shutdown, daemon=True)
    closing.start()
    closing.join(_UNLOAD_S)
    _wait_untraced(pid)


def _wait_untraced(pid: int) -> None:
    deadline = time.monotonic() + _UNLOAD_S
    while time.monotonic() < deadline:
        try:
            if procfs.status(pid).tracer_pid == 0:
                return
        except CgoleakError:
            return
        time.sleep(0.002)


if __name__ == "__main__":
    sys.exit(main())
