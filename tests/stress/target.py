"""Programs to be measured: started bounded in time, watched from outside, ended by pid."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cgoleak.probe.calls.modules import find_modules
from cgoleak.probe.calls.slots import survey
from cgoleak.probe.stopped.ptrace import has_ended
from cgoleak.probe.wire.resident import IMAGE_NAME, TABLES_NAME
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from support.containers import HOW, contained
from support.live import child_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgoleak.model.capture import RawStack, StackId
    from cgoleak.target.kernel.procfs import Region

__all__ = ["Residue", "Running", "hammer", "missing", "program", "torture"]

REPOSITORY = Path(__file__).resolve().parents[2]
_OWN_MALLOC = REPOSITORY / "tests" / "support" / "own_malloc.c"
_TORTURE = Path(__file__).resolve().parent / "torture"
_STATIC = "-ldflags=-linkmode external -extldflags -static"
_THREAD_START = "x_cgo_thread_start"
_ENTRANCE = "runtime.rt0_go.abi0"
_ENTRANCE_BYTES = 16
_GO_ENVIRONMENT = {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}


def missing() -> str | None:
    """Say which tool is missing to build the targets, for a reason to skip."""
    for name in ("go", "cc", "c++"):
        if shutil.which(name) is None:
            return f"not installed: {name}"
    return None


@cache
def _built() -> Path:
    """Build the torture program, its plugin and the sample's hammer, once a process."""
    folder = Path(tempfile.mkdtemp(prefix="cgoleak-stress-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environment = os.environ | _GO_ENVIRONMENT
    own = ["cc", "-O2", "-g", "-c", str(_OWN_MALLOC), "-o", str(folder / "own.o")]
    archive = str(folder / "libown.a")
    for words in (own, ["ar", "rcs", archive, str(folder / "own.o")]):
        subprocess.run(words, check=True, timeout=60)
    sample = REPOSITORY / "sample_go_cgo"
    for source, name, package, linked in (
        (_TORTURE, "torture", ".", ""),
        (_TORTURE, "torture-static", ".", ""),
        (sample, "hammer", "./cmd/hammer", ""),
        (sample, "hammer-static", "./cmd/hammer", ""),
        (sample, "own-malloc", "./cmd/hammer", archive),
    ):
        static = [_STATIC] if name.endswith("-static") else []
        command = ["go", "build", "-buildvcs=false", *static, "-o", str(folder / name), package]
        settings = environment | {"CGO_LDFLAGS": linked}
        subprocess.run(command, cwd=source, env=settings, check=True, timeout=300)
    plugin = ["cc", "-shared", "-fPIC", "-O2", str(_TORTURE / "plugin.c")]
    subprocess.run([*plugin, "-o", str(folder / "libplugin.so")], check=True, timeout=60)
    return folder


@dataclass(frozen=True, slots=True)
class Residue:
    """What can be seen of a process that a measurement might have left changed.

    Attributes:
        images: resident copies of the probe.
        tables: mappings of the probe's tables.
        slots: slots that hold their provider or an unbound stub.
        foreign: slots that hold anything else, by name; a slot still taken is among them.
        edited: bytes of the program's code that are not as in its file.
    """

    threads: int
    files: int
    mappings: int
    virtual_kib: int
    images: int
    tables: int
    slots: int
    foreign: tuple[str, ...]
    edited: int
    state: str
    tracer: int


class Running:
    """A target that runs, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self.pid = process.pid  # that of its child, where it only starts the one that is meant
        self._said = said

    def lines(self) -> list[str]:
        """Return its whole lines so far."""
        return self._said.read_text(errors="replace").rpartition("\n")[0].splitlines()

    def wait_for_line(self, count: int, seconds: float = 20.0) -> str:
        """Wait until it has printed so many lines; return the last."""
        deadline = time.monotonic() + seconds
        while len(self.lines()) < count:
            assert self.is_alive(), f"it ended with {self.process.poll()}: {self.lines()[-20:]}"
            assert time.monotonic() < deadline, f"silent for {seconds} s: {self.lines()[-3:]}"
            time.sleep(0.01)
        return self.lines()[-1]

    def next_lines(self, count: int) -> list[str]:
        """Wait for so many lines more."""
        before = len(self.lines())
        self.wait_for_line(before + count, 20.0 + 3 * count)
        return self.lines()[before : before + count]

    def is_alive(self) -> bool:
        """True while it has not ended.

        Not by Popen.poll: where a thread of ours traces it, that takes a stop for its end.
        """
        return self.process.returncode is None and not has_ended(self.process.pid)

    def entrance(self) -> Callable[[], bool]:
        """Give what tells whether somebody is just coming in.

        A static program has other bytes then where its start-up code was; others are stopped.
        """
        obj = ObjectFile.open(Path(f"/proc/{self.pid}/exe"))
        if obj.has_interpreter:
            return lambda: procfs.stat(self.pid).state in "Tt"
        found = obj.symbol(_ENTRANCE)
        assert found is not None
        own = obj.read(found[0], _ENTRANCE_BYTES)
        memory = Memory(self.pid)
        return lambda: memory.read(found[0], _ENTRANCE_BYTES) != own

    def rate(self, seconds: int = 3) -> float:
        """Return the best of the next seconds' rates that the hammer prints, pairs a second."""
        found = [re.search(r" rate=(\d+)/s", line) for line in self.next_lines(seconds + 1)[1:]]
        return max(float(match[1]) for match in found if match)

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the next line of the torture program."""
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", self.next_lines(1)[0])}

    def tell(self, number: int) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % number)
        self.process.stdin.flush()

    def ask(self, number: int) -> dict[str, int]:
        """Have the torture program in its mode ``asked`` do its part, and wait for what it says."""
        before = len(self.lines())
        self.tell(number)
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", self.wait_for_line(before + 1))}

    def thread_starts(self, stacks: Iterable[RawStack]) -> set[StackId]:
        """Tell in which stacks Go starts a thread, which it does when it likes.

        x_cgo_thread_start of runtime/cgo/gcc_util.c takes a block that the new thread gives back.
        """
        found = ObjectFile.open(Path(f"/proc/{self.pid}/exe")).symbol(_THREAD_START)
        assert found is not None
        code = range(found[0], found[0] + found[1])
        return {s.id for s in stacks if any(a in code for a in s.addresses)}

    def residue(self) -> Residue:
        """Look at the process as it is now."""
        regions = procfs.maps(self.pid)
        with Memory(self.pid) as memory:
            found = survey(find_modules(self.pid, regions)[0], memory)
            edited = _edited(self.pid, regions, memory)
        status = (Path("/proc") / str(self.pid) / "status").read_text()
        virtual = re.search(r"^VmSize:\s+(\d+) kB", status, re.MULTILINE)
        folder = Path("/proc") / str(self.pid)
        return Residue(
            threads=sum(1 for _ in (folder / "task").iterdir()),
            files=sum(1 for _ in (folder / "fd").iterdir()),
            mappings=len(regions),
            virtual_kib=int(virtual[1]) if virtual else 0,
            images=sum(r.path == IMAGE_NAME and not r.offset for r in regions),
            tables=sum(r.path == TABLES_NAME for r in regions),
            slots=len(found.slots),
            foreign=found.foreign,
            edited=edited,
            state=procfs.stat(self.pid).state,
            tracer=procfs.status(self.pid).tracer_pid,
        )


def _edited(pid: int, regions: Iterable[Region], memory: Memory) -> int:
    exe = Path(f"/proc/{pid}/exe")
    path, content = str(exe.readlink()), exe.read_bytes()
    found = 0
    for region in regions:
        if region.executable and region.path == path:
            there = memory.read(region.start, region.end - region.start)
            own = content[region.offset : region.offset + (region.end - region.start)]
            if there is not None and there != own:
                found += sum(a != b for a, b in zip(there, own, strict=False))
    return found


@contextmanager
def program(*words: str) -> Iterator[Running]:
    """Run a program that ends by itself in bounded time; by pid if that takes too long."""
    with tempfile.TemporaryDirectory(prefix="cgoleak-target-") as folder:
        said = Path(folder) / "said"
        with said.open("wb") as out:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True
            )
        running = Running(process, said)
        try:
            running.wait_for_line(1)
            yield running
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def hammer(
    *options: str,
    minutes: int = 60,
    own_malloc: bool = False,
    static: bool = False,
    namespaced: bool = False,
) -> Iterator[Running]:
    """Run the sample's hammer: threads that malloc and free as fast as they can.

    ``own_malloc``: with a malloc of its own linked in, which it calls directly.
    ``namespaced``: as the first process of a PID namespace of its own, like in a container.
    """
    name = "own-malloc" if own_malloc else "hammer-static" if static else "hammer"
    path = _built() / name
    how = HOW["pid namespace"] if namespaced else ("{prog}",)
    words = (*contained(how, path, path.parent), *options, f"-duration={minutes}m")
    with program(*words) as running:
        if namespaced:
            running.pid = child_running(running.pid, path)
        yield running


@contextmanager
def torture(mode: str, *options: str, minutes: int = 5, static: bool = False) -> Iterator[Running]:
    """Run the torture program in one of its modes."""
    folder = _built()
    program_file = folder / ("torture-static" if static else "torture")
    words = [str(program_file), "-mode", mode, "-library", str(folder / "libplugin.so")]
    with program(*words, f"-duration={minutes}m", *options) as running:
        yield running
