"""The corpus: small cgo programs that leak and their clean twins, under each tool that is there.

``python -m corpus`` builds ``programs/`` and prints the table of the README: what each tool found,
whether it named the Go line, whether it was quiet on the clean twin, and how long both took.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS: Final = Path(__file__).with_name("programs")

ALLOCATES: Final = {
    "c": "parse",
    "cpp": "make_layer",
    "cstring": "Cmalloc",
    "once": "config_new",
    "realloc": "collect",
    "strdup": "title",
    "callback": "note_new",
    "finalizer": "texture_new",
    "cleanup": "page_new",
    "pool": "pool_get",
    "cache": "cache_put",
    "gomap": "handle_new",
    "osexit": "scratch_new",
    "crash": "frame_new",
    "thread": "job",
    "list": "event_add",
}
"""Program → the function whose blocks are lost, or cgo's own for ``C.CString``."""

NO_GO: Final = {"thread"}
"""Their leaking code runs on threads that C made: there is no Go line to name."""

_TIMEOUT_S: Final = 180
_VALGRIND_LOSS: Final = re.compile(
    r"(?:definitely|possibly) lost in loss record[^\n]*\n((?:==\d+==    [^\n]*\n)+)"
)
_ASAN_LOSS: Final = re.compile(r"leak of [^\n]* allocated from:\n((?:    #[^\n]*\n)+)")

_OWN: Final = re.compile(r"_Cfunc_|main\.go:|layer\.cc:|walk\.c:")
_GO_LINE: Final = re.compile(r"\bmain\.(?!go\b|_C)")
"""A Go function of the program; C of the preamble has lines of ``main.go`` too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool said of one run."""

    found: bool
    go_line: bool
    alarms: int
    seconds: float


