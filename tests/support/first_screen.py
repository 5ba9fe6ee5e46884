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
    "go-heap": "Perhaps, in Go and not in C",
    "go-retained": "No",
    "allocator-retained": "No. C has freed it; malloc keeps it",
    "restart": "Perhaps: it grew until it ended.",
    "other": "Cannot tell: ",
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
    unanswered = [f"no answer: {one}" for one in QUESTIONS if not answers.get(one)]
    if unanswered:
        return unanswered
    hooked = not answers["which line?"].startswith("Not looked for")
    leaks = hooked and bool(scenario.leaking)
    wrong = _of_the_leak(scenario, answers, leaks=leaks)
    if hooked:
        wrong += _of_the_rest(scenario, answers)
    return wrong + _of_the_place(scenario, answers, leaks=leaks, hooked=hooked)


def _of_the_leak(scenario: Scenario, answers: Mapping[str, str], *, leaks: bool) -> list[str]:
    """Say what is wrong with the first, the second and the fourth answer."""
    leak, speed, _, back, _ = (answers[one] for one in QUESTIONS)
    wrong = []
    if not leak.startswith("Yes" if leaks else _STARTS[scenario.cause]):
        wrong.append(f"leak: {leak}")
    if not _AMOUNT.search(speed) or (scenario.cause == "stable") != speed.startswith(_NO_SPEED):
        wrong.append(f"speed: {speed}")
    if not re.search("RSS|of C memory", speed):
        wrong.append(f"speed of what: {speed}")
    if leaks and ("/s of C memory" not in speed or "of C memory leaks and stays" not in back):
        wrong.append(f"speed and rest: {speed} {back}")
    if scenario.cause == "go-held" and not re.search(
        r"of C memory after a GC\.\s.*two minutes", back
    ):
        wrong.append(f"comes back: {back}")
    if scenario.cause == "go-retained" and not re.match(r"[\d.]+ [MG]iB", back):
        wrong.append(f"comes back: {back}")
    return wrong


def _of_the_place(
    scenario: Scenario, answers: Mapping[str, str], *, leaks: bool, hooked: bool
) -> list[str]:
    """Say what is wrong with the line, and with what to do there."""
    line, advice = answers["which line?"], answers["what to do?"]
    wrong = []
    planted = _planted(scenario, hooked=hooked)
    if not planted:
        named = None if line.startswith(("None", "Not looked for")) else line
    else:
        named = None if any(_is_named(one, line) for one in planted) else line
    if named is not None:
        wrong.append(f"line: {named}")
    first, second = _pieces(advice)
    if leaks and not (_places(first) and _places(first) <= _places(line)):
        wrong.append(f"what to do: {advice}")
    if (leaks and scenario.cause != "native-leak") != bool(second):
        wrong.append(f"what to do, of two causes: {advice}")
    return wrong


def _of_the_rest(scenario: Scenario, answers: Mapping[str, str]) -> list[str]:
    """Say what is missing of what is no leak, of several sites, and of what no line explains."""
    leak, _, line, back, advice = (answers[one] for one in QUESTIONS)
    held = [one.c_function for one in scenario.sites if one.verdict == "bounded"]
    wrong = []
    if held and "is held" not in back:
        wrong.append(f"held C memory: {back}")
    if (
        held
        and scenario.cause == "stable"
        and not (
            _is_named(held[0], line)
            and "of C memory is held" in leak
            and "added nothing for" in leak
        )
    ):
        wrong.append(f"who holds C memory: {leak} {line}")
    leaks = [one.c_function for one in scenario.sites if one.verdict == "native-leak"]
    if len(leaks) > 1 and not all(one in line for one in leaks[:3]):
        wrong.append(f"the other leaks: {line}")
    if scenario.leaking and scenario.cause != "native-leak" and "The larger part" not in leak:
        wrong.append(f"both causes: {leak}")
    if scenario.cause == "restart" and "cgoleak watch --exe /" not in advice:
        wrong.append(f"how to begin with the process: {advice}")
    if scenario.cause == "other" and not (_AMOUNT.search(leak) and "pmap -x" in advice):
        wrong.append(f"what grew, and where to look: {leak} {advice}")
    return wrong


def _pieces(advice: str) -> tuple[str, str]:
    """Part advice for a leak and for what else made RSS grow."""
    first, second, rest = advice.partition(" 2. ")
    return (first, rest) if second and advice.startswith("1. ") else (advice, "")


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
