"""The rules. Each takes the facts of one site and gives a ruling, or None to let the next decide.

They follow from how memory behaves, not from samples. What they measure is growth and age: without
looking at every pointer in the process nobody can know that a block is unreachable, and a block
that is reachable from a list that is never emptied is lost all the same.
"""

from __future__ import annotations

from itertools import accumulate
from math import log
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.model.holding import AT_ITS_END, OWNED_BLOCKS
from cgoleak.model.ownership import is_users
from cgoleak.model.report import Verdict
from cgoleak.units import format_bytes, format_count, format_seconds, plural
from cgoleak.verdict.facts import NO_ACCIDENT
from cgoleak.verdict.shape import late_share, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cgoleak.capture.history import CountRow
    from cgoleak.stacks import Site
    from cgoleak.verdict.facts import Facts, Surroundings
    from cgoleak.verdict.policy import Policy
    from cgoleak.verdict.shape import Shape

__all__ = [
    "RULES",
    "Ruling",
    "falls_behind",
    "has_a_thread_each",
    "has_an_owner_each",
    "has_larger_blocks",
    "has_owners",
    "is_renewed",
    "is_stalled",
    "rests",
    "rule_on",
    "stall_of",
]

_STILL = 1 / 6
"""Share of the window, at its end, without growth, that is more than a pause."""
_TURNOVER = (0.75, 1.5)
"""How closely frees of blocks from before the attach match a site's growth to explain it."""

_AS_OLD: Final = 0.75
"""Share of the age of the oldest block that freed ones lived, from which on they were as old."""
_LATER: Final = ", but ever later: a queue that falls behind looks like this"


