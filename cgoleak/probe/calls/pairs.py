"""The user's own pairs in a process: which of their functions are called through which slots.

families + modules → slots, and for each function a place in the probe's table. A function that is
called directly, because it was linked into the module that calls it, has no slot: its calls are not
seen, and that is said.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from cgoleak.model.handles import HandleFamily, Role
from cgoleak.model.notice import Notice
from cgoleak.probe.calls.callsites import survey_module
from cgoleak.probe.calls.near import NEAR_BYTES, find_near_pages, jumps_of
from cgoleak.probe.calls.slots import candidates, definitions
from cgoleak.probe.wire.layout import FAMILIES, FUNCTIONS, PAIR_FUNCTIONS, PAIR_THUNK_BYTES, Pair
from cgoleak.symbols.code.code_ranges import code_ranges
from cgoleak.symbols.code.getters import field_read
from cgoleak.symbols.elf.object_file import EM_X86_64
from cgoleak.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cgoleak.model.handles import Family, PairFunction
    from cgoleak.probe.calls.callsites import CallSurvey
    from cgoleak.probe.calls.modules import LoadedModule
    from cgoleak.probe.wire.layout import Header
    from cgoleak.probe.wire.tables import FoundSlot, Tables
    from cgoleak.symbols.code.getters import Field
    from cgoleak.target.go.runtime import Span
    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region

__all__ = ["Pairs"]

_ET_EXEC: Final = 2
_STUB: Final = re.compile(r"_cgo_[0-9a-f]+_C2?func_")
_PREAMBLE: Final = re.compile(r".*\.cgo2\.c")
"""What cgo makes of the C code in a Go file (cmd/cgo)."""
_GETTER_BYTES: Final = 64
_FARTHEST: Final = 0xFFFF
_BOTH: Final = (Role.CREATE, Role.DESTROY)
_THREAD_MAKERS: Final = frozenset({"pthread_create", "thrd_create"})
_NAMED: Final = 4
"""Functions that a notice names."""


@dataclass(slots=True)
class _Known:
    """A function that was asked for, over time.

    Attributes:
        callers: modules with a slot that was taken.
        homes: modules that define it.
    """

    function: PairFunction
    family: int
    callers: set[str] = field(default_factory=set)
    homes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _CallsInside:
    """Direct calls of one module, and where the functions are that they lead to."""

    survey: CallSurvey
    addresses: Mapping[int, int]


class Pairs:
    """The families of one measurement; families beyond the probe's room are left out and named."""

    def __init__(self, families: Sequence[Family], memory: Memory) -> None:
        self._families = tuple(families[:FAMILIES])
        self._memory = memory
        self._known = [
            _Known(function, number)
            for number, family in enumerate(self._families)
            for function in family.functions
        ]
        # A function may belong to several families: `free` of two kinds. The first has it.
        self._names: dict[str, int] = {}
        for number, known in enumerate(self._known):
            self._names.setdefault(known.function.name, number)
        self._places: dict[tuple[int, int], int] = {}
        self._hooks = 0
        self._crowded = dict.fromkeys(one.name for one in families[FAMILIES:])
        self._unsafe: set[int] = set()
        self._fields: dict[str, Field] = {}
        self._unread: set[int] = set()
        self._taken: list[int] = []
        self._calls: list[_CallsInside] = []
        self._called_in: set[str] = set()
        self._within: set[int] = set()
        self._left_out: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._names)

    def begin(self, tables: Tables, header: Header) -> None:
        """Take over what the resident part has: a place of its is never given to another."""
        self._hooks = int(header.pair_hook)
        tables.shared.families = len(self._families)
        self._taken = list(header.pair_real)

    def hooks(self) -> tuple[int, ...]:
        """Return the addresses of the probe's functions for them; none before ``begin``."""
        if not self._hooks or not self:
            return ()
        return tuple(self._hooks + PAIR_THUNK_BYTES * place for place in range(PAIR_FUNCTIONS))

    def slots(
        self, tables: Tables, modules: Iterable[LoadedModule], definers: Sequence[LoadedModule]
    ) -> list[FoundSlot]:
        """Find the slots of ``modules`` that lead to these functions, and give those places."""
        if not self:
            return []
        modules = tuple(modules)
        defined = definitions(definers, self._names)
        self._note_homes(definers)
        self._read_getters(definers)
        ours = frozenset(self.hooks())
        found = [
            slot
            for module in modules
            if not module.is_loader
            for slot in candidates(module, self._memory, self._names, defined)
            if slot.original not in ours
        ]
        self._refuse(found)
        bound: Counter[tuple[int, int]] = Counter()
        for slot in found:
            if slot.original in defined.get(slot.function, ()):
                bound[slot.function, slot.original] += 1
        placed: list[FoundSlot] = []
        for slot in found:
            known = self._known[slot.function]
            address = self._leads_to(slot, defined, bound)
            if not address or known.family in self._unsafe | self._unread | self._left_out:
                continue
            if known.function.within and known.family not in self._within:
                continue
            place = self._place(tables, slot.function, address)
            if place is not None:
                known.callers.add(slot.module)
                placed.append(replace(slot, function=FUNCTIONS + place))
        return placed

    @staticmethod
    def _leads_to(
        slot: FoundSlot,
        defined: dict[int, tuple[int, ...]],
        bound: Counter[tuple[int, int]],
    ) -> int:
        """Give the function that a slot leads, or will lead, to; 0 if that is not known."""
        addresses = defined.get(slot.function, ())
        if slot.original in addresses:
            return slot.original
        if slot.lazy and addresses:
            # What others are bound to, or the first definition, as for the loader.
            return max(addresses, key=lambda one: bound[slot.function, one])
        return 0

    def survey_calls(
        self, modules: Iterable[LoadedModule], go_text: Span | None, regions: Iterable[Region]
    ) -> tuple[CallSurvey, ...]:
        """Find the direct calls that count: in the program, and in libraries of some families.

        What the library that has them calls within itself is its own business, and not made up of
        pairs: SQLite finalizes what ``sqlite3_exec`` has prepared by an inner function. So only
        calls from cgo's stubs count, and from the C code in a Go file. An allocator, which is told
        how much is wanted, is there for everybody: all calls of it count but its own. So they do
        where a family says that its own library makes and gives up by these functions alone.
        """
        if not self:
            return ()
        pages = find_near_pages(regions)
        jumps = jumps_of({at: self._memory.read(at, NEAR_BYTES) or b"" for at in pages})
        home = next((m for m in modules if _is_program(m)), None)
        if home is not None:
            self._survey_program(home, jumps, go_text)
        for module in modules:
            if module is not home and not module.is_loader:
                self._survey_library(module, jumps)
        return tuple(one.survey for one in self._calls)

    def _survey_program(self, home: LoadedModule, jumps: frozenset[int], text: Span | None) -> None:
        targets: dict[int, int] = {}
        for name, number in self._names.items():
            found = home.obj.symbols.find(name)
            if found is not None and home.is_code(found[0] + home.bias):
                targets[found[0]] = number
        if not targets:
            return
        callers = home.obj.symbols.functions_of(_STUB, _PREAMBLE)
        everybodys = {at: n for at, n in targets.items() if self._is_everybodys(n)}
        libraries = {at: n for at, n in targets.items() if at not in everybodys}
        calls = survey_module(home, libraries, self._memory, jumps, text, callers)
        if everybodys:
            more = survey_module(home, everybodys, self._memory, jumps, text)
            foreign = calls.foreign + more.foreign
            calls = replace(more, sites=calls.sites + more.sites, foreign=foreign)
        if calls.why is None:
            if callers or everybodys:
                self._called_in.add(home.name)
            self._within |= {self._known[number].family for number in everybodys.values()}
        self._keep(home, calls, targets)

    def _survey_library(self, module: LoadedModule, jumps: frozenset[int]) -> None:
        """Find the calls of a library within itself, of families of which they count.

        It is all of them or none: where one half would be missed, handles would look lost.
        """
        defined = {
            module.obj.dynamic.symbols.find(name): number
            for name, number in self._names.items()
            if self._known[number].function.within
        }
        targets = {found[0]: number for found, number in defined.items() if found and found[0]}
        if not targets:
            return
        others = frozenset(span.start for span in code_ranges(module.obj)) - targets.keys()
        calls = survey_module(module, targets, self._memory, jumps, callers=others)
        slots = candidates(
            module,
            self._memory,
            {name: n for name, n in self._names.items() if n in targets.values()},
            {},
        )
        called = {site.function for site in calls.sites} | {slot.function for slot in slots}
        roles = {
            (self._known[number].family, self._known[number].function.role) for number in called
        }
        families = {self._known[number].family for number in targets.values()}
        whole = {family for family in families if {(family, r) for r in _BOTH}.issubset(roles)}
        if calls.why is None and calls.foreign:
            calls = replace(calls, why=f"{calls.foreign} calls are not as in its file")
        elif calls.why is None and whole != families:
            calls = replace(calls, why="only one half of its calls is found")
        if calls.why is None:
            self._called_in.add(module.name)
            self._within |= families
        else:
            self._left_out |= families
            calls = replace(calls, sites=(), foreign=0)
        self._keep(module, calls, targets)

    def _keep(self, module: LoadedModule, calls: CallSurvey, targets: Mapping[int, int]) -> None:
        kinds = dict.fromkeys(self._families[self._known[n].family].name for n in targets.values())
        addresses = {number: address + module.bias for address, number in targets.items()}
        self._calls.append(_CallsInside(replace(calls, kinds=", ".join(kinds)), addresses))

    def _is_everybodys(self, number: int) -> bool:
        """Tell whether all calls count: of an allocator, and where the family says so."""
        family = self._families[self._known[number].family]
        return any(one.size_argument or one.within for one in family.functions)

    def calls(self, tables: Tables) -> tuple[CallSurvey | None, ...]:
        """Give the calls that were found, each with its place in the probe's table.

        As many as ``survey_calls``; None where there is nothing to take.
        """
        return tuple(self._placed(tables, one) for one in self._calls)

    def _placed(self, tables: Tables, found: _CallsInside) -> CallSurvey | None:
        sites = []
        for site in found.survey.sites:
            if self._known[site.function].family in self._left_out:
                continue
            place = self._place(tables, site.function, found.addresses[site.function])
            if place is not None:
                sites.append(replace(site, function=FUNCTIONS + place))
                self._known[site.function].callers.add(found.survey.module)
        kept = found.survey.why is not None and self._is_within(found)
        return replace(found.survey, sites=tuple(sites)) if sites or kept else None

    def _is_within(self, found: _CallsInside) -> bool:
        return any(self._known[number].function.within for number in found.addresses)

    def leave_out(self, tables: Tables, survey: CallSurvey) -> None:
        """Count nothing by functions of which some calls could not be taken after all.

        To be called before counting begins. Of others than a library's own it is only said.
        """
        found = next(one for one in self._calls if one.survey.module == survey.module)
        known = [self._known[number] for number in found.addresses]
        self._silence(tables, {one.family for one in known if one.function.within})

    def _silence(self, tables: Tables, families: set[int]) -> None:
        """Have the probe pass on what leads to functions of these families."""
        self._left_out |= families
        for (number, address), place in self._places.items():
            if self._known[number].family in families:
                tables.write_pair(place, Pair(real=address))
        for known in self._known:
            if known.family in families:
                known.callers.clear()

    def _place(self, tables: Tables, number: int, address: int) -> int | None:
        """Give a function a place in the probe's table, the same as ever."""
        place = self._places.get((number, address))
        if place is not None:
            return place
        at = address if address in self._taken else 0
        if at not in self._taken:
            # One half alone would make every handle look lost.
            family = self._known[number].family
            self._crowded[self._families[family].name] = None
            self._silence(tables, {family})
            return None
        place = self._taken.index(at)
        self._taken[place] = address
        self._places[number, address] = place
        known = self._known[number]
        one = known.function
        field = self._fields.get(one.unless)
        tables.write_pair(
            place,
            Pair(
                real=address,
                size=one.size,
                family=known.family,
                role=one.role,
                handle=one.argument,
                indirect=one.indirect,
                success=one.success,
                size_argument=one.size_argument,
                count_argument=one.count_argument,
                unless_argument=one.unless_argument,
                unless_at=field.at if field else 0,
                unless_mask=field.mask if field else 0,
                early=one.early,
            ),
        )
        return place

    def _note_homes(self, modules: Iterable[LoadedModule]) -> None:
        """Note who defines the functions, be it for himself alone."""
        for module in modules:
            for name, number in self._names.items():
                known = self._known[number]
                found = module.obj.symbol(name)
                if found is not None and found[0]:
                    known.homes.add(module.path)

    def _read_getters(self, modules: Iterable[LoadedModule]) -> None:
        """Find out what the functions read that say when nothing is made.

        glibc before 2.34 has them twice; what only leads on to the other is passed over.
        """
        wanted = {known.function.unless: known.family for known in self._known}
        wanted.pop("", None)
        for module in modules:
            if module.obj.machine != EM_X86_64:
                continue
            for name in wanted.keys() - self._fields.keys():
                found = module.obj.dynamic.symbols.find(name)
                code = module.obj.read(found[0], _GETTER_BYTES) if found and found[0] else None
                if code and (field := field_read(code)) is not None and field.at <= _FARTHEST:
                    self._fields[name] = field
        self._unread = {family for name, family in wanted.items() if name not in self._fields}

    def _refuse(self, slots: Iterable[FoundSlot]) -> None:
        """Find families whose handles are made through a slot and given up without one.

        A module that has the destroy function in itself calls it directly. Its handles would all
        look leaked: they are not counted.
        """
        slots = tuple(slots)
        through = {(self._known[s.function].function.name, s.module) for s in slots}
        makers: dict[int, set[str]] = {}
        for slot in slots:
            known = self._known[slot.function]
            if known.function.role is not Role.DESTROY:
                makers.setdefault(known.family, set()).add(slot.module)
        for known in self._known:
            name = known.function.name
            if known.function.role is Role.DESTROY and any(
                home.rpartition("/")[2] in makers.get(known.family, ())
                and (name, home.rpartition("/")[2]) not in through
                and home.rpartition("/")[2] not in self._called_in
                for home in known.homes
            ):
                self._unsafe.add(known.family)

    def counted(self, tables: Tables) -> tuple[HandleFamily, ...]:
        """Return what was counted so far, a family each."""
        rows = tables.families()
        return tuple(
            HandleFamily(
                family.name,
                creates=family.names(Role.CREATE, Role.RESIZE),
                destroys=family.names(Role.DESTROY),
                created=int(row.created),
                destroyed=int(row.destroyed),
                gone=int(row.gone),
                unmatched=int(row.unmatched),
                dropped=int(row.dropped),
            )
            for family, row in zip(self._families, rows, strict=False)
        )

    def ended_threads(self, tables: Tables, running: int) -> Notice | None:
        """Say how many threads have ended and were never joined; ``running``: how many there are.

        Which of them are outstanding and which of those run is not known, but all that run are no
        more than ``running``: so many at least have ended of those that nobody joined.
        """
        made = {known.family for known in self._known if known.function.name in _THREAD_MAKERS}
        left = sum(
            int(row.created - row.destroyed - row.gone)
            for number, row in enumerate(tables.families())
            if number in made
        )
        if left <= running:
            return None
        return Notice(
            "pairs.threads-ended",
            f"of {left} threads that were neither joined nor detached at least {left - running}"
            " have ended; the stack of each stays mapped until it is joined",
            "join each thread that is made, or have it detached",
        )

    def notices(self, modules: Sequence[LoadedModule]) -> list[Notice]:
        """Say what could not be reached, and what to do about it: once for all kinds alike."""
        told: dict[str, list[int]] = {}
        for number in range(len(self._families)):
            if code := self._why_not(number):
                told.setdefault(code, []).append(number)
        found = [self._notice(code, numbers, modules) for code, numbers in told.items()]
        if self._crowded:
            found.append(
                Notice(
                    "pairs.too-many",
                    f"the probe has room for {FAMILIES} families and {PAIR_FUNCTIONS} functions;"
                    f" not counted: {', '.join(self._crowded)}",
                    "name only the families that matter",
                )
            )
        return found

    def _makers(self, number: int) -> list[_Known]:
        return [
            one
            for one in self._known
            if one.family == number and one.function.role is not Role.DESTROY
        ]

    def _why_not(self, number: int) -> str | None:
        """Give the code of the reason for which a kind is not counted, or None."""
        makes = self._makers(number)
        if number in self._left_out:
            return None  # whoever leaves it out says why
        if number in self._unread:
            return "pairs.unreadable"
        if number in self._unsafe:
            return "pairs.one-sided"
        if any(one.callers for one in makes):
            return None
        homes = {home.rpartition("/")[2] for one in makes for home in one.homes}
        if not homes:
            return "pairs.unknown"
        if homes <= self._called_in:
            return None  # every call was looked for, and there is none
        return "pairs.direct"

    def _notice(self, code: str, numbers: Sequence[int], modules: Sequence[LoadedModule]) -> Notice:
        names = ", ".join(self._families[number].name for number in numbers)
        makes = [one for number in numbers for one in self._makers(number)]
        if code == "pairs.one-sided":
            return Notice(
                code,
                f"not counted: {names}; some module makes them through its loader, but has the"
                " destroy function linked in, where calls are not seen",
                "link the library dynamically in all of the program",
            )
        if code == "pairs.unreadable":
            getters = ", ".join(one.function.unless for one in makes if one.function.unless)
            return Notice(
                code,
                f"not counted: {names}; what {getters} reads could not be told from its code",
                "nothing can be done; please report the C library and its version",
            )
        if code == "pairs.unknown":
            near = self._near_name(makes[0].function.name, modules)
            return Notice(
                code,
                f"not counted: {names}; no module of the process has {_some(makes)}",
                f"did you mean {near}?" if near else "see: nm -D --defined-only LIBRARY",
            )
        homes = ", ".join(sorted({h.rpartition("/")[2] for one in makes for h in one.homes}))
        return Notice(
            code,
            f"not counted: {names}; no call of {_some(makes)} was found that leads to {homes}"
            " through the loader, and calls within a module are not seen",
            "nothing, if the program does not use them; otherwise link the library dynamically",
        )

    @staticmethod
    def _near_name(name: str, modules: Sequence[LoadedModule]) -> str | None:
        names = {one.name for module in modules for one in module.obj.dynamic.symbols.functions()}
        near = get_close_matches(name, names, n=1, cutoff=0.85)
        return near[0] if near else None


def _is_program(module: LoadedModule) -> bool:
    return module.obj.type == _ET_EXEC or module.obj.is_pie


def _some(ones: Sequence[_Known]) -> str:
    names = [one.function.name for one in ones]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {plural(more, 'other')}" if more > 0 else "")
