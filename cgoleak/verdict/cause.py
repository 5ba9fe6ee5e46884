"""Findings and growth → the cause of what RSS is, and one sentence.

The rules, with what they cannot know, are in ``docs/verdicts.md``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.golibrary import own_go_frame
from cgoleak.model.names import brief_name
from cgoleak.model.report import Cause, Verdict
from cgoleak.model.sheetwords import OUTSIDE_HEAPS, PLAIN_WORDS
from cgoleak.units import format_bytes, format_rate, format_seconds, plural
from cgoleak.verdict.balance import is_hooked
from cgoleak.verdict.growth import LEAST_BYTES, LEAST_SHARE, growth_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.ledger import Ledger
    from cgoleak.model.frames import Frame
    from cgoleak.model.report import BalanceLine, Finding
    from cgoleak.verdict.growth import Growth, Parts

    _Parted = defaultdict[Verdict, list[Finding]]

__all__ = ["Conclusion", "conclude", "grows"]

_OUTWEIGHS: Final = 4
"""How many times larger than all leaks another cause must be to be named before them."""
_LATE: Final = 10
"""A rise of which more than one in so many came in the later half has not stayed since then."""
_MOST: Final = 3
"""A part that makes one in so many of the growth, and more than any other, names the cause."""
_CAME_AND_WENT: Final = {
    Cause.GO_RETAINED: "garbage of Go's heap, which Go hands back late",
    Cause.ALLOCATOR_RETAINED: "memory that C freed and malloc kept",
    Cause.OTHER: "stacks, mappings or files",
}
_NEARLY_ALL: Final = 0.9
_HELD_WORTH: Final = 1 << 20
"""C memory that is held without growing is worth a word from here on."""
_GO_SWINGS: Final = 8 << 20
"""Go's smallest heap is 4 MiB (``heapMinimum``, mgcpacer.go): twice that is how it breathes."""


class Conclusion(NamedTuple):
    """What made RSS what it is, and a sentence on it."""

    cause: Cause
    summary: str
    weight_bytes: int = 0
    """How much of RSS the cause explains, where that is known."""


def conclude(
    ledger: Ledger, findings: Sequence[Finding], balance: Sequence[BalanceLine]
) -> Conclusion:
    """Name the cause.

    A leak comes first even if it is small today: it is the part that never stops. Only what
    explains most of the growth, and is several times larger, is the cause; the sentence then says
    both, the leak first.
    """
    parted: _Parted = defaultdict(list)
    for one in findings:
        parted[one.verdict].append(one)
    leaks, suspects = parted[Verdict.NATIVE_LEAK], parted[Verdict.SUSPECT]
    if not ledger.times_ns and not leaks:
        return Conclusion(Cause.UNKNOWN, "Nothing was measured: there is no snapshot.")
    growth = growth_of(ledger)
    besides = (
        _by_lines(ledger, parted, balance)
        if growth is None
        else _by_growth(ledger, parted, growth, balance)
    )
    if not leaks:
        return besides
    lost = sum(one.outstanding_bytes for one in leaks)
    said = _leak_sentence(leaks, suspects)
    if besides.weight_bytes > _OUTWEIGHS * lost:
        return besides._replace(summary=f"{said} The larger part: {besides.summary}")
    return Conclusion(Cause.NATIVE_LEAK, said, lost)


def grows(balance: Sequence[BalanceLine]) -> bool:
    """Whether RSS grew by more than a busy process does."""
    rss = next((line for line in balance if line.part == "RSS"), None)
    if rss is None or rss.change_bytes is None:
        return False
    return rss.change_bytes > max(LEAST_BYTES, LEAST_SHARE * (rss.start_bytes or 0))


