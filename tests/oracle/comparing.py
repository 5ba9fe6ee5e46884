"""The probe's stacks beside gdb's, of the same calls in a process that lives.

cgoleak attaches as ever and follows every block. gdb then stops the process at the hooks' first
instructions, walks the stack by its own means (DWARF of C and of Go), and lets the call go on into
the hook, which records it. So each stack of gdb's must be among those in the probe's tables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgoleak.probe.entry.injector import Injector
from cgoleak.probe.session import ProbeSession
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.layout import MAX_FRAMES, Function
from cgoleak.probe.wire.resident import find_residents
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.preflight import require

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgoleak.probe.wire.tables import Tables

__all__ = ["Compared", "compare", "missing"]

_IN_GDB: Final = Path(__file__).with_name("in_gdb.py")
_ALLOCATING: Final = (
    Function.MALLOC,
    Function.CALLOC,
    Function.REALLOC,
    Function.REALLOCARRAY,
    Function.POSIX_MEMALIGN,
    Function.ALIGNED_ALLOC,
    Function.MEMALIGN,
)
_SKIP: Final = 80
"""At most so many calls of a hook are let by after one that was looked at."""
_GDB_START_S: Final = 60.0

Stack = tuple[int, ...]


def missing() -> str | None:
    """Say why there can be no comparison here, for a reason to skip."""
    gdb = shutil.which("gdb")
    if gdb is None:
        return "not installed: gdb"
    works = subprocess.run(
        [gdb, "-nx", "-batch", "-ex", "python print('yes')"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return None if works.stdout.strip() == "yes" else "this gdb has no Python"


@dataclass(slots=True)
class Compared:
    """What came out.

    Attributes:
        calls: stops at a hook.
        stacks: different stacks among gdb's.
        same: stacks that the probe has to the last frame, C and Go.
        cut: those of which one has a part only, gdb because it got no further or the probe because
            there are more than it keeps; what both have is the same.
        c_only: of threads that Go does not know, or outside a call of Go's.
        callbacks: with C that called Go that called C.
        outer: pieces of C on the far side of a callback into Go that were compared.
        c_frames, go_frames: frames of all stacks.
        deepest: the most frames of one stack.
        wrong: stacks that the probe does not have, in words.
    """

    calls: int = 0
    stacks: int = 0
    same: int = 0
    cut: int = 0
    c_only: int = 0
    callbacks: int = 0
    outer: int = 0
    c_frames: int = 0
    go_frames: int = 0
    deepest: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Parted:
    """A recorded stack: inner C and all of Go, and the C parts between, innermost first."""

    main: Stack
    outer: tuple[Stack, ...]


class _Spans:
    """The runtime's assembly, by the addresses that the probe was given."""

    def __init__(self, tables: Tables) -> None:
        go = tables.shared.go
        self.text = (int(go.text[0]), int(go.text[1]))
        self.tls_g = int(go.tls_g)
        self.crosscall2 = int(go.crosscall2[0])
        self._asmcgocall = tuple(go.asmcgocall)
        self._cgocallback = tuple(go.cgocallback)
        self._goexit = tuple(go.goexit)

    def leaves_go(self, pc: int) -> bool:
        return _within(pc, self._asmcgocall)

    def calls_back(self, pc: int) -> bool:
        return _within(pc, self._cgocallback)

    def is_outermost(self, pc: int) -> bool:
        return _within(pc, self._goexit)

    def part(self, stack: Iterable[int]) -> _Parted:
        """Take the C parts of outer calls out: gdb cannot go there from where it is."""
        main: list[int] = []
        outer: list[Stack] = []
        inside: list[int] | None = None
        for pc in stack:
            if inside is None:
                main.append(pc)
                if self.calls_back(pc):
                    inside = []
            else:
                inside.append(pc)
                if self.leaves_go(pc):
                    outer.append(tuple(inside))
                    inside = None
        if inside:
            outer.append(tuple(inside))
        return _Parted(tuple(main), tuple(outer))


def _within(pc: int, spans: tuple[int, ...]) -> bool:
    return spans[0] <= pc < spans[1] or spans[2] <= pc < spans[3]


def compare(pid: int, folder: Path, *, calls: int, seconds: float, seed: int = 1) -> Compared:
    """Attach, let gdb look at ``calls`` calls or for ``seconds``, detach, and compare.

    Raises:
        AssertionError: gdb failed, or the process was not left as it was.
    """
    with Injector() as injector:
        session = ProbeSession(require(pid))
        try:
            session.attach(injector)
        except BaseException:
            session.close()
            raise
    try:
        spans = _Spans(session.tables)
        order = {
            "hooks": _hooks(pid),
            "enters_go": [spans.crosscall2] if spans.crosscall2 else [],
            "text": spans.text,
            "tls_g": spans.tls_g,
            "wanted": calls,
            "seconds": seconds,
            "seed": seed,
            "skip": _SKIP,
            "answer": str(folder / "answer.json"),
        }
        answer = _ask_gdb(pid, order, folder, session)
        time.sleep(0.2)  # the last call is still on its way into the hook
        recorded = [raw.addresses for raw in session.tables.new_stacks()]
        farewell = session.detach()
    finally:
        session.close()
    assert farewell.clean, farewell
    return _judge(answer, recorded, spans)


