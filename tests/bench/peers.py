"""Peers that a program is started under, or built with. What is not installed says so."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.bench.loads import HAMMER, SAMPLE, build_go, running
from tests.bench.pairs import PEER_S, Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.bench.loads import Load

__all__ = ["ASAN", "Wrapper", "asan_pairs", "wrapped_pairs", "wrappers"]

ASAN: Final = "go build -asan"
_JEMALLOC: Final = (
    "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
    "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2",
    "/usr/lib64/libjemalloc.so.2",
)
_FIRST_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Wrapper:
    """How a program is started under a tool; ``plain`` is the environment that it is held against.

    jemalloc's profiler is compared with jemalloc: that is another allocator, not a cost of it.
    """

    tool: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[str, str] = field(default_factory=dict)
    skipped: str = ""


def wrappers(scratch: Path) -> list[Wrapper]:
    """Give the tools that are started with the program; they may write into ``scratch``."""
    library = next((one for one in _JEMALLOC if Path(one).exists()), None)
    absent = "" if library else "libjemalloc2 is not installed: make bench-peers"
    preloaded = {"LD_PRELOAD": library or ""}

    def jemalloc(tool: str, log_bytes: int) -> Wrapper:
        profile = f"prof:true,prof_final:false,lg_prof_sample:{log_bytes},prof_prefix:{scratch}/j"
        return Wrapper(tool, (), {**preloaded, "MALLOC_CONF": profile}, preloaded, skipped=absent)

    return [
        _found("heaptrack", ("heaptrack", "-o", f"{scratch}/h")),
        jemalloc("jemalloc prof, all", 0),
        jemalloc("jemalloc prof, 512 KiB", 19),
        _found("valgrind memcheck", ("valgrind", "--quiet")),
    ]


def _found(tool: str, command: tuple[str, ...]) -> Wrapper:
    missing = "" if shutil.which(command[0]) else f"{command[0]} is not installed: make bench-peers"
    return Wrapper(tool, command, skipped=missing)


def wrapped_pairs(wrapper: Wrapper, load: Load, plain_ns: float) -> Pairs:
    """Run a load under a tool; ``plain_ns`` is what it takes alone."""
    if wrapper.skipped:
        return Pairs(wrapper.tool, load.name, skipped=wrapper.skipped)
    try:
        if wrapper.plain:
            plain_ns = _best(load, (), wrapper.plain)
        measured = _best(load, wrapper.command, wrapper.environment)
    except RuntimeError as error:
        return Pairs(wrapper.tool, load.name, skipped=str(error))
    return Pairs(wrapper.tool, load.name, plain_ns, measured)


def asan_pairs(
    loads: Sequence[Load], plain_ns: Mapping[str, float], go: str | None
) -> Iterator[Pairs]:
    """Build the hammer with ``go build -asan``, and run it; a row at a time."""
    if go is None:
        yield from (Pairs(ASAN, load.name, skipped="go is not on the PATH") for load in loads)
        return
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / HAMMER.name
        why = build_go(go, SAMPLE, program, "./cmd/hammer", "-asan")
        for load in loads:
            try:
                measured = 0.0 if why else _best(load.by(program), (), {})
            except RuntimeError as error:
                yield Pairs(ASAN, load.name, skipped=str(error))
            else:
                yield Pairs(ASAN, load.name, plain_ns[load.name], measured, skipped=why)


def _best(load: Load, command: Sequence[str], environment: Mapping[str, str]) -> float:
    with running(load, command, environment) as program:
        return program.best(PEER_S, _FIRST_S)