def _by_growth(
    ledger: Ledger,
    parted: _Parted,
    growth: Growth,
    balance: Sequence[BalanceLine],
) -> Conclusion:
    """Judge by the parts of RSS: what grew, or what came and went within the window."""
    window = format_seconds(ledger.seconds)
    suspects, held = parted[Verdict.SUSPECT], parted[Verdict.GO_HELD]
    grown = growth.now - growth.start
    if grown > growth.least:
        found = _most_of(grown, growth.parts, growth, held, window)
        if found is not None and not _is_outgrown(found, growth):
            return _told_apart(found, ledger, growth, balance)
        if growth.has_settled and not suspects:
            return _gone(growth, window, more_than=grown) or _settled(growth, parted, window)
        if is_hooked(ledger):
            return _unexplained(grown, growth, suspects, window)
        return _unfollowed(grown, growth, window)
    gone = _gone(growth, window)
    if gone is not None:
        return gone
    if suspects:
        return Conclusion(
            Cause.UNKNOWN,
            f"No site is shown to lose C memory in {window}, but "
            f"{plural(len(suspects), 'site')} {_are(suspects)} suspect.",
        )
    if held and 2 * _size(held) > growth.now * LEAST_SHARE and _size(held) > growth.least:
        return Conclusion(Cause.GO_HELD, _held_sentence(held), _size(held))
    still = f"No site kept growing in {window}, and RSS did not either."
    return Conclusion(
        Cause.STABLE, still if is_hooked(ledger) else f"RSS did not grow in {window}."
    )


def _is_outgrown(found: Conclusion, growth: Growth) -> bool:
    """Tell if C memory in use still grows, and by more than what malloc holds free.

    That C has freed it would then be said of the smaller part.
    """
    free = found.cause is Cause.ALLOCATOR_RETAINED
    return free and not growth.has_settled and growth.parts.native > found.weight_bytes


def _settled(growth: Growth, parted: _Parted, window: str) -> Conclusion:
    """Say what has stayed of a rise that is over, as far as it is C memory that was followed."""
    bounded = _size(parted[Verdict.BOUNDED])
    grown = growth.now - growth.start
    rose = f"RSS rose by {format_bytes(grown)} in the first half of {window} and has stayed since"
    if _LATE * growth.late > grown:
        late = format_bytes(growth.late)
        rose = f"RSS rose by {format_bytes(grown)} in {window}, {late} of it in the second half"
    if growth.heights is not None:
        first, second = map(format_bytes, growth.heights)
        rose = (
            f"RSS goes up and down, to {first} in the first half of {window} and to {second} in "
            "the second"
        )
        if bounded < _HELD_WORTH:
            return Conclusion(Cause.STABLE, f"{rose}.")
    if bounded < _HELD_WORTH:
        return Conclusion(Cause.STABLE, f"{rose}: warming up, or a cache that filled.")
    size = format_bytes(bounded)
    text = f"{rose}; {size} of C memory is held and does not grow."
    return Conclusion(Cause.STABLE, text)


def _told_apart(
    found: Conclusion, ledger: Ledger, growth: Growth, balance: Sequence[BalanceLine]
) -> Conclusion:
    """Say more than the parts know: which line grew, and what Go gave up with MADV_FREE."""
    rose = found.summary.partition(";")[0].partition(",")[0]
    if found.cause is Cause.OTHER:
        grown = [line for line in balance if line.part in OUTSIDE_HEAPS]
        most = max(grown, key=lambda line: line.change_bytes or 0, default=None)
        if most is None or 2 * (most.change_bytes or 0) < growth.parts.other:
            return found
        size, part = format_bytes(most.change_bytes or 0), PLAIN_WORDS[most.part]
        return found._replace(summary=f"{rose}, in neither heap: {size} of it is {part}.")
    native = next((one for one in reversed(ledger.native) if one is not None), None)
    lazily = 0 if native is None else native.go_lazy_free
    if found.cause is Cause.GO_RETAINED and 2 * lazily > found.weight_bytes:
        text = f"{rose}; Go has handed {format_bytes(lazily)} back, but with MADV_FREE"
        return found._replace(
            summary=f"{text}: it counts until the kernel runs short of memory and takes it."
        )
    return found


def _gone(growth: Growth, window: str, more_than: int = 0) -> Conclusion | None:
    """Name what came and went within the window, if it outweighs what has stayed."""
    risen, back = growth.peak - growth.start, growth.peak - growth.now
    if risen <= growth.least or back <= max(growth.least, more_than):
        return None
    parts = growth.parts_at_peak
    # What Go had in use then and has not now, it has collected: it may all have been handed back
    # before anybody saw it free.
    collected = parts.go_in_use - growth.parts.go_in_use
    parts = replace(parts, go_held=max(parts.go_held, collected))
    found = _most_of(risen, parts, replace(growth, slack_reused=0), (), window)
    if found is None or found.cause is Cause.GO_HEAP:
        return None
    return found._replace(
        summary=f"RSS peaked at {format_bytes(growth.peak)} and is at {format_bytes(growth.now)} "
        f"now: {_CAME_AND_WENT[found.cause]}; {format_bytes(back)} of it has come back."
    )


