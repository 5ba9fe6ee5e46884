"""From a capture of ten thousand sites to the terminal and to a page."""

from __future__ import annotations

import gc
import io
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgoleak import pipeline
from cgoleak.capture.reader import open_capture
from cgoleak.capture.writer import CaptureWriter
from cgoleak.model.capture import Cost as ProbeCost
from cgoleak.model.capture import Module, RawStack, Target, Window
from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import Address, StackId
from cgoleak.model.snapshot import (
    GoMemory,
    NativeMemory,
    ProbeCounters,
    ProcessMemory,
    Snapshot,
    StackCounts,
)
from cgoleak.render.base import format_by_name
from tests.bench.attach import Cost

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["rendering_costs"]

SITES = 10_000
SNAPSHOTS = 30
_SECOND = 1_000_000_000


def rendering_costs(rounds: int) -> list[Cost]:
    """Render the same capture several times: as whole commands, and stage by stage.

    CPU time, user and system: nothing here waits, and others' work does not count. Beside the
    commands, in turns, another process does no more than fetch all rows of the file.
    """
    fetched, text, page, stages = [], [], [], _Stages()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.cgoleak"
        _write(path)
        report = [sys.executable, "-m", "cgoleak", "report", str(path)]
        size = path.stat().st_size / (1 << 20)
        _run(report)  # compiles what was changed
        for _ in range(rounds):
            fetched.append(_run([sys.executable, "-c", _FETCH, str(path)]))
            text.append(_run(report))
            page.append(_run([*report, "-q", "--force", "-o", f"{folder}/page.html"]))
            stages.run(path)
    plain = statistics.median(fetched)
    return [
        _cost(f"{SITES:,} sites, {SNAPSHOTS} snapshots: rows only fetched", fetched),
        _cost("capture to terminal, the whole command", text, plain),
        _cost("capture to page, the whole command", page, plain),
        *stages.costs(),
        Cost("size of the capture", "MiB", size, size),
    ]


class _Stages:
    """The same in this process, without what it takes to start one."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {
            "of it: capture read": [],
            "of it: judged": [],
            "of it: report to terminal": [],
            "of it: report to page": [],
        }

    def run(self, path: Path) -> None:
        read, judged, text, page = self._times.values()
        gc.disable()  # as the command does
        try:
            capture = _timed(read, lambda: open_capture(path))
            report = _timed(judged, lambda: pipeline.analyse(capture))
            for name, times in (("html", page), ("terminal", text)):
                known = format_by_name(name)
                assert known is not None
                _timed(times, lambda: known.make().render(report, io.BytesIO()))  # noqa: B023 - used at once
        finally:
            gc.enable()

    def costs(self) -> list[Cost]:
        return [_cost(what, times) for what, times in self._times.items()]


_FETCH: Final = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    db.execute(f"SELECT * FROM {name}").fetchall()
"""


_INSTALLED: Final = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
"""What was installed is not compiled anew at each start, whatever is set for working on it."""


def _run(command: list[str]) -> float:
    """Run a command to its end; give the CPU time that it took, in milliseconds."""
    before = os.times()
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=_INSTALLED)
    after = os.times()
    user = after.children_user - before.children_user
    return (user + after.children_system - before.children_system) * 1e3


def _timed(times: list[float], work: Callable[[], Any]) -> Any:
    began = time.process_time()
    found = work()
    times.append((time.process_time() - began) * 1e3)
    return found


def _cost(what: str, values: list[float], plain: float | None = None) -> Cost:
    median = statistics.median(values)
    return Cost(what, "ms", median, max(values), median / plain if plain else None)


def _write(path: Path) -> None:
    """Write a capture as a large service leaves it: stacks that share most of their frames."""
    dice = random.Random(11)
    native = [
        _frame(Language.C, f"lib_{n}", f"src/lib_{n % 90}.c", n, "liblarge.so") for n in range(4000)
    ]
    go = [
        _frame(Language.GO, f"example.org/s/p{n % 40}.F{n}", f"/src/s/p{n % 40}/f.go", n, "service")
        for n in range(2000)
    ]
    bridge = [
        _frame(Language.BRIDGE, "_cgo_1f_Cfunc_call", "cgo.c", 1, "service"),
        _frame(Language.RUNTIME, "runtime.cgocall", "cgocall.go", 185, "service"),
        _frame(Language.BRIDGE, "main._Cfunc_call", "_cgo_gotypes.go", 77, "service"),
    ]
    places = {Address(0x400000 + 16 * at): (one,) for at, one in enumerate([*native, *go, *bridge])}
    address = {frames[0]: at for at, frames in places.items()}
    with CaptureWriter(path) as sink:
        sink.write_target(
            Target(1, "/srv/service", "go1.27.3", "glibc 2.36", "glibc", "amd64", stripped=False),
            mode="exact",
            started_unix_ns=1_700_000_000 * _SECOND,
        )
        sink.add_module(Module("/srv/service", "00ff", 0, Address(0x400000), Address(0x4000000)))
        for number in range(1, SITES + 1):
            own = [*dice.sample(native, 4), *bridge, *dice.sample(go, 8)]
            sink.add_stack(RawStack(StackId(number), tuple(address[one] for one in own)))
        sizes = [dice.choice((16, 64, 512, 4096)) for _ in range(SITES)]
        rates = [dice.choice((0, 0, 0, 1, 5)) for _ in range(SITES)]
        first = [dice.randint(1, 500) for _ in range(SITES)]
        for step in range(1, SNAPSHOTS + 1):
            counts = {
                StackId(number + 1): StackCounts(
                    born_blocks=(born := first[number] + rates[number] * step),
                    born_bytes=born * sizes[number],
                    freed_blocks=0,
                    freed_bytes=0,
                    oldest_ns=step * _SECOND,
                    old_blocks=born,
                )
                for number in range(SITES)
            }
            sink.add_snapshot(
                Snapshot(
                    at_ns=step * _SECOND,
                    stacks=counts,
                    counters=ProbeCounters(events=step * 100_000, table_bytes=1 << 20),
                    process=ProcessMemory((50 + step) << 20, 40 << 20, 10 << 20, 0, 0, 8),
                    go=GoMemory(20 << 20, 4 << 20, 0, 1 << 20, 3 << 20, step // 5, 0, 100, -1),
                    native=NativeMemory(
                        go_heap=24 << 20,
                        go_metadata=4 << 20,
                        heap=(10 + step) << 20,
                        anonymous=1 << 20,
                        stacks=1 << 20,
                        files=9 << 20,
                        shared=0,
                        own=1 << 20,
                        free=1 << 20,
                    ),
                )
            )
        sink.seal_frames(places)
        window = Window(1_700_000_000 * _SECOND, float(SNAPSHOTS), "exact", "detached")
        sink.finish(window, ProbeCost(0.015, 1 << 20, 30.0))


def _frame(lang: Language, name: str, file: str, line: int, module: str) -> Frame:
    return Frame(lang, name, file, line, module)