def _hooks(pid: int) -> list[int]:
    with Memory(pid) as memory:
        for resident in find_residents(procfs.maps(pid), memory, load_artifact()):
            header = resident.header(memory)
            if header is not None:
                return [int(header.hook[function]) for function in _ALLOCATING]
    raise AssertionError("the probe is not in the process")


def _ask_gdb(
    pid: int, order: dict[str, Any], folder: Path, session: ProbeSession
) -> list[dict[str, Any]]:
    command = [
        *("gdb", "-nx", "-batch", "-p", str(pid)),
        *("-ex", f"source {_IN_GDB}"),
    ]
    with (folder / "gdb.txt").open("wb") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ | {"DEBUGINFOD_URLS": "", "CGOLEAK_ORACLE": json.dumps(order)},
        )
    deadline = time.monotonic() + order["seconds"] + _GDB_START_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if session.wait_for_event(0.05):
                session.rescan()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
    said_last = (folder / "gdb.txt").read_text(errors="replace")[-1500:]
    assert Path(order["answer"]).exists(), f"gdb has not answered: {said_last}"
    answer = json.loads(Path(order["answer"]).read_text())
    assert answer["error"] is None, answer["error"]
    stacks: list[dict[str, Any]] = answer["stacks"]
    return stacks


def _judge(answer: list[dict[str, Any]], recorded: list[Stack], spans: _Spans) -> Compared:
    parted = [spans.part(stack) for stack in recorded]
    by_main: dict[Stack, list[_Parted]] = {}
    for one in parted:
        by_main.setdefault(one.main, []).append(one)
    found = Compared(calls=len(answer))
    seen = Counter(
        (tuple(one["c"]), tuple(one["go"]), tuple(map(tuple, one["outer"]))) for one in answer
    )
    counted: set[Stack] = set()
    for c, go, entered in seen:
        whole = c + go
        is_cut = bool(go) and not spans.is_outermost(go[-1])
        matching = by_main.get(whole, [])
        if is_cut or len(whole) > MAX_FRAMES:
            matching = [
                one
                for main, ones in by_main.items()
                if _agrees(main, whole, is_cut=is_cut)
                for one in ones
            ]
        if whole not in counted:
            counted.add(whole)
            found.stacks += 1
            is_part = is_cut or len(whole) > MAX_FRAMES
            found.same += bool(matching) and not is_part
            found.cut += bool(matching) and is_part
            found.c_only += not go
            found.callbacks += any(map(spans.calls_back, go))
            found.c_frames += len(c)
            found.go_frames += len(go)
            found.deepest = max(found.deepest, len(whole))
        if not matching:
            found.wrong.append(_nearest(whole, by_main))
        elif any(map(spans.calls_back, go)) and entered:
            # Only what was entered while gdb looked on is known; the innermost is the last.
            if any(one.outer and one.outer[0] == entered[-1] for one in matching):
                found.outer += 1
            else:
                found.wrong.append(f"C around a callback: {_hex(entered[-1])}")
    return found


def _agrees(main: Stack, whole: Stack, *, is_cut: bool) -> bool:
    """Compare what both have: gdb may not reach the end, the probe leaves out the middle."""
    if is_cut:
        return main[: len(whole)] == whole
    if len(whole) <= MAX_FRAMES or 0 not in main:
        return main == whole
    gap = main.index(0)
    behind = len(main) - gap - 1
    return main[:gap] == whole[:gap] and main[gap + 1 :] == whole[len(whole) - behind :]


def _nearest(whole: Stack, by_main: dict[Stack, list[_Parted]]) -> str:
    """Show a stack of gdb's and the recorded one that goes the same way longest."""

    def shared(other: Stack) -> int:
        same = 0
        for ours, theirs in zip(whole, other, strict=False):
            if ours != theirs:
                break
            same += 1
        return same

    nearest = max(by_main, key=shared, default=())
    return f"gdb: {_hex(whole)}; nearest, {shared(nearest)} frames alike: {_hex(nearest)}"


def _hex(stack: Stack) -> str:
    words = [f"{pc:x}" for pc in stack]
    return " ".join(words if len(words) < 40 else (*words[:30], "…", *words[-8:]))
