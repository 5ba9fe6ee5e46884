"""Libraries that come and go while the hooks are in: which are known, and whose slots are to take.

memory map, now and then → modules for the unwinder, slots for the probe. The loader works on a
module while we look; nothing is stored into one before it has done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from cgoleak.probe.callsites import private_notice, survey_private
from cgoleak.probe.modules import LoadedModule, find_modules
from cgoleak.probe.slots import survey
from cgoleak.probe.survey import mapped_modules
from cgoleak.probe.wire import SlotState
from cgoleak.target import procfs

if TYPE_CHECKING:
    from pathlib import Path

    from cgoleak.model.notice import Notice
    from cgoleak.probe.pairs import Pairs
    from cgoleak.probe.survey import TargetSurvey
    from cgoleak.probe.tables import Tables
    from cgoleak.target.memory import Memory

__all__ = ["Libraries", "Orders"]

_SETTLING_S: Final = 1.0
"""A module that looks odd for so long just is so."""


class Orders(Protocol):
    """What is needed of the session: its tables, and orders to the probe."""

    @property
    def tables(self) -> Tables:
        """The shared tables."""

    def order(self, command: bytes) -> None:
        """Give an order and wait until it is carried out."""

    def install(self, first: int, last: int, *, held: bool = False) -> bool:
        """Take slots over; false if ``held`` was wanted and the hold has run out."""

    def hooks(self) -> tuple[int, ...]:
        """Return the addresses of the probe's functions in the target."""


class Libraries:
    """The modules of one process over time.

    Attributes:
        modules: every module that was ever seen, in order of appearance.
        foreign: slots that were left alone, as ``module:function``.
    """

    def __init__(
        self, pid: int, memory: Memory, first: TargetSurvey, root: Path, pairs: Pairs
    ) -> None:
        self._pid = pid
        self._memory = memory
        self._root = root
        self._pairs = pairs
        self._providers = first.slots.providers
        self._known = {_identity(m) for m in first.modules}
        self._unsettled_since: dict[tuple[str, int, int], float] = {}
        self.modules: tuple[LoadedModule, ...] = first.modules
        self.foreign = set(first.slots.foreign)
        self.notices: list[Notice] = list(first.notices)

    def look(self, session: Orders) -> None:
        """Find what has come or gone since the last look; take the slots of what has come."""
        modules, unreadable = self._find()
        lost = self._lost_slots(session)
        fresh = tuple(
            m
            for m in modules
            if _identity(m) not in self._known or any(m.start <= at < m.end for at in lost)
        )
        unsettled = {_identity(m) for m in fresh if not self._is_settled(m)}
        fresh = tuple(m for m in fresh if _identity(m) not in unsettled)
        identities = {_identity(m) for m in modules} - unsettled
        if fresh or identities != self._known:
            self._known = identities
            session.tables.write_modules(mapped_modules(modules))
            session.order(b"M")
            self.modules += tuple(m for m in fresh if m not in self.modules)
            self.notices += [n for n in unreadable if n not in self.notices]
        if fresh:
            self._take_over(session, fresh, modules)

    def _take_over(
        self, session: Orders, fresh: tuple[LoadedModule, ...], modules: tuple[LoadedModule, ...]
    ) -> None:
        """Take the slots of modules that have come, while none of them can go.

        A library that is unloaded and loaded again at the same place between our look and the
        stores would have pages closed under its loader's hands. So dlclose waits from here on, and
        the look is repeated.
        """
        found = survey(
            fresh,
            self._memory,
            definers=modules,
            known=self._providers,
            ours=frozenset(session.hooks()),
        )
        self.foreign.update(found.foreign)
        self._note_private(fresh)
        session.order(b"H")
        still = {_identity(m) for m in self._find()[0] if self._is_settled(m)}
        there = [m for m in fresh if _identity(m) in still]
        pairs = self._pairs.slots(session.tables, fresh, modules)
        slots = [
            s for s in (*found.slots, *pairs) if any(m.start <= s.address < m.end for m in there)
        ]
        taken = session.install(*session.tables.add_slots(slots), held=True)
        # What was not there, or all if it took too long, is looked at again the next time.
        self._known -= {_identity(m) for m in fresh if not taken or _identity(m) not in still}

    def _note_private(self, fresh: tuple[LoadedModule, ...]) -> None:
        """Say which of them bring a malloc for themselves: their calls of it have no slots.

        They are not rewritten, as those of the program are: it may be unloaded at any moment, and
        threads are in it already.
        """
        for module in fresh:
            found = survey_private(module, self._memory)
            if found is not None and (told := private_notice(found)) not in self.notices:
                self.notices.append(told)

    def _find(self) -> tuple[tuple[LoadedModule, ...], tuple[Notice, ...]]:
        return find_modules(self._pid, procfs.maps(self._pid, self._root), self._root)

    def _is_settled(self, module: LoadedModule) -> bool:
        """Tell whether the loader has done: before that, rights of pages change."""
        now = time.monotonic()
        if module.is_settled:
            self._unsettled_since.pop(_identity(module), None)
            return True
        return now - self._unsettled_since.setdefault(_identity(module), now) > _SETTLING_S

    def _lost_slots(self, session: Orders) -> list[int]:
        """Find slots that hold something else than our hook.

        A library that was unloaded and came back to the same place between two looks has them as
        its loader has filled them.
        """
        hooks = session.hooks()
        ours = (SlotState.TAKEN, SlotState.GONE)
        taken = [s.address for s in session.tables.slots() if s.state in ours]
        return [address for address in taken if self._memory.word(address) not in hooks]


def _identity(module: LoadedModule) -> tuple[str, int, int]:
    """Tell a module from another one that is mapped in its place later."""
    return module.path, module.start, module.regions[0].inode
