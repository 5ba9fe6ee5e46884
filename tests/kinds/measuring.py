"""One kind, from its build to its row: measured leaking and clean at a time, and stressed."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgoleak.capture.reader import open_capture
from cgoleak.cli.pairs import PairOptions
from cgoleak.model.frames import Language
from cgoleak.stacks import join
from cgoleak.stacks.join import GAP
from kinds.ready import WORKER, Missing, Ready
from stress.kills import run_kills
from stress.rounds import run_rounds
from stress.target import program
from support.hooks import counts, footprint
from support.live import Cgoleak, Program, attach, child_running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kinds.kinds import Kind
    from stress.target import Running

__all__ = ["Row", "measured"]

_SECONDS: Final = 12
_REFUSED: Final = 3
_ROUNDS: Final = 10
_SEED: Final = 7
_MADE_BY: Final = "make_record"
_GO_FUNCTION: Final = "main.work"
_OURS: Final = {None, "prog", "libwork.so", "libhandles.so", "libje.so"}
"""What is built here, with symbols; others' libraries may be stripped."""
_ALARMS: Final = {"native-leak", "suspect"}


@dataclass(slots=True)
class Row:
    """What came of a kind; a cell is "" where nothing was to be looked at.

    Attributes:
        wrong: what is not as it should be.
    """

    name: str
    attach: str = ""
    stack: str = ""
    leaking: str = ""
    clean: str = ""
    stress: str = ""
    wrong: list[str] = field(default_factory=list)


def measured(kind: Kind, *, stress: bool) -> Row:
    """Build the kind and fill in its row."""
    row = Row(kind.name)
    with tempfile.TemporaryDirectory(prefix="cgoleak-kind-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        try:
            ready = kind.make(folder / "program")
        except Missing as missing:
            row.attach = f"skipped: needs {missing}"
            return row
        _measure(kind, ready, folder, row)
        if stress and row.attach == "hooked":
            _stress(kind, ready, row)
    return row


def _measure(kind: Kind, ready: Ready, folder: Path, row: Row) -> None:
    """Measure both twins at a time."""
    with ExitStack() as opened:
        runs = {}
        for mode in ("leak", "clean"):
            target, pid = opened.enter_context(_started(ready, mode))
            before = footprint(pid)
            follow = ("--exact", *kind.follow)
            watching = opened.enter_context(
                attach(folder / mode, pid, seconds=_SECONDS, follow=follow)
            )
            runs[mode] = target, pid, before, watching
        for target, pid, _, watching in runs.values():
            if _is_hooked(pid, watching):
                target.say("begin")
        for mode, (target, pid, before, watching) in runs.items():
            status = watching.finish(_SECONDS + 90)
            if not _alive(target, pid):
                row.wrong.append(f"{mode}: it did not survive")
                row.attach = f"ended it ({status})"
            elif status == _REFUSED:
                _note_refusal(kind, row, watching.stderr, touched=footprint(pid) != before)
            elif status:
                row.wrong.append(f"{mode}: attach ended with {status}: {watching.stderr[-300:]}")
            else:
                _note_measured(kind, row, mode, watching)


@contextmanager
def _started(ready: Ready, mode: str) -> Iterator[tuple[Program, int]]:
    with Program([*ready.words, mode], last=signal.SIGKILL) as target:
        said = target.line()
        assert said.startswith("running"), said
        yield target, child_running(target.pid, ready.inside) if ready.inside else target.pid


def _is_hooked(pid: int, watching: Cgoleak) -> bool:
    """Wait until the hooks are in; false if the command ended before."""

    def is_clear() -> bool:
        return counts(pid) or watching.process.poll() is not None

    wait_until(is_clear, "hooks", 60)
    return watching.process.poll() is None


def _alive(target: Program, pid: int) -> bool:
    return target.is_running() and Path(f"/proc/{pid}").exists()


def _note_refusal(kind: Kind, row: Row, said: str, *, touched: bool) -> None:
    found = re.search(r"error: (.*)", said)
    row.attach = f"refused ({_REFUSED})"
    if not kind.refusal or kind.refusal not in said:
        row.wrong.append(f"refused: {found[1] if found else said[-300:]}")
    if touched:
        row.wrong.append("what was refused is not as it was before")


def _note_measured(kind: Kind, row: Row, mode: str, watching: Cgoleak) -> None:
    row.attach = "hooked"
    if kind.never:
        row.wrong.append("it ought to be refused")
    report = watching.report()
    if mode == "clean":
        found = [one for one in _findings(report) if one["verdict"] in _ALARMS]
        row.clean = "quiet" if not found else f"{len(found)} false alarms"
        row.wrong += [f"clean: {_told(one)}" for one in found]
        return
    row.leaking, wrong = _verdict(kind, report)
    row.wrong += wrong
    row.stack, wrong = _completeness(kind, watching.capture_file)
    row.wrong += wrong


def _findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [*report["findings"], *report.get("handles", ())]


def _told(finding: dict[str, Any]) -> str:
    stack = " ← ".join(str(frame["function"]) for frame in finding["stack"][:6])
    return f"{finding['verdict']} at {stack}"


def _verdict(kind: Kind, report: dict[str, Any]) -> tuple[str, list[str]]:
    """Look whether the planted line leaks, and nothing else does."""
    notices = {one["code"]: one["text"] for one in report["notices"]}
    lost = [one for one in _findings(report) if one["verdict"] == "native-leak"]
    strays = [one for one in lost if not _is_planted(kind, one["stack"])]
    if kind.handles:
        lost = [one for one in lost if one.get("family") == kind.handles]
    wrong = [f"leaking: {_told(one)}" for one in strays]
    if len(lost) > len(strays):
        return "native-leak", wrong
    if kind.notice in notices and kind.notice:
        return f"told: {kind.notice}", wrong
    also = ", ".join(_told(one) for one in _findings(report)) or "no finding"
    return "missed", [*wrong, f"leaking: missed; {also}; notices {sorted(notices)}"]


def _planted(file: str) -> set[int]:
    text = (WORKER / file).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(text, 1) if "planted" in line}