def _most_of(
    grown: int, parts: Parts, growth: Growth, held: Sequence[Finding], window: str
) -> Conclusion | None:
    """Name the largest part of the growth that names a cause.

    It makes a third of the growth at least, and more than any busy process shows.
    """
    rose = f"RSS grew by {format_bytes(grown)} in {window}"
    found = [_go_part(grown, parts, growth, rose)]
    if held:
        found.append(Conclusion(Cause.GO_HELD, _held_sentence(held), _size(held)))
    found.append(
        Conclusion(
            Cause.ALLOCATOR_RETAINED,
            f"{rose}; malloc keeps {format_bytes(parts.slack)} of it, which C has freed.",
            # What is taken again and again is room for the work, as with a pool.
            parts.slack - growth.slack_reused,
        )
    )
    if not growth.has_settled:
        # Libraries, files and threads of a start stay, and are no more worth a name than a cache.
        text = f"{rose}, in neither heap: stacks, mappings or files."
        found.append(Conclusion(Cause.OTHER, text, parts.other))
    most = max(found, key=lambda one: one.weight_bytes)
    worth = most.weight_bytes > growth.least and _MOST * most.weight_bytes > grown
    return most if worth else None


def _go_part(grown: int, parts: Parts, growth: Growth, rose: str) -> Conclusion:
    """Weigh Go's heap: alive, freed and not handed back, or garbage that nobody will look at.

    Garbage that awaits its collection while the work goes on names no cause: nobody knows yet.
    """
    in_go = min(parts.go_in_use + parts.go_held, grown)
    if 2 * growth.go_live_room > in_go:
        size = format_bytes(parts.go_in_use)
        return Conclusion(
            Cause.GO_HEAP,
            f"{rose}; the live Go heap grew by {size}: look at it with pprof.",
            in_go,
        )
    if growth.go_is_idle and in_go > max(_GO_SWINGS, 2 * parts.go_held):
        return Conclusion(
            Cause.GO_RETAINED,
            f"{rose}; Go's heap grew by {format_bytes(in_go)}, {format_bytes(parts.go_held)} of it "
            "is free; how much of the rest is garbage the next GC tells: none ran since Go stopped "
            "allocating.",
            in_go,
        )
    return Conclusion(
        Cause.GO_RETAINED,
        f"{rose}; Go has freed {format_bytes(parts.go_held)} and not handed it back yet.",
        min(parts.go_held, grown) if parts.go_held > _GO_SWINGS else 0,
    )


def _unexplained(
    grown: int, growth: Growth, suspects: Sequence[Finding], window: str
) -> Conclusion:
    seen = f", {plural(len(suspects), 'site')} {_are(suspects)} suspect" if suspects else ""
    native, in_use = growth.parts.native, growth.parts.go_in_use
    if 2 * in_use > grown and not suspects:
        return Conclusion(
            Cause.UNKNOWN,
            f"RSS grew by {format_bytes(grown)} in {window}, {format_bytes(in_use)} of it in Go's "
            "heap; how much of that is alive its next collections tell.",
        )
    if 2 * native > grown and not suspects:
        return Conclusion(
            Cause.UNKNOWN,
            f"RSS grew by {format_bytes(grown)} in {window}, {format_bytes(native)} of it in C "
            "memory; no site is shown to lose it.",
        )
    return Conclusion(
        Cause.UNKNOWN,
        f"RSS grew by {format_bytes(grown)} in {window}; no site is shown to lose C memory{seen}.",
    )


def _unfollowed(grown: int, growth: Growth, window: str) -> Conclusion:
    """Say what grew where no calls were followed."""
    rose, native = f"RSS grew by {format_bytes(grown)} in {window}", growth.parts.native
    if 2 * growth.parts.go_in_use > grown:
        return _unexplained(grown, growth, (), window)
    if 2 * native > grown:
        text = f"{rose}, {format_bytes(native)} of it in C memory; hooks tell which lines made it."
        return Conclusion(Cause.UNKNOWN, text)
    return Conclusion(Cause.UNKNOWN, f"{rose}; no part of it stands out.")


