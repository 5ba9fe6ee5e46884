"""Real workers under load, and the real command line beside them: started, watched, ended by pid.

Whatever a test starts here ends with its ``with`` block, and by itself after ten minutes should the
tests be killed. Nothing waits for a fixed time: every wait asks for what it waits for.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from support.hooks import counts, hooked_slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

__all__ = [
    "Cgoleak",
    "Load",
    "Program",
    "Supervised",
    "Worker",
    "attach",
    "cgoleak",
    "cgoleak_command",
    "child_running",
    "ended",
    "handles_at",
    "obeyed",
    "wait_until",
]

_LIFE: Final = ("-life", "10m")


def wait_until(true: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Ask again and again; fails the test with ``what`` when the time is over."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.01)


class Program:
    """A program with pipes to its standard input and output, ended with its block.

    ``last``: the signal that ends it; unshare(1) ignores all but SIGKILL, and so does the first
    process of a PID namespace.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        stderr: int | None = None,
        last: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._last = last
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | dict(environment or {}),
        )
        self.pid = self._process.pid

    def line(self, seconds: float = 20.0) -> str:
        """Read one line of its standard output."""
        assert self._process.stdout is not None
        out, got = self._process.stdout.fileno(), b""
        deadline = time.monotonic() + seconds
        while not got.endswith(b"\n"):
            ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"pid {self.pid} said nothing more in {seconds:.0f} s: {got!r}"
            byte = os.read(out, 1)
            assert byte, f"pid {self.pid} ended: {got!r}"
            got += byte
        return got.decode().rstrip("\n")

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def do(self, line: str, seconds: float = 20.0) -> None:
        """Have a program that obeys lines do what this one says, and wait until it has."""
        self.say(line)
        assert self.line(seconds) == f"done {line}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float = 60.0) -> int:
        return self._process.wait(seconds)

    def end(self) -> None:
        """End it: politely, and for good after a few seconds; a stopped one is woken first."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(self._last)
            try:
                self._process.wait(8)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


class Http:
    """Requests to an address; every one is bounded."""

    address: str

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, 20)

    def post(self, path: str, seconds: float = 120) -> bytes:
        return self._ask("POST", path, seconds)

    def counters(self) -> dict[str, dict[str, int]]:
        """What the worker itself has counted, per allocating function."""
        answer: dict[str, dict[str, int]] = json.loads(self.get("/counters"))["sites"]
        return answer

    def settled_counters(self) -> dict[str, dict[str, int]]:
        """Give the counts once they are at rest: a client that is cut off leaves its request."""
        before = self.counters()
        for _ in range(20):
            time.sleep(0.5)
            now = self.counters()
            if now == before:
                break
            before = now
        return before

    def answers(self) -> bool:
        """Tell whether /healthz says ok within seconds."""
        try:
            return self._ask("GET", "/healthz", 5) == b"ok\n"
        except (urllib.error.URLError, OSError):
            return False

    def _ask(self, method: str, path: str, seconds: float) -> bytes:
        body = b"" if method == "POST" else None
        request = urllib.request.Request(f"http://{self.address}{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=seconds) as response:
            answer: bytes = response.read()
        return answer


class Worker(Http, Program):
    """``sample_go_cgo``'s worker, ready to serve."""

    def __init__(
        self, programs: Path, *flags: str, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__([programs / "worker", *flags, *_LIFE], environment=environment)
        self.address = _address(self)


class Supervised(Http, Program):
    """A worker below its supervisor, whose pid is ``pid``; ``worker_pid`` is its first worker's."""

    def __init__(
        self, programs: Path, *flags: str, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [programs / "supervisor", *_LIFE, "--", programs / "worker", *flags, *_LIFE]
        super().__init__(command, environment=environment)
        self.address = _address(self)
        started = self.line()
        assert started.startswith("started "), started
        self.worker_pid = int(started.split()[1])


class Load(Program):
    """The load driver; ``answered`` waits for its end and gives what it says of itself."""

    def __init__(
        self,
        programs: Path,
        address: str,
        *,
        seconds: float,
        rate: float = 50,
        concurrency: int = 8,
        path: str = "/process",
    ) -> None:
        super().__init__(
            [
                programs / "load",
                *("-url", f"http://{address}", "-path", path, "-rate", f"{rate}"),
                *("-concurrency", f"{concurrency}", "-duration", f"{seconds}s"),
            ],
            stderr=subprocess.DEVNULL,
        )
        self._seconds = seconds

    def answered(self) -> dict[str, float]:
        """Give the numbers of its last line: requests, errors, rate, p50 and p99 (ms)."""
        words = self.line(self._seconds + 40).split()
        self.wait()
        return {k: float(v.rstrip("ms/")) for k, v in (word.split("=") for word in words)}


def _address(program: Program) -> str:
    said = program.line()
    assert said.startswith("listening "), said
    return said.split()[1]


def cgoleak_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "cgoleak", *map(str, arguments)]


def cgoleak(
    *arguments: object, seconds: float = 120, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, with these environment variables besides."""
    return ended(cgoleak_command(*arguments), seconds, **variables)


def ended(
    command: Sequence[str | Path], seconds: float = 60, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run any command to its end, with these environment variables besides."""
    return subprocess.run(
        command,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class Cgoleak:
    """The command line at work, its report and capture in ``folder``."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.report_file = folder / "report.json"
        self.capture_file = folder / "capture.cgoleak"
        self._said = folder / "stderr"
        first, *rest = arguments
        outputs = ("-o", self.report_file, "-o", self.capture_file)
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(
                cgoleak_command(first, *outputs, *rest),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.pid = self.process.pid
        self.stdout = b""

    @property
    def stderr(self) -> str:
        return self._said.read_text()

    def until_hooked(self, pid: int) -> None:
        """Wait until the hooks are in; an end of the command before that fails the test at once."""

        def look() -> bool:
            assert self.process.poll() is None, self.stderr
            return counts(pid)

        wait_until(look, f"hooks to go into pid {pid}", 40)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def finish(self, seconds: float = 60.0) -> int:
        """Wait for its end; give the exit status."""
        self.stdout, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.report_file.read_text())
        return document

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.communicate()


def attach(
    folder: Path,
    pid: int,
    *,
    seconds: float = 0,
    interval: float | None = None,
    follow: Sequence[str] = ("--exact",),
) -> Cgoleak:
    """Start to measure a process; for ``seconds``, or until it is interrupted.

    ``follow``: which allocations; by default all, on a machine that others keep busy too.
    """
    often = () if interval is None else ("--interval", f"{interval}s")
    return Cgoleak(folder, "attach", pid, "--duration", f"{seconds}s", *often, *follow)


def obeyed(
    command: Sequence[str | Path],
    lines: Iterable[str],
    folder: Path,
    *options: object,
    before: Iterable[str] = (),
    after: Iterable[str] = (),
    seconds: float = 20.0,
) -> Cgoleak:
    """Have a program do what lines say while it is measured; give the measurement, finished.

    What is to be done ``before`` is not measured, what ``after`` is done without hooks. Each line
    may take ``seconds``.
    """
    with Program(command, stderr=subprocess.DEVNULL) as target:
        assert target.line() == "ready"
        for line in before:
            target.do(line, seconds)
        with attach(folder, target.pid, follow=("--exact", *map(str, options))) as watching:
            watching.until_hooked(target.pid)
            for line in lines:
                target.do(line, seconds)
            watching.interrupt()
            assert watching.finish() == 0, watching.stderr
        assert hooked_slots(target.pid) == []
        for line in after:
            target.do(line, seconds)
    return watching


def handles_at(report: dict[str, Any], functions: Iterable[str]) -> dict[str, int]:
    """Give how many handles a report has at each of these functions of package main."""
    return {
        name: sum(
            one["outstanding"]
            for one in report["handles"]
            if any(frame["function"] == f"main.{name}" for frame in one["stack"])
        )
        for name in functions
    }


def child_running(parent: int, program: Path) -> int:
    """Wait until a child of ``parent`` runs this program; give its pid."""
    found: list[int] = []

    def look() -> bool:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            with suppress(OSError):
                if Path(f"/proc/{child}/exe").resolve() == program.resolve():
                    found.append(int(child))
        return bool(found)

    wait_until(look, f"a child that runs {program}")
    return found[0]
