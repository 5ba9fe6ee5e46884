"""Libraries that come and go while the hooks are in: which are known, and whose slots are to take.

memory map, now and then → modules for the unwinder, slots for the probe. The loader works on a
module while we look; nothing is stored into one before it has done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cgoleak.probe.calls.callsites import private_notice, survey_private
from cgoleak.probe.calls.modules import LoadedModule, find_modules, mapped_modules
from cgoleak.probe.calls.slots import survey
from cgoleak.probe.wire.layout import Function, SlotState
from cgoleak.target.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cgoleak.model.notice import Notice
    from cgoleak.probe.calls.pairs import Pairs
    from cgoleak.probe.calls.slots import SlotSurvey
    from cgoleak.probe.wire.tables import FoundSlot, Tables
    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region

__all__ = ["Libraries", "Orders"]

_SETTLING_LOOKS: Final = 10
"""A module that looks odd in the same way so often just is so."""
_HOLDS: Final = 5
_WRITE: Final = 2

_Identity = tuple[str, int, int]


class Orders(Protocol):
    """What is needed of the session: its tables, and orders to the probe."""

    @property
    def tables(self) -> Tables:
        """The shared tables."""

    def order(self, command: bytes) -> None:
        """Give an order and wait until it is carried out."""

    def install(self, first: int, last: int, *, held: bool = False, counting: bool = True) -> bool:
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
        self,
        pid: int,
        memory: Memory,
        root: Path,
        pairs: Pairs,
        *,
        modules: tuple[LoadedModule, ...],
        slots: SlotSurvey,
        notices: Iterable[Notice],
    ) -> None:
        """Begin with what the survey has found."""
        self._pid = pid
        self._memory = memory
        self._root = root
        self._pairs = pairs
        self._providers = slots.providers
        self._known = {_identity(m) for m in modules}
        self._odd: dict[_Identity, tuple[tuple[Region, ...], int]] = {}
        """Modules that do not look settled: how they look, and in how many looks on end."""
        self._kept = _kept_loaded(modules)
        self.modules: tuple[LoadedModule, ...] = modules
        self.foreign = set(slots.foreign)
        self.notices: list[Notice] = list(notices)

    def take_first(
        self, session: Orders, slots: Iterable[FoundSlot], *, held: bool = False
    ) -> None:
        """Take the slots that the survey has found, of the modules that are as it found them.

        What the program is linked with stays for good, so that its slots of dlclose can be taken
        at once. After that, a plugin is either there and settled while dlclose waits, or it is left
        to ``look``: one that is just being loaded again would have pages closed under its loader's
        hands, or opened ones taken for closed. ``held``: no thread has come past the entry
        point, so that nothing is loaded or unloaded.
        """
        slots = tuple(slots)
        if held:
            session.install(*session.tables.add_slots(slots))
            return
        settled = [m for m in self.modules if m.is_settled or _identity(m) in self._kept]
        kept = [m for m in self._unchanged(settled) if _identity(m) in self._kept]
        closers = {s for s in _within(slots, kept) if s.function == Function.DLCLOSE}
        session.install(*session.tables.add_slots(closers), counting=False)
        slots = tuple(s for s in slots if s not in closers)
        for _ in range(_HOLDS):
            session.order(b"H")
            ready = self._unchanged(settled)
            if session.install(*session.tables.add_slots(_within(slots, ready)), held=True):
                break
        else:  # a busy machine, or a library that takes its time to go
            ready = kept
            session.install(*session.tables.add_slots(_within(slots, ready)))
        self._known = {_identity(m) for m in ready}

    def _unchanged(self, modules: Iterable[LoadedModule]) -> list[LoadedModule]:
        """Give those that are mapped as they were, page by page, with the same rights."""
        regions = set(procfs.maps(self._pid, self._root))
        return [m for m in modules if regions.issuperset(m.regions)]

    def look(self, session: Orders) -> None:
        """Find what has come or gone since the last look; take the slots of what has come."""
        modules, unreadable = self._find()
        self._note_odd(modules)
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
        # What never settles may be stored to as it is, but its pages are not opened and closed.
        odd = [m for m in there if not m.is_settled]
        slots = _within((*found.slots, *pairs), there)
        shut = {s for s in _within(slots, odd) if not s.prot & _WRITE}
        slots = [s for s in slots if s not in shut]
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

    def _note_odd(self, modules: Iterable[LoadedModule]) -> None:
        """Note what does not look settled. In a library that is loaded in a loop that changes."""
        before, self._odd = self._odd, {}
        for module in modules:
            if not module.is_settled:
                regions, looks = before.get(_identity(module), ((), 0))
                again = looks if regions == module.regions else 0
                self._odd[_identity(module)] = module.regions, again + 1

    def _is_settled(self, module: LoadedModule) -> bool:
        """Tell whether the loader has done: before that, rights of pages change."""
        regions, looks = self._odd.get(_identity(module), ((), 0))
        return module.is_settled or (looks >= _SETTLING_LOOKS and regions == module.regions)

    def _lost_slots(self, session: Orders) -> list[int]:
        """Find slots that hold something else than our hook.

        A library that was unloaded and came back to the same place between two looks has them as
        its loader has filled them.
        """
        hooks = session.hooks()
        ours = (SlotState.TAKEN, SlotState.GONE)
        taken = [s.address for s in session.tables.slots() if s.state in ours]
        return [address for address in taken if self._memory.word(address) not in hooks]


def _within(slots: Iterable[FoundSlot], modules: Iterable[LoadedModule]) -> list[FoundSlot]:
    modules = tuple(modules)
    return [s for s in slots if any(m.start <= s.address < m.end for m in modules)]


def _kept_loaded(modules: Iterable[LoadedModule]) -> set[_Identity]:
    """Find the program and what it is linked with: the loader never unloads these."""
    modules = tuple(modules)
    named = {name: m for m in modules for name in (m.name, m.obj.soname) if name}
    wanted = [m for m in modules if m.obj.has_interpreter and m.obj.soname is None]
    kept: set[_Identity] = set()
    while wanted:
        module = wanted.pop()
        if _identity(module) not in kept:
            kept.add(_identity(module))
            wanted += [named[name] for name in module.obj.needed if name in named]
    return kept


def _identity(module: LoadedModule) -> _Identity:
    """Tell a module from another one that is mapped in its place later."""
    return module.path, module.start, module.regions[0].inode