def _by_lines(ledger: Ledger, parted: _Parted, balance: Sequence[BalanceLine]) -> Conclusion:
    """Judge without the mappings: by what the kernel and Go say in sum."""
    changes = {line.part: line.change_bytes or 0 for line in balance}
    suspects, held = parted[Verdict.SUSPECT], parted[Verdict.GO_HELD]
    window = format_seconds(ledger.seconds)
    grown = changes.get("RSS", 0)
    if held and _matters(held, changes, balance):
        return Conclusion(Cause.GO_HELD, _held_sentence(held), _size(held))
    if not grows(balance):
        if suspects:
            return Conclusion(
                Cause.UNKNOWN,
                f"No site is shown to lose C memory in {window}, but "
                f"{plural(len(suspects), 'site')} {_are(suspects)} suspect.",
            )
        return Conclusion(Cause.STABLE, f"No site kept growing in {window}.")
    parts = (
        (Cause.GO_HEAP, "Go heap in use", "the live Go heap grew by {}: look at it with pprof"),
        (Cause.GO_RETAINED, "Go heap held back", "Go freed {} and has not handed it back yet"),
    )
    for cause, part, sentence in parts:
        if 2 * changes.get(part, 0) > grown:
            said = sentence.format(format_bytes(changes[part]))
            text = f"RSS grew by {format_bytes(grown)} in {window}; {said}."
            return Conclusion(cause, text, changes[part])
    if any(ledger.go) and not suspects and 2 * changes.get("other", 0) > grown:
        freed = sum(ledger.last(stack).freed_bytes for stack in ledger.stacks)
        if freed > changes["other"]:
            return Conclusion(
                Cause.ALLOCATOR_RETAINED,
                f"RSS grew by {format_bytes(grown)} in {window}, while C freed "
                f"{format_bytes(freed)}: the allocator keeps what was freed.",
            )
        return Conclusion(
            Cause.OTHER,
            f"RSS grew by {format_bytes(grown)} in {window}, in neither heap: "
            "stacks, mappings or files.",
        )
    seen = f", {plural(len(suspects), 'site')} {_are(suspects)} suspect" if suspects else ""
    return Conclusion(
        Cause.UNKNOWN,
        f"RSS grew by {format_bytes(grown)} in {window}; no site is shown to lose C memory{seen}.",
    )


def _leak_sentence(leaks: Sequence[Finding], suspects: Sequence[Finding]) -> str:
    rate = format_rate(sum(one.growth_bytes_per_second for one in leaks))
    verb = "is" if len(leaks) == 1 else "are"
    more = f"; {len(suspects)} more {_are(suspects)} suspect" if suspects else ""
    sites = f"{plural(len(leaks), 'site')} in the code"
    return f"{sites} {verb} losing C memory at {rate}{_called_from(leaks)}{more}."


def _called_from(leaks: Sequence[Finding]) -> str:
    """Name the program's own function that nearly all of many leaks, or a library's, come from.

    One misuse of a library leaves as many sites as the library allocates in.
    """
    callers: dict[str, list[Frame]] = {}
    size: Counter[str] = Counter()
    for one in leaks:
        owner = own_go_frame(one.stack)
        if owner is not None:
            callers.setdefault(owner.function, []).append(owner)
            size[owner.function] += one.outstanding_bytes
    if not size:
        return ""
    function, its_bytes = size.most_common(1)[0]
    total = sum(one.outstanding_bytes for one in leaks)
    if len(leaks) == 1 or its_bytes < _NEARLY_ALL * total:
        return ""
    lines = {(frame.file, frame.line) for frame in callers[function]}
    file, line = lines.pop() if len(lines) == 1 else (None, None)
    place = f" ({file.rpartition('/')[2]}:{line})" if file and line else ""
    whole = "all" if its_bytes == total else "nearly all"
    return f", {whole} of it for {brief_name(callers[function][0])}{place}"


def _held_sentence(held: Sequence[Finding]) -> str:
    size = format_bytes(_size(held))
    verb = "waits" if len(held) == 1 else "wait"
    return (
        f"{size} of C memory from {plural(len(held), 'site')} {verb} for Go's "
        "finalizers or cleanups."
    )


def _size(held: Sequence[Finding]) -> int:
    return sum(one.outstanding_bytes for one in held)


def _matters(
    held: Sequence[Finding], changes: dict[str, int], balance: Sequence[BalanceLine]
) -> bool:
    """Whether what Go holds is worth naming: it makes half of the growth, or there is no RSS."""
    size = _size(held)
    rss = next((line.now_bytes for line in balance if line.part == "RSS"), 0)
    if grows(balance):
        return 2 * size > changes["RSS"]
    return size > LEAST_SHARE * rss


def _are(found: Sequence[Finding]) -> str:
    return "is" if len(found) == 1 else "are"
