"""Which snapshots of a long watch are kept: close together lately, far apart long ago.

A watch of days is read for its shape, and for its last minutes in detail. Of each step of time the
first snapshot stays, which is as good as any and does not bend the curve; and of each process its
first, its last and its highest, and the first and the last full sheet, so that no restart and no
peak is lost.

The steps are multiples of each other. The first of a large step is then the first of its small one
too, so that it does not matter how often thinning was done before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TIERS", "Taken", "surplus"]

_SECOND: Final = 1_000_000_000

TIERS: Final = (
    (600 * _SECOND, 0),
    (3600 * _SECOND, 10 * _SECOND),
    (86400 * _SECOND, 60 * _SECOND),
)
"""Up to this age, one snapshot in each step of so many nanoseconds; 0: all of them."""
_OLDEST_STEP: Final = 600 * _SECOND
_STEPS: Final = (*(step for _, step in TIERS if step), _OLDEST_STEP)


class Taken(NamedTuple):
    """A snapshot that may be dropped.

    Attributes:
        process: tells the processes of a watch apart.
        is_full: whether every mapping was looked at.
    """

    number: int
    at_ns: int
    process: int
    rss: int
    is_full: bool = False


def surplus(taken: Sequence[Taken], now_ns: int) -> frozenset[int]:
    """Give the numbers of those to drop; ``taken`` is in order of time."""
    firsts: dict[tuple[int, int, int], int] = {}
    marks: dict[tuple[int, str], Taken] = {}
    for one in taken:
        for step in _STEPS:
            firsts.setdefault((one.process, step, one.at_ns // step), one.number)
        marks.setdefault((one.process, "first"), one)
        marks[one.process, "last"] = one
        if one.rss > marks.setdefault((one.process, "highest"), one).rss:
            marks[one.process, "highest"] = one
        if one.is_full:
            marks.setdefault((one.process, "first sheet"), one)
            marks[one.process, "last sheet"] = one
    kept = {one.number for one in marks.values()}
    for one in taken:
        # A step may lie across two ages: its first counts whichever age that has.
        step = _step(now_ns - one.at_ns)
        if not step or firsts[one.process, step, one.at_ns // step] == one.number:
            kept.add(one.number)
    return frozenset(one.number for one in taken if one.number not in kept)


def _step(age_ns: int) -> int:
    return next((step for age, step in TIERS if age_ns <= age), _OLDEST_STEP)