class Ruling(NamedTuple):
    """A verdict, and what gives the sentences that carry it: of most sites nobody reads them."""

    verdict: Verdict
    say: Callable[[], tuple[str, ...]]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences."""
        return self.say()


def made_larger(facts: Facts, policy: Policy) -> Ruling | None:
    """No more blocks, but ever larger ones, up to the end of the window.

    A resize (realloc, mremap) makes a block anew, so that these are always young, and nothing but
    their sizes shows it. Cannot know: whether somebody still uses them, and whether it ends.
    """
    if not is_made_larger(facts, policy):
        return None
    steps = plural(_new_peaks(facts.looked.bytes), "interval")
    return Ruling(Verdict.SUSPECT, lambda: (_by_sizes(facts, "no more"), f"made larger in {steps}"))


def is_made_larger(facts: Facts, policy: Policy) -> bool:
    """Tell a site whose bytes grew in many steps, and its blocks by less than half as much.

    As many steps as blocks that stay are asked for: work in flight has no sizes that only ever
    rise.
    """
    if not has_larger_blocks(facts):
        return False  # as of nearly all
    if _new_peaks(facts.looked.bytes) < policy.min_blocks:
        return False
    shape = facts.sizes
    if shape is None or not shape.keeps_rising:
        return False
    return shape.flat_seconds < _STILL * facts.looked.seconds


def has_larger_blocks(facts: Facts) -> bool:
    """Tell if its bytes rose since the first third by more than twice the share of its blocks.

    Of a site that had none then, nobody knows.
    """
    looked = facts.looked
    more = late_share(looked.times_ns, looked.blocks)
    if 2 * more >= late_share(looked.times_ns, looked.bytes):
        return False
    shape = shape_of(looked.times_ns, looked.blocks)
    return shape is not None and shape.level > sum(shape.rises[1:])


def _new_peaks(values: Sequence[int]) -> int:
    return len(set(accumulate(values, max))) - 1


def in_flight(facts: Facts, policy: Policy) -> Ruling | None:
    """All blocks are young: they are what is being worked on.

    Should there be ever more of them, a queue may fall behind: then each is freed, and memory is
    used up all the same. Cannot know: what happens to them afterwards. In a window shorter than the
    minimum age everything is young; then this rule stands back.
    """
    if not _is_young(facts, policy):
        return None
    if falls_behind(facts, policy):
        shape = shape_of(facts.looked.times_ns, facts.looked.blocks)
        assert shape is not None
        return Ruling(
            Verdict.SUSPECT,
            lambda: (
                f"{facts.noun}s in use, by thirds of the window: {_steps(shape)}",
                f"{_all_from_before(facts)}{_LATER}",
            ),
        )
    return Ruling(
        Verdict.BOUNDED,
        lambda: (f"its oldest {facts.noun} is {format_seconds(facts.oldest_ns / 1e9)} old",),
    )


def _is_young(facts: Facts, policy: Policy) -> bool:
    return 0 < facts.oldest_ns / 1e9 < policy.min_age_seconds < facts.series.seconds


def falls_behind(facts: Facts, policy: Policy) -> bool:
    """Tell a site whose blocks are all young, and ever more, although no more of them are made.

    What is in use is what is made in a second, times the seconds that each lives (Little's law).
    Where more work explains half of the rise, or more, nothing falls behind; nor does what cleanups
    free, of which each GC cycle takes as much as there is. Growth has to be worth a line, since
    work in flight is never the same twice.
    """
    last = facts.series.last
    if not _is_young(facts, policy) or 2 * last.cleaned_blocks > last.freed_blocks:
        return False
    looked = facts.looked
    shape, sizes = shape_of(looked.times_ns, looked.blocks), facts.sizes
    if shape is None or sizes is None or min(shape.rises[1:]) <= shape.fall:
        return False
    rise, error = sum(shape.rises[1:]), last.blocks_error
    if shape.level < policy.min_blocks * facts.stands_for or rise <= 2 * error:
        return False
    if sum(sizes.rises[1:]) < policy.big_bytes or shape.pace < policy.slowing:
        return False
    first, second, third = (facts.born_until(mark) for mark in shape.marks_ns[1:])
    made, more = second - first, (third - second) - (second - first)
    return 2 * (shape.level - shape.rises[2]) * more < shape.rises[2] * made


def is_renewed(facts: Facts) -> bool:
    """Tell if it grows, and no block is left from before the last third, as far as ages are known.

    What is lost stays: a leak that lifted the floor before would have left its blocks.
    """
    if facts.shape is None or not facts.shape.keeps_rising or not facts.oldest_ns:
        return False
    return facts.series.times_ns[-1] - facts.oldest_ns > facts.shape.marks_ns[2]


def _all_from_before(facts: Facts) -> str:
    oldest = format_seconds(facts.oldest_ns / 1e9)
    return f"its oldest {facts.noun} is {oldest} old: all from before were freed"


def lost_at_the_end(facts: Facts, policy: Policy) -> Ruling | None:  # noqa: ARG001
    """The command was held at its exit, and nothing in it pointed to some of the blocks.

    No code could have freed them. Cannot know: pointers that are hidden (xor, offsets, files).
    Threads that were being started at that moment hold theirs in registers.
    """
    holding = facts.holding
    if holding is None or not holding.lost_blocks or facts.site.infrastructure is not None:
        return None
    lost = plural(holding.lost_blocks, facts.noun)
    return Ruling(
        Verdict.NATIVE_LEAK,
        lambda: (f"{AT_ITS_END}nothing in it pointed to {lost} any more",),
    )


def known_at_the_end(facts: Facts, policy: Policy) -> Ruling | None:
    """The command was held at its exit, and something in it still knew all the blocks.

    Owned by a Go object with a finalizer or cleanup, they wait for the GC. Known to a variable,
    they are a pool, a cache, or a list that nobody empties: growth tells, which takes a window that
    is long enough to be judged like that of a running process.
    """
    holding = facts.holding
    if holding is None:
        return None
    if holding.owned_blocks:
        owned = plural(holding.owned_blocks, facts.noun)
        return Ruling(
            Verdict.GO_HELD,
            lambda: (f"{AT_ITS_END}Go objects with a finalizer or cleanup owned {owned}",),
        )
    if not holding.known_blocks or facts.series.seconds >= policy.min_seconds:
        return None
    return Ruling(
        Verdict.BOUNDED,
        lambda: (f"{AT_ITS_END}it still had pointers to all of them: a pool, a cache, in use",),
    )


def owned_by_go(facts: Facts, policy: Policy) -> Ruling | None:
    """Of the blocks that nobody frees explicitly, Go's finalizers and cleanups free some.

    The rest waits for its Go objects to be found dead, which takes a GC cycle to find and queue
    them (runtime ``mfinal.go``, ``mcleanup.go``), so that outstanding memory goes up until the
    next cycle. Go runs a cycle when its own heap has grown or after two minutes (``forcegcperiod``
    in ``proc.go``); C memory does not count towards it.

    If the floor keeps rising over several cycles, dead objects are not the explanation, unless
    their cleanups have stopped (``is_stalled``). Else either Go still holds the owners, or these
    blocks have none; this cannot be told apart here.
    """
    last = facts.series.last
    if not last.cleaned_blocks:
        return None
    if last.cleaned_blocks < policy.cleaned_share * (last.cleaned_blocks + last.outstanding_blocks):
        return None
    reasons = [f"Go's finalizers or cleanups freed {_of(last.cleaned_blocks, facts)}"]
    cycles, lived = facts.around.gc_cycles, facts.gc_since_oldest
    rising = facts.shape is not None and facts.shape.keeps_rising
    if cycles is not None:
        reasons.append(f"{plural(cycles, 'GC cycle')} in this window")
    if rising and is_stalled(facts, policy):
        return Ruling(Verdict.SUSPECT, lambda: (*reasons, stall_of(facts)))
    if rising and lived is not None and lived > policy.gc_cycles:
        reasons.append(
            f"grew all the same, and its oldest {facts.noun} lived through "
            f"{plural(lived, 'GC cycle')}: "
            f"either Go still holds the owners, or these {facts.noun}s have none"
        )
        return Ruling(Verdict.SUSPECT, lambda: tuple(reasons))
    if rising:
        reasons.append(
            "grew in this window; whether the GC catches up needs more GC cycles to tell"
        )
    return Ruling(Verdict.GO_HELD, lambda: tuple(reasons))


def keeps_growing(facts: Facts, policy: Policy) -> Ruling | None:
    """The floor rose in each third of the window, up to its end, at an unbroken pace.

    Blocks in flight cannot do this: they come and go. What was filled once cannot either: it
    stops. Cannot know: that growth goes on for good. A cache that is still filling, or blocks that
    live longer than the window, look the same; the evidence says so.
    """
    shape = facts.shape
    if shape is None or not shape.keeps_rising or _level(facts) < policy.min_suspect_blocks:
        return None
    if _has_stopped(facts):
        return None
    if shape.pace < policy.levelled:
        return Ruling(
            Verdict.BOUNDED, lambda: (_thirds(shape, facts.noun), "has all but levelled off")
        )
    return Ruling(
        Verdict.SUSPECT if any(_doubts(facts, policy)) else Verdict.NATIVE_LEAK,
        lambda: (_thirds(shape, facts.noun), *_doubts(facts, policy)),
    )


def grows_in_part(facts: Facts, policy: Policy) -> Ruling | None:
    """Growth that began late, or whose steps are smaller than the ups and downs around it."""
    shape = facts.shape
    if shape is None or _has_stopped(facts):
        return None
    if _chance(facts, policy) is not None:
        return None
    if shape.rises_at_the_end and _level(facts) >= (
        policy.min_suspect_blocks if shape.rises[1] > 0 else policy.min_blocks
    ):
        return Ruling(
            Verdict.SUSPECT,
            lambda: (_thirds(shape, facts.noun), "grew in a part of the window only"),
        )
    if shape.creeps and _level(facts) >= policy.min_blocks:
        return Ruling(
            Verdict.SUSPECT,
            lambda: (
                _thirds(shape, facts.noun),
                f"fell back by up to {plural(shape.fall, facts.noun)} in between",
            ),
        )
    return None


def too_short(facts: Facts, policy: Policy) -> Ruling | None:
    """Too few snapshots for thirds: growth without a fall is all that can be seen."""
    blocks = facts.looked.survivors
    if facts.shape is not None or blocks[-1] < policy.min_suspect_blocks * facts.stands_for:
        return None
    if blocks[-1] < max(blocks) or blocks[-1] <= blocks[len(blocks) // 2 - 1]:
        return None
    return Ruling(
        Verdict.SUSPECT,
        lambda: (
            f"{plural(len(blocks) - 1, 'snapshot')} only: too few to tell growth from a start",
        ),
    )


def sizes_grow(facts: Facts, policy: Policy) -> Ruling | None:
    """Few blocks, or no more of them, but ever more bytes: a buffer that is enlarged, or one big
    block. Nothing is lost as long as somebody still uses it, and nobody can tell from outside.
    """  # noqa: D205  # one thought
    if max(facts.looked.bytes) - min(facts.looked.bytes) < policy.big_bytes:
        return None  # nor does any third of it
    if _has_stopped(facts) and not has_larger_blocks(facts):
        return None  # these bytes came with blocks, and no more of them come
    sizes = facts.sizes
    if sizes is None or sizes.rises[2] <= sizes.fall or sizes.rises[2] < policy.big_bytes:
        return None
    return Ruling(Verdict.SUSPECT, lambda: (_by_sizes(facts, "few"),))


def at_rest(facts: Facts, policy: Policy) -> Ruling:
    """Nothing grew up to the end of the window: churn, a filled cache, a burst, made once."""
    return Ruling(Verdict.BOUNDED, lambda: (_at_rest(facts, policy),))


def _at_rest(facts: Facts, policy: Policy) -> str:
    series, shape = facts.series, facts.shape
    last = series.last
    if last.born_blocks <= 2:  # one or two, as the sentence says
        return "made once"
    if facts.sampled and last.born_blocks < policy.min_suspect_blocks * facts.stands_for:
        return f"too few samples to tell it from {facts.noun}s made once"
    if shape is None:
        return "did not grow"
    if _stands_still(facts) and shape.level > shape.fall:
        flat = format_seconds(shape.flat_seconds)
        return f"no growth in the last {flat}"
    if shape.fall > 0:
        fell = plural(shape.fall, facts.noun)
        return f"goes up and down: it fell by up to {fell}"
    return _thirds(shape, facts.noun)


RULES: Final[tuple[Callable[[Facts, Policy], Ruling | None], ...]] = (
    lost_at_the_end,
    known_at_the_end,
    made_larger,
    in_flight,
    owned_by_go,
    keeps_growing,
    grows_in_part,
    too_short,
    sizes_grow,
    at_rest,
)
"""In order: the first ruling stands."""


def rests(site: Site, last: CountRow, around: Surroundings) -> bool:
    """Tell a site at which nothing happened since before the last third: it is bounded.

    No rule but ``in_flight`` and ``at_rest`` can rule on it. Nobody looked who knows its blocks,
    and cleanups freed none; each rule that speaks of growth asks for some in the last third of
    its blocks or of its bytes. Of ten thousand sites most rest, and need not be measured for that.
    """
    return (
        around.holdings is None
        and not last.cleaned_blocks
        and around.late.isdisjoint(site.stack_ids)
    )


def rule_on(facts: Facts, policy: Policy) -> Ruling:
    """Apply the rules to one site.

    Thread infrastructure and the loader grow with threads and libraries, not with work. Should
    they grow throughout, somebody loses threads or handles: that is suspect, and not a leak here.
    """
    ruling = _first(facts, policy)
    if ruling.verdict is Verdict.GO_HELD:
        return ruling
    if ruling.verdict is Verdict.BOUNDED:  # it stays so, and nobody may ask why
        return Ruling(Verdict.BOUNDED, lambda: _with_kind(facts.site.infrastructure, ruling))
    kind = facts.site.infrastructure
    if kind is None:
        return ruling
    weaker = Verdict.SUSPECT if ruling.verdict is Verdict.NATIVE_LEAK else Verdict.BOUNDED
    return Ruling(weaker, lambda: _with_kind(kind, ruling))


def _first(facts: Facts, policy: Policy) -> Ruling:
    for rule in RULES:
        ruling = rule(facts, policy)
        if ruling is not None:
            return ruling
    raise AssertionError(facts.site)  # the last one always rules


def _with_kind(kind: str | None, ruling: Ruling) -> tuple[str, ...]:
    return ruling.reasons if kind is None else (f"allocated by {kind}", *ruling.reasons)


def _short(facts: Facts, policy: Policy) -> str | None:
    # A window of 10 s that lost some milliseconds to the detach is one of 10 s.
    if facts.looked.seconds >= 0.95 * policy.min_seconds:
        return None
    return f"only {format_seconds(facts.looked.seconds)} were measured"


def _few(facts: Facts, policy: Policy) -> str | None:
    assert facts.shape is not None
    level = _level(facts)
    if level >= policy.min_blocks:
        return None
    if facts.sampled:
        return f"only {plural(round(level), f'sampled {facts.noun}')} stayed"
    return f"only {plural(facts.shape.level, facts.noun)} stayed"


def _chance(facts: Facts, policy: Policy) -> str | None:  # noqa: ARG001
    """Sampling alone moves a number by its standard error; twice that is rare."""
    assert facts.shape is not None
    _, second, third = facts.shape.rises
    if not facts.sampled or second + third > 2 * facts.series.last.blocks_error:
        return None
    return "its growth is not more than sampling may add by chance"


def _slowing(facts: Facts, policy: Policy) -> str | None:
    assert facts.shape is not None
    if facts.shape.pace >= policy.slowing:
        return None
    return "growth is slowing: a cache that fills looks like this"


def _paused(facts: Facts, policy: Policy) -> str | None:  # noqa: ARG001
    assert facts.shape is not None
    if not _stands_still(facts):
        return None
    return f"no growth in the last {format_seconds(facts.shape.flat_seconds)}"


def _renewed(facts: Facts, policy: Policy) -> str | None:  # noqa: ARG001
    """A leak keeps what it took first; here ever more are in use at a time."""
    if not is_renewed(facts):
        return None
    return (
        f"{_all_from_before(facts)}, and ever more are in use at a time: rising load, or a queue "
        "that falls behind"
    )


def _not_due(facts: Facts, policy: Policy) -> str | None:  # noqa: ARG001
    """What is freed is freed once it is as old as the oldest is now, and most that became so old.

    Sessions that expire and caches with a limit are like this at first: the window is hardly longer
    than their blocks live. What is lost outlives them in a longer one.
    """
    lived = facts.series.mean_lifetime_seconds
    if not lived or not facts.oldest_ns or lived < _AS_OLD * facts.oldest_ns / 1e9:
        return None
    if is_renewed(facts):
        return None  # which says it with more force
    due = facts.born_until(facts.series.times_ns[-1] - round(lived * 1e9))
    if 2 * facts.series.last.freed_blocks < due:
        return None
    return (
        f"freed ones lived {format_seconds(lived)} on average, nearly as long as the oldest that "
        "stayed: the others may not be due yet"
    )


def _nameless(facts: Facts, policy: Policy) -> str | None:  # noqa: ARG001
    if facts.site.complete or any(map(is_users, facts.site.frames)):
        return None
    return "the stack was cut off before any code of the program"


def _turnover(facts: Facts, policy: Policy) -> str | None:  # noqa: ARG001
    """A full cache replaces blocks from before the attach by new ones: frees match growth.

    Nobody knows at which sites those blocks were allocated. They may be of this one if they are
    about as many as it grew by; and of all that grow if they are about as many as these together.
    """
    assert facts.shape is not None
    low, high = _TURNOVER
    freed, rise = facts.late_unmatched, facts.shape.rises[2]
    if freed < low * rise or freed > high * max(rise, facts.late_rise_of_all):
        return None
    blocks = plural(freed, facts.noun)
    all_of_it = "this site" if freed <= high * rise else "all sites together"
    return (
        f"{blocks} from before the attach were freed in the last third, as many as {all_of_it} "
        f"grew: it may be replacing old {facts.noun}s by new ones"
    )


def _waits_for_gc(facts: Facts, policy: Policy) -> str | None:
    """The program frees C memory by cleanups, and no cycle has given these a chance to run."""
    cycles = facts.around.gc_cycles
    if cycles is None:
        if not facts.series.last.cleaned_blocks:
            return None
        return (
            f"cleanups freed some of its {facts.noun}s, and GC cycles are not known: "
            "it may wait for one"
        )
    if cycles >= policy.gc_cycles:
        return None
    if has_owners(facts):
        return (
            f"{format_count(facts.around.owners or 0)} more Go objects have a finalizer or cleanup "
            f"than at the attach, and {_gc(cycles)} could find them dead: they may own what is "
            "outstanding here"
        )
    if not facts.around.cleans:
        return None
    return (
        f"only {plural(cycles, 'GC cycle')} in this window, and this program frees C memory "
        "by finalizers or cleanups: it may wait for the GC"
    )


def is_stalled(facts: Facts, policy: Policy) -> bool:
    """Tell if cleanups freed some of its blocks and then no more, while the GC found owners dead.

    Go counts an object with a finalizer or cleanup until it is found dead, and what it has is
    queued (``freeSpecial``, mheap.go): owners that lived would be ever more. One goroutine runs all
    finalizers in turn (``runFinalizers``, mfinal.go), so that all wait behind one that blocks.
    Were the intervals in which cleanups freed some random ones, that all lie before would have to
    be no accident. Cannot know: whether newer blocks have an owner at all.
    """
    if not facts.series.last.cleaned_blocks or facts.around.owners is None or has_owners(facts):
        return False
    cycles, (steps, since) = facts.around.gc_cycles, facts.cleaning
    if cycles is None or since is None or since <= policy.gc_cycles:
        return False
    return steps * log(cycles / max(1, cycles - since)) >= NO_ACCIDENT


def stall_of(facts: Facts) -> str:
    """Say since when cleanups have freed nothing, and what that may be."""
    _, since = facts.cleaning
    return (
        f"cleanups freed none in the last {plural(since or 0, 'GC cycle')}, though Go "
        "found objects dead: one finalizer or cleanup that blocks holds up all behind it, or "
        f"newer {facts.noun}s have no owner"
    )


def has_owners(facts: Facts) -> bool:
    """Tell if Go's objects with a finalizer or cleanup rose by a tenth of its blocks, or more.

    An object may own several blocks, and of many sites; others own none, such as open files. Only
    where few came do these blocks have no owner, unless each has ten of them and more.
    """
    owners, shape = facts.around.owners, facts.shape
    if owners is None or shape is None:
        return False
    return 0 < sum(shape.rises) <= OWNED_BLOCKS * owners


def has_an_owner_each(facts: Facts) -> bool:
    """Tell if these objects rose by as much as its blocks, within a tenth: each may own one."""
    owners, shape = facts.around.owners, facts.shape
    if owners is None or shape is None:
        return False
    blocks = facts.series.last.outstanding_blocks
    return sum(shape.rises) > 0 and 10 * abs(owners - blocks) <= blocks


def has_a_thread_each(facts: Facts, policy: Policy) -> bool:
    """Tell if the process gained as many threads as blocks are outstanding here, within a tenth.

    What belongs to a thread (what is thread_local, its arguments, what is on its stack) goes when
    it ends. Go's own threads that are in C count too: each holds what its call has made.
    """
    threads, blocks = facts.around.more_threads, facts.series.last.outstanding_blocks
    return min(threads, blocks) >= policy.min_blocks and 10 * abs(threads - blocks) <= blocks


def _gc(cycles: int) -> str:
    return f"only {plural(cycles, 'GC cycle')}" if cycles else "no GC cycle"


_DOUBTS: Final = (
    _short,
    _few,
    _chance,
    _slowing,
    _paused,
    _renewed,
    _not_due,
    _nameless,
    _turnover,
    _waits_for_gc,
)
"""What keeps growth from being called a leak."""


def _doubts(facts: Facts, policy: Policy) -> Iterator[str]:
    """Say what doubts there are; for the verdict it is enough that there is a first."""
    return filter(None, (look(facts, policy) for look in _DOUBTS))


def _level(facts: Facts) -> float:
    """Give the floor of the last part, in blocks that were looked at."""
    return facts.shape.level / facts.stands_for if facts.shape is not None else 0.0


def _missing(facts: Facts) -> float:
    """Give how many blocks would have been looked at since it went flat, at its earlier pace."""
    return facts.shape.missing_blocks / facts.stands_for if facts.shape is not None else 0.0


def _stands_still(facts: Facts) -> bool:
    shape = facts.shape
    return shape is not None and shape.flat_seconds >= _STILL * facts.looked.seconds


def _has_stopped(facts: Facts) -> bool:
    """Tell if growth stands still for so long that chance does not explain it."""
    return _stands_still(facts) and _missing(facts) >= NO_ACCIDENT


def _thirds(shape: Shape, noun: str) -> str:
    return f"{noun}s that stay, by thirds of the window: {_steps(shape)}"


def _steps(shape: Shape) -> str:
    return ", ".join(f"{'+' if rise > 0 else ''}{format_count(rise)}" for rise in shape.rises)


def _by_sizes(facts: Facts, how_many: str) -> str:
    rises = facts.sizes.rises if facts.sizes is not None else ()
    grown = "+".join(format_bytes(max(0, rise)) for rise in rises)
    freed = plural(facts.series.last.freed_blocks, facts.noun)
    return f"{how_many} {facts.noun}s but {grown} in the thirds of the window, {freed} freed"


def _of(part: int, facts: Facts) -> str:
    freed = facts.series.last.freed_blocks
    return f"{format_count(part)} of the {plural(freed, f'freed {facts.noun}')}"