def main() -> int:
    """Run everything; the exit status is 1 if cgoleak missed something or gave a false alarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*", help="some of them")
    parser.add_argument("--only", choices=["cgoleak", "asan", "valgrind"], help="one tool")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cgoleak-corpus-") as scratch:
        tools = _tools(Path(scratch), arguments.only)
        # Go before 1.24 builds no program with cleanups.
        built = {path.name for path in _programs(Path(scratch))}
        names = [name for name in arguments.programs or ALLOCATES if name in built]
        print(_head(list(tools)))  # noqa: T201
        totals = {tool: [0, 0, 0, 0, 0.0] for tool in tools}
        for name in names:
            cells = []
            for tool, run in tools.items():
                leak, clean = run(name, "leak"), run(name, "clean")
                cells += _cells(name, leak, clean)
                total = totals[tool]
                total[0] += leak.found
                total[1] += leak.found and leak.go_line
                total[2] += clean.alarms > 0
                total[3] += 1
                total[4] += leak.seconds + clean.seconds
            print(f"| {name} | {' | '.join(cells)} |", flush=True)  # noqa: T201
        cells = []
        with_go = sum(name not in NO_GO for name in names)
        for found, named, alarms, count, seconds in totals.values():
            cells += [f"**{found}/{count}**", f"{named}/{with_go}", f"{alarms}", f"{seconds:.0f} s"]
        print(f"| **all** | {' | '.join(cells)} |")  # noqa: T201
        ours = totals.get("cgoleak check")
        right = ours is None or (ours[0] == ours[3] and ours[1] == with_go and not ours[2])
        return int(not right)


def _programs(scratch: Path) -> list[Path]:
    """Give the programs that this Go could build."""
    return [path for path in (scratch / "plain").iterdir() if path.name in ALLOCATES]


def _head(tools: list[str]) -> str:
    names = [
        word for tool in tools for word in (f"{tool}: found", "Go line", "false alarms", "time")
    ]
    return f"| program | {' | '.join(names)} |\n|---|{'---|' * len(names)}"


def _cells(name: str, leak: Outcome, clean: Outcome) -> list[str]:
    go = "–" if name in NO_GO else "yes" if leak.go_line else "no"  # noqa: RUF001
    return [
        "yes" if leak.found else "**missed**",
        go if leak.found else "–",  # noqa: RUF001
        "none" if not clean.alarms else f"**{clean.alarms}**",
        f"{leak.seconds + clean.seconds:.1f} s",
    ]


def _tools(scratch: Path, only: str | None) -> dict[str, Callable[[str, str], Outcome]]:
    plain = _built(scratch / "plain")
    assert plain is not None, "it would have ended"
    found: dict[str, Callable[[str, str], Outcome]] = {}
    if only in (None, "cgoleak"):
        found["cgoleak check"] = lambda name, how: _cgoleak(plain / name, how)
    if only in (None, "asan") and (asan := _built(scratch / "asan", "-asan", may_fail=True)):
        found["go build -asan"] = lambda name, how: _asan(asan / name, how)
    if only in (None, "valgrind") and (valgrind := shutil.which("valgrind")):
        found["valgrind"] = lambda name, how: _valgrind(valgrind, plain / name, how)
    return found


def _built(folder: Path, *flags: str, may_fail: bool = False) -> Path | None:
    folder.mkdir()
    done = subprocess.run(
        ["go", "build", "-buildvcs=false", *flags, "-o", f"{folder}/", "./..."],
        cwd=PROGRAMS,
        env=os.environ | {"CGO_ENABLED": "1", "CGO_CFLAGS": "-g -O2", "CGO_CXXFLAGS": "-g -O2"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        if may_fail:
            return None
        sys.exit(done.stderr)
    return folder


def _run(command: list[str], **environment: str) -> tuple[str, float]:
    """Run to the end; give what it said and how long it took."""
    began = time.monotonic()
    done = subprocess.run(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace"), time.monotonic() - began


def _cgoleak(program: Path, how: str) -> Outcome:
    report = program.with_suffix(".json")
    command = [sys.executable, "-m", "cgoleak", "check", "--force", "-q", "-o", str(report)]
    _, seconds = _run([*command, "--", str(program), how])
    findings = json.loads(report.read_text())["findings"]
    leaks = [one["stack"] for one in findings if one["verdict"] == "native-leak"]
    return _outcome(
        program.name, [[(f["function"], f["lang"] == "Go") for f in one] for one in leaks], seconds
    )


def _asan(program: Path, how: str) -> Outcome:
    said, seconds = _run([str(program), how], ASAN_OPTIONS="detect_leaks=1")
    losses = [
        [(line, _GO_LINE.search(line) is not None) for line in found[1].splitlines()]
        for found in _ASAN_LOSS.finditer(said)
    ]
    return _outcome(program.name, losses, seconds, own=_OWN)


def _valgrind(valgrind: str, program: Path, how: str) -> Outcome:
    command = [valgrind, "--leak-check=full", "--num-callers=40", str(program), how]
    said, seconds = _run(command)
    losses = [
        [(line, _GO_LINE.search(line) is not None) for line in found[1].splitlines()]
        for found in _VALGRIND_LOSS.finditer(said)
    ]
    return _outcome(program.name, losses, seconds, own=_OWN)


def _outcome(
    name: str,
    losses: list[list[tuple[str, bool]]],
    seconds: float,
    own: re.Pattern[str] | None = None,
) -> Outcome:
    """Find the stack that is meant among those a tool reported; on a clean twin each is false.

    Tools that do not name inlined functions are given what goes through the program's own code.
    """
    meant = [
        stack
        for stack in losses
        if any(_is_called(text, ALLOCATES[name]) or (own and own.search(text)) for text, _ in stack)
    ]
    return Outcome(
        found=bool(meant),
        go_line=any(is_go for stack in meant for _, is_go in stack),
        alarms=len(losses),
        seconds=seconds,
    )


def _is_called(text: str, function: str) -> bool:
    return re.search(rf"(?:^|[^A-Za-z0-9]|_){function}(?:$|[^A-Za-z0-9_])", text) is not None


if __name__ == "__main__":
    sys.exit(main())
