"""The five answers of a first screen, held against what is planted in the sample.

A rendered screen → the answers by question; a scenario → what each of them has to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from support.sample import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.sample import Scenario

__all__ = ["QUESTIONS", "answers_on", "missing"]

QUESTIONS: Final = ("leak?", "how fast?", "which line?", "comes back?", "what to do?")
"""As the terminal asks them; the page asks them in this order too."""
_AMOUNT: Final = re.compile(r"\d (?:B|KiB|MiB|GiB)(?:/s)?\b")
_PLACE: Final = re.compile(r"([\w/]+\.(?:c|cc|go)):(\d+)")
_NO_SPEED: Final = "It does not keep growing."
_STARTS: Final = {
    "go-held": "No. C memory waits for Go's finalizers",
    "go-heap": "Not of C memory: the live Go heap grows",
    "go-retained": "No. Go's memory is free or garbage",
    "allocator-retained": "No. C has freed it; malloc keeps it",
    "restart": "Perhaps: it grew until it ended.",
    "other": "Not of C's heap or Go's",
    "stable": "No.",
}
"""What is said of a leak where none is planted, or none can be seen."""


def answers_on(lines: Sequence[str]) -> dict[str, str]:
    """Read the answers off a terminal's screen; one that does not end on it is not there."""
    found: dict[str, str] = {}
    asked = None
    for line in lines:
        begun = next((one for one in QUESTIONS if line.startswith(f" {one} ")), None)
        if begun is not None:
            asked, found[begun] = begun, line.removeprefix(f" {begun} ").strip()
        elif asked is not None and line.startswith("    "):
            found[asked] += f" {line.strip()}"
        elif asked is not None:
            return found
    return {one: text for one, text in found.items() if one != asked}


def missing(scenario: Scenario, answers: Mapping[str, str]) -> list[str]:
    """Say what a reader would not know, or would know wrongly."""
    wrong = [one for one in QUESTIONS if not answers.get(one)]
    if wrong:
        return [f"no answer: {one}" for one in wrong]
    leak, speed, line, back, advice = (answers[one] for one in QUESTIONS)
    hooked = not line.startswith("Not looked for")
    leaks = scenario.leaking if hooked else ()
    if not leak.startswith("Yes" if leaks else _STARTS[scenario.cause]):
        wrong.append(f"leak: {leak}")
    if not _AMOUNT.search(speed) or (scenario.cause == "stable") != speed.startswith(_NO_SPEED):
        wrong.append(f"speed: {speed}")
    if leaks and ("/s" not in speed or "of C memory stays" not in back):
        wrong.append(f"speed and rest: {speed} {back}")
    if scenario.cause == "go-held" and "of C memory after a GC" not in back:
        wrong.append(f"comes back: {back}")
    if scenario.cause == "go-retained" and not re.match(r"[\d.]+ [MG]iB", back):
        wrong.append(f"comes back: {back}")
    planted = _planted(scenario, hooked=hooked)
    if not planted:
        named = None if line.startswith(("None", "Not looked for")) else line
    else:
        named = None if any(_is_named(one, line) for one in planted) else line
    if named is not None:
        wrong.append(f"line: {named}")
    if leaks and not (_PLACE.findall(advice) and set(_PLACE.findall(advice)) <= _places(line)):
        wrong.append(f"what to do: {advice}")
    return wrong


def _planted(scenario: Scenario, *, hooked: bool) -> list[str]:
    """Give the functions of which one has to be named."""
    if not hooked:
        return []
    wanted = "native-leak" if scenario.leaking else "go-held"
    sites = [one for one in scenario.sites if one.verdict == wanted]
    if wanted == "go-held" and scenario.cause != "go-held":
        sites = []
    # cgo's helper has no line of its own: the Go function that calls it has.
    called = [one.go_function if "_Cfunc_" in one.c_function else one.c_function for one in sites]
    return [*called, *scenario.go_functions]


def _is_named(function: str, line: str) -> bool:
    """Tell if an answer names a function, and a line in it: the first that it gives."""
    brief = function.rpartition("/")[2]
    place = _PLACE.search(line)
    return brief in line and place is not None and _lies_in(brief, place[1], int(place[2]))


def _lies_in(function: str, file: str, number: int) -> bool:
    """Tell if a line of the sample's source is one of a function."""
    (path,) = (one for one in ROOT.rglob(file.rpartition("/")[2]) if str(one).endswith(file))
    name = re.split(r"::|\.", function)[-1]
    for text in reversed(path.read_text(encoding="utf-8").splitlines()[:number]):
        if re.match(rf"\w.*\b{name}\(", text):
            return True
        if text.startswith("}"):
            return False
    return False


def _places(line: str) -> set[tuple[str, str]]:
    return set(_PLACE.findall(line))
