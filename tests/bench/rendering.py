"""From a capture of ten thousand sites to a page and to the terminal."""

from __future__ import annotations

import io
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgoleak import pipeline
from cgoleak.capture.reader import open_capture
from cgoleak.capture.writer import CaptureWriter
from cgoleak.model.capture import Cost as ProbeCost
from cgoleak.model.capture import Module, RawStack, Target, Window
from cgoleak.model.frames import Frame, Language
from cgoleak.model.ids import Address, StackId
from cgoleak.model.snapshot import ProbeCounters, ProcessMemory, Snapshot, StackCounts
from cgoleak.render.base import format_by_name
from tests.bench.attach import Cost

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["rendering_costs"]

SITES = 10_000
SNAPSHOTS = 30
_SECOND = 1_000_000_000


def rendering_costs(rounds: int) -> list[Cost]:
    """Read, judge and render the same capture several times."""
    opened, judged, page, text = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.cgoleak"
        _write(path)
        size = path.stat().st_size / (1 << 20)
        for _ in range(rounds):
            capture = _timed(opened, lambda: open_capture(path))
            report = _timed(judged, lambda: pipeline.analyse(capture))  # noqa: B023 - used at once
            for name, times in (("html", page), ("terminal", text)):
                known = format_by_name(name)
                assert known is not None
                _timed(times, lambda: known.make().render(report, io.BytesIO()))  # noqa: B023
    totals = [sum(each) for each in zip(opened, judged, page, strict=True)]
    return [
        _cost(f"{SITES} sites, {SNAPSHOTS} snapshots: read", opened),
        _cost("the same: judged", judged),
        _cost("the same: report to page", page),
        _cost("the same: report to terminal", text),
        _cost("capture to page, all of it", totals),
        Cost("the same: size of the capture", "MiB", size, size),
    ]


def _timed(times: list[float], work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    found = work()
    times.append((time.perf_counter() - began) * 1e3)
    return found


def _cost(what: str, values: list[float]) -> Cost:
    return Cost(what, "ms", statistics.median(values), max(values))


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
        for step in range(1, SNAPSHOTS + 1):
            counts = {
                StackId(number + 1): StackCounts(
                    born_blocks=(born := 10 + rates[number] * step),
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
                )
            )
        sink.seal_frames(places)
        window = Window(1_700_000_000 * _SECOND, float(SNAPSHOTS), "exact", "detached")
        sink.finish(window, ProbeCost(0.015, 1 << 20, 30.0))


def _frame(lang: Language, name: str, file: str, line: int, module: str) -> Frame:
    return Frame(lang, name, file, line, module)