def _is_planted(kind: Kind, stack: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a stack goes through the planted line of Go, and through that of C."""
    go = any(
        frame["function"] == _GO_FUNCTION and frame["line"] in _planted("main.go")
        for frame in stack
    )
    c = not kind.named or any(
        str(frame["function"]).startswith(_MADE_BY)
        and frame["line"] in _planted(Path(frame["file"] or "").name)
        for frame in stack
    )
    return go and c


def _completeness(kind: Kind, capture_file: Path) -> tuple[str, list[str]]:
    """Look at what was counted below the planted line of Go: whole to the goroutine's start."""
    capture = open_capture(capture_file)
    counted = capture.snapshots[-1].stacks
    whole, partly = 0, []
    for stack, frames in join(capture).items():
        if stack not in counted or not counted[stack].born_blocks:
            continue  # what the allocator maps for itself has a stack, and is not counted
        if not any(frame.function == _GO_FUNCTION for frame in frames):
            continue
        names = [frame.function for frame in frames]
        unnamed = any(f.lang is Language.UNKNOWN and f.module in _OURS for f in frames)
        good = (
            capture.stacks[stack].complete
            and "main.main" in names
            and names[-1].startswith("runtime.goexit")
            and GAP not in frames
            and (not unnamed or not kind.named)
        )
        if good:
            whole += 1
        else:
            partly.append(" ← ".join(names))
    if whole and not partly:
        return ("complete" if kind.named else "complete, C without names"), []
    if not whole and not partly and kind.notice:
        return "", []
    count = f"{len(partly)} of {whole + len(partly)} incomplete"
    return count, [f"stack: {names}" for names in partly[:4]]


def _stress(kind: Kind, ready: Ready, row: Row) -> None:
    """Attach, detach and be killed while it makes records as fast as it can."""
    pairs = dict(zip(kind.follow[::2], kind.follow[1::2], strict=True))
    families = PairOptions(
        pair=tuple(v for k, v in pairs.items() if k == "--pair"),
        pair_set=tuple(v for k, v in pairs.items() if k == "--pair-set"),
    ).families()
    try:
        with program(*ready.words, "hammer") as running:
            if ready.inside:
                running.pid = child_running(running.pid, ready.inside)
            more = {"families": families} if families else {}
            found = run_rounds(running, _ROUNDS, seconds_each=0.1, idle=kind.idle, **more)
            run_kills(running, 1, _SEED, phases=[("mapped", 0.5)], follow=kind.follow)
            bad = _wrong_records(running)
    except (AssertionError, subprocess.SubprocessError) as failure:
        row.stress = "failed"
        row.wrong.append(f"stress: {str(failure)[:300]}")
        return
    row.stress = f"{found.done} rounds, 1 kill" if not bad else "wrong records"
    if found.done < _ROUNDS // 2:
        row.wrong.append(f"stress: only {found.done} of {_ROUNDS} rounds: {found.row}")
    if bad:
        row.wrong.append(f"stress: {bad} rounds of records were not as they should be")


def _wrong_records(running: Running) -> int:
    line = running.next_lines(1)[0]
    found = re.search(r"bad=(\d+)", line)
    assert found, line
    return int(found[1])
