"""The demonstration: a worker under load that leaks, and cgoleak attached to it.

Starts the worker and the load driver, attaches for some seconds, leaves the reports in
``out/demo``, and ends everything that it started.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


def main() -> int:
    """Run it; returns cgoleak's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="c-leak", help="fault of the worker (worker -list)")
    parser.add_argument("--seconds", type=int, default=20, help="how long to measure")
    options = parser.parse_args()
    out = ROOT / "out" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        worker, url = stack.enter_context(started_worker(options.scenario))
        say(f"$ worker -scenario {options.scenario}    (pid {worker.pid}, {url})")
        load = ["-url", url, "-rate", "50", "-duration", f"{options.seconds + 30}s"]
        stack.enter_context(started([HERE / "bin" / "load", *load]))
        say(f"$ load -rate 50    (50 pictures a second)\n$ cgoleak attach {worker.pid}\n")
        status = subprocess.run(
            [
                Path(sys.executable).with_name("cgoleak"),
                "attach",
                str(worker.pid),
                "--duration",
                f"{options.seconds}s",
                "--force",
                "-o",
                out / "report.json",
                "-o",
                out / "report.html",
                "-o",
                out / "capture.cgoleak",
            ],
            check=False,
        ).returncode
    # Its own words go to the terminal as well: a stranger should know what lies where.
    say(
        "\nLeft in out/demo: report.html for a browser, report.json, and capture.cgoleak with all"
        "\nthat was measured:"
        "\n  .venv/bin/cgoleak report out/demo/capture.cgoleak"
    )
    return status


def say(text: str) -> None:
    """Print for the person who watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def started_worker(scenario: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the worker; give its process and address once it listens."""
    command = [HERE / "bin" / "worker", "-scenario", scenario, "-life", "10m"]
    with started(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        found = re.search(rb"listening (\S+)", worker.stdout.readline())
        if found is None:
            raise SystemExit("the worker did not start")
        yield worker, "http://" + found[1].decode()


@contextlib.contextmanager
def started(
    command: list[object], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; end it, by its pid, on the way out."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        preexec_fn=allow_tracing,  # noqa: PLW1509  (one thread here)
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def allow_tracing() -> None:
    """Let cgoleak in where Yama lets only ancestors trace, for users who are not root."""
    if os.geteuid() != 0:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
