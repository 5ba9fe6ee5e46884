"""What a person has chosen to look at: a view and a key → a view. Pure; it knows no terminal.

A key is the character that was typed, or a name of more than one letter: ``up``, ``down``,
``page up``, ``page down``, ``home``, ``end``, ``enter``, ``escape``. What means nothing changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgoleak.model.ids import SiteKey
    from cgoleak.model.report import Finding

__all__ = ["Order", "Pane", "Seen", "View", "in_order", "press"]


class Order(StrEnum):
    """How sites are sorted: the report's order, or the largest number first."""

    VERDICT = "verdict"
    BYTES = "outstanding"
    GROWTH = "growth"
    BLOCKS = "blocks"
    AGE = "oldest"


class Pane(StrEnum):
    """What fills the screen below the verdict."""

    SITES = "sites"
    STACK = "stack"
    SHEET = "sheet"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at.

    Attributes:
        order: of the sites.
        selected: the site that the cursor is on; None or one that is gone: the first.
        pane: what is open.
        offset: lines of an open pane that are scrolled away.
        paused: the screen stands still; the measurement does not.
        full_stacks: cgo and runtime frames are shown too.
        finished: the measurement is to come to its end.
    """

    order: Order = Order.VERDICT
    selected: SiteKey | None = None
    pane: Pane = Pane.SITES
    offset: int = 0
    paused: bool = False
    full_stacks: bool = False
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What was on the screen when the key was pressed.

    Attributes:
        sites: all of them in the order shown.
        page: how many lines or sites a page has.
        last_offset: how far an open pane can be scrolled.
    """

    sites: tuple[SiteKey, ...] = ()
    page: int = 1
    last_offset: int = 0


_ORDERS: Final[Mapping[str, Order]] = {
    "1": Order.VERDICT,
    "2": Order.BYTES,
    "3": Order.GROWTH,
    "4": Order.BLOCKS,
    "5": Order.AGE,
    "v": Order.VERDICT,
    "b": Order.BYTES,
    "g": Order.GROWTH,
    "n": Order.BLOCKS,
    "a": Order.AGE,
}
_PANES: Final[Mapping[str, Pane]] = {"w": Pane.SHEET, "?": Pane.HELP, "h": Pane.HELP}
_SAME: Final[Mapping[str, str]] = {
    "j": "down",
    "k": "up",
    " ": "p",
    "q": "q",
    "Q": "q",
    "G": "end",
}
_STEPS: Final[Mapping[str, int]] = {"up": -1, "down": 1}
_FAR: Final = 1 << 30


def press(view: View, key: str, seen: Seen) -> View:
    """Give the view after a key."""
    key = _SAME.get(key, key)
    if key in _ORDERS:
        return replace(view, order=_ORDERS[key])
    if key == "s":
        orders = list(Order)
        return replace(view, order=orders[(orders.index(view.order) + 1) % len(orders)])
    if key == "p":
        return replace(view, paused=not view.paused)
    if key == "f":
        return replace(view, full_stacks=not view.full_stacks)
    if key == "q":
        return replace(view, finished=True)
    if key in _PANES:
        pane = Pane.SITES if view.pane is _PANES[key] else _PANES[key]
        return replace(view, pane=pane, offset=0)
    if key == "escape":
        return replace(view, pane=Pane.SITES, offset=0)
    if key == "enter":
        return _entered(view, seen)
    return _moved(view, key, seen)


def _entered(view: View, seen: Seen) -> View:
    if view.pane is not Pane.SITES:
        return replace(view, pane=Pane.SITES, offset=0)
    if not seen.sites:
        return view
    return replace(view, pane=Pane.STACK, offset=0, selected=_cursor(view, seen))


def _moved(view: View, key: str, seen: Seen) -> View:
    """Move the cursor, or scroll what is open."""
    page = max(1, seen.page)
    far = {"page up": -page, "page down": page, "home": -_FAR, "end": _FAR}
    step = _STEPS.get(key, far.get(key, 0))
    if not step:
        return view
    if view.pane is not Pane.SITES:
        # A pane that has become shorter is at its end: the next step up is seen.
        offset = min(view.offset, seen.last_offset) + step
        return replace(view, offset=max(0, min(offset, seen.last_offset)))
    if not seen.sites:
        return view
    cursor = _cursor(view, seen)
    place = seen.sites.index(cursor) + step
    return replace(view, selected=seen.sites[max(0, min(place, len(seen.sites) - 1))])


def _cursor(view: View, seen: Seen) -> SiteKey:
    """Give the site that the cursor is on."""
    return view.selected if view.selected in seen.sites else seen.sites[0]


def in_order(findings: Sequence[Finding], order: Order) -> tuple[Finding, ...]:
    """Sort findings; equal ones stay as they are in the report, worst first."""
    if order is Order.BYTES:
        return tuple(sorted(findings, key=lambda one: -one.outstanding_bytes))
    if order is Order.GROWTH:
        return tuple(sorted(findings, key=lambda one: -one.growth_bytes_per_second))
    if order is Order.BLOCKS:
        return tuple(sorted(findings, key=lambda one: -one.outstanding_blocks))
    if order is Order.AGE:
        return tuple(sorted(findings, key=lambda one: -one.oldest_seconds))
    return tuple(findings)
