"""Peers that come to a running program: uprobes of the kernel, listeners of Frida."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.bench.loads import running
from tests.bench.pairs import PEER_S, Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.loads import Load

__all__ = ["Listener", "attached_pairs", "listeners"]

_READY_S: Final = 30.0
_ATTEMPTS: Final = 3
"""Whoever patches code under threads that run it ends the target now and then."""
_LIBC: Final = re.compile(r"/\S*/(?:libc\.so\.6|libc-[\d.]+\.so|ld-musl-\S+)$", re.MULTILINE)
_BPF: Final = (
    "uprobe:{libc}:malloc {{ @[ustack] = count(); }} uprobe:{libc}:free {{ @freed = count(); }} "
    'BEGIN {{ printf("ready\\n"); }}'
)


@dataclass(frozen=True, slots=True)
class Listener:
    """A program that attaches to a pid, says ``ready``, and stays until it is ended."""

    tool: str
    command: tuple[str, ...] = ()
    skipped: str = ""


def listeners() -> list[Listener]:
    """Give the tools; only bpftrace takes a stack, by frame pointers."""
    bpftrace = shutil.which("bpftrace")
    why = "" if bpftrace else "bpftrace is not installed: make bench-peers"
    if bpftrace and os.geteuid() != 0:
        why = "bpftrace needs root"
    frida = (sys.executable, "-m", "tests.bench.frida_listener")
    return [
        Listener("bpftrace uprobes", (bpftrace or "", "-p", "{pid}", "-e", _BPF), why),
        Listener("Frida, C listeners", (*frida, "c", "{pid}")),
        Listener("Frida, JS listeners", (*frida, "js", "{pid}")),
    ]


def attached_pairs(listener: Listener, load: Load, plain_ns: float) -> Pairs:
    """Let a tool attach to a running load; ``plain_ns`` is what that takes alone."""
    if listener.skipped:
        return Pairs(listener.tool, load.name, skipped=listener.skipped)
    why = ""
    for _ in range(_ATTEMPTS):
        try:
            with running(load) as program:
                program.best(1.2)  # it is under way
                with _listening(listener, program.pid):
                    return Pairs(listener.tool, load.name, plain_ns, program.best(PEER_S))
        except RuntimeError as error:
            why = str(error)
    return Pairs(listener.tool, load.name, skipped=f"{why}, {_ATTEMPTS} times of {_ATTEMPTS}")


@contextlib.contextmanager
def _listening(listener: Listener, pid: int) -> Iterator[None]:
    libc = _LIBC.search(Path(f"/proc/{pid}/maps").read_text())
    if libc is None:
        raise RuntimeError("it has no libc of its own")
    command = [word.replace("{pid}", str(pid)) for word in listener.command]
    if "-e" in command:
        command[-1] = command[-1].format(libc=libc[0])
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        _until_ready(process)
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _until_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    said = b""
    while b"ready" not in said:
        readable, _, _ = select.select([process.stdout], [], [], _READY_S)
        more = os.read(process.stdout.fileno(), 4096) if readable else b""
        said += more
        if not more:
            assert process.stderr is not None
            process.kill()
            why = process.stderr.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(why[-1] if why else "it did not attach")
