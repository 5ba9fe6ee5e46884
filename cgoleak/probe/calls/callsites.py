"""Calls of the allocator that no slot carries: found in the file, redirected in the target.

Where a module defines the malloc that the process uses, its own calls lead there straight: linked
statically, nothing is left for the loader to fill in. Each of those calls has its distance in four
bytes, and they alone are rewritten, with every thread stopped: the instruction keeps its length and
its place, so that wherever a thread stands it finds instructions as before.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from cgoleak.errors import CgoleakError
from cgoleak.model.notice import Notice
from cgoleak.probe.calls.near import NEAR_BYTES, NearPage, find_near_pages, free_places, jumps_of
from cgoleak.probe.stopped.edits import CodeMemory, Edit
from cgoleak.probe.stopped.heir import Heir
from cgoleak.probe.wire.layout import FUNCTIONS, Function
from cgoleak.symbols.code.calls import find_calls
from cgoleak.symbols.code.code_ranges import code_ranges
from cgoleak.symbols.elf.object_file import EM_X86_64
from cgoleak.target.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from pathlib import Path

    from cgoleak.probe.calls.modules import LoadedModule
    from cgoleak.probe.calls.slots import SlotSurvey
    from cgoleak.probe.wire.tables import Tables
    from cgoleak.symbols.code.code_ranges import CodeRange
    from cgoleak.target.go.runtime import Span
    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region

__all__ = [
    "CallSite",
    "CallSites",
    "CallSurvey",
    "private_notice",
    "survey_calls",
    "survey_module",
    "survey_private",
]

_RELEASES: Final = (
    "sdallocx",
    "dallocx",
    "je_sdallocx_noflags",
    "free_sized",
    "free_aligned_sized",
)
"""Other ways to free what malloc gave, with more arguments that say what free finds out itself."""
_DISTANCE: Final = struct.Struct("<i")
_MOST_PLACES: Final = 8
_ET_EXEC: Final = 2


@dataclass(frozen=True, slots=True)
class CallSite:
    """One call.

    Attributes:
        address: where its distance is written.
        function: number of the hook.
        own: those four bytes as in the file.
        now: what the target holds there: the same, or what a cgoleak that was killed left.
    """

    address: int
    function: int
    own: bytes
    now: bytes


@dataclass(frozen=True, slots=True)
class CallSurvey:
    """The calls within one module.

    Attributes:
        span: the module's addresses.
        why: reason for which its calls cannot be found, or None.
        foreign: calls left alone since the code there is not that of the file, or not proven.
        is_private: what is called is not what the rest of the process calls by that name.
        kinds: which handles are counted by it; None where it is the allocator's.
    """

    module: str
    span: tuple[int, int]
    sites: tuple[CallSite, ...] = ()
    why: str | None = None
    foreign: int = 0
    is_private: bool = False
    kinds: str | None = None


def survey_calls(
    modules: Iterable[LoadedModule],
    slots: SlotSurvey,
    memory: Memory,
    regions: Iterable[Region],
    go_text: Span | None = None,
) -> CallSurvey | None:
    """Find the calls within whoever provides malloc; None where that is the C library.

    Then it may still be that some module has a malloc for itself, whose calls are found all the
    same, and marked. ``go_text`` is left alone: Go calls C in no other way than through its C part.
    """
    modules = tuple(modules)
    jumps = jumps_of({at: memory.read(at, NEAR_BYTES) or b"" for at in find_near_pages(regions)})
    for module in modules:
        if _is_home(module, slots.providers):
            targets = _targets(module, slots.providers)
            return survey_module(module, targets, memory, jumps, go_text)
    private = (survey_private(module, memory, jumps, go_text) for module in modules)
    return next((found for found in private if found is not None), None)


def survey_private(
    module: LoadedModule,
    memory: Memory,
    jumps: frozenset[int] = frozenset(),
    go_text: Span | None = None,
) -> CallSurvey | None:
    """Find the calls of a malloc that a module has beside the one of the process, if it has one."""
    own = _own_heap(module)
    if own is None:
        return None
    found = survey_module(module, _targets(module, own), memory, jumps, go_text)
    return replace(found, is_private=True) if found.sites else None


def survey_module(
    module: LoadedModule,
    targets: Mapping[int, int],
    memory: Memory,
    jumps: frozenset[int] = frozenset(),
    go_text: Span | None = None,
    callers: Container[int] | None = None,
) -> CallSurvey:
    """Find the calls of any functions within one module.

    ``targets``: address in the file → number of the hook; ``jumps``: see ``jumps_of``; ``callers``:
    where the functions begin whose calls count, if not all do.
    """
    span = module.start, module.end
    if module.obj.machine != EM_X86_64:
        return CallSurvey(module.name, span, why="it is not x86-64 code")
    ranges = _c_code(module, go_text)
    if not ranges:
        return CallSurvey(module.name, span, why="it tells of no function's bounds")
    if callers is not None:
        ranges = tuple(span for span in ranges if span.start in callers)
    found = find_calls(module.obj, ranges, targets, targets)
    starts = {span.start: span for span in ranges}
    by_function: dict[int, list[CallSite]] = {}
    for call in found.calls:
        by_function.setdefault(call.function, []).append(
            CallSite(
                call.operand + module.bias,
                targets[call.target],
                module.obj.read(call.operand, 4) or b"",
                memory.read(call.operand + module.bias, 4) or b"",
            )
        )
    sites: list[CallSite] = []
    for start, inside in by_function.items():
        if _is_as_in_file(module, memory, starts[start], inside, jumps):
            sites += inside
    left = len(found.calls) - len(sites) + found.unproven
    return CallSurvey(module.name, span, tuple(sites), foreign=left)


def _own_heap(module: LoadedModule) -> dict[Function, int] | None:
    """Give malloc and free as a module defines them; a program need not export its own."""
    if module.is_loader or module.is_libc:
        return None
    is_program = module.obj.type == _ET_EXEC or module.obj.is_pie
    symbols = module.obj.symbols if is_program else module.obj.dynamic.symbols
    found: dict[Function, int] = {}
    for function, name in ((Function.MALLOC, "malloc"), (Function.FREE, "free")):
        symbol = symbols.find(name)
        if symbol is None or not module.is_code(symbol[0] + module.bias):
            return None
        found[function] = symbol[0] + module.bias
    return found


def _is_home(module: LoadedModule, providers: Mapping[Function, int]) -> bool:
    """Tell whether a module provides malloc and free, and is not the C library.

    That one's own calls go through slots: linkers keep them so, for others to take its place.
    """
    heart = (Function.MALLOC, Function.FREE)
    return module.brings_malloc and all(
        f in providers and module.is_code(providers[f]) for f in heart
    )


def _c_code(home: LoadedModule, go_text: Span | None) -> tuple[CodeRange, ...]:
    if go_text is None:
        first, last = (home.obj.symbol(name) for name in ("runtime.text", "runtime.etext"))
        low, high = (first[0], last[0]) if first and last else (0, 0)
    else:
        low, high = go_text.start - home.bias, go_text.end - home.bias
    return tuple(r for r in code_ranges(home.obj) if r.end <= low or r.start >= high)


def _targets(home: LoadedModule, providers: Mapping[Function, int]) -> dict[int, Function]:
    """Give the functions whose calls are taken, as addresses in the file."""
    targets = {
        address - home.bias: function
        for function, address in providers.items()
        if function < Function.MMAP and home.is_code(address)
    }
    for name in _RELEASES:
        symbol = home.obj.symbol(name)
        if symbol is not None and symbol[0]:
            targets.setdefault(symbol[0], Function.FREE)
    return targets


def _is_as_in_file(
    home: LoadedModule,
    memory: Memory,
    span: CodeRange,
    sites: Iterable[CallSite],
    jumps: frozenset[int],
) -> bool:
    """Compare a function with the file, but for calls that another cgoleak has left behind."""
    size = span.end - span.start
    there = memory.read(span.start + home.bias, size)
    if there is None:
        return False
    code = bytearray(there)
    for site in sites:
        (distance,) = _DISTANCE.unpack(site.now)
        if site.now != site.own and site.address + 4 + distance in jumps:
            at = site.address - span.start - home.bias
            code[at : at + 4] = site.own
    return bytes(code) == home.obj.read(span.start, size)


class Orders(Protocol):
    """What is needed of the session: its tables, orders to the probe, and its hooks."""

    @property
    def tables(self) -> Tables:
        """The shared tables."""

    def order(self, command: bytes) -> None:
        """Give an order and wait until it is carried out."""

    def near_hooks(self) -> tuple[int, ...]:
        """Return the addresses that a near page leads to, the same ones each time."""


class CallSites:
    """The calls of one process: ``take`` them when the probe is in, ``put_back`` when it has gone.

    Attributes:
        seconds: how long the target stood still for it.
        notices: what was taken, and what could not be.
    """

    def __init__(self, pid: int, memory: Memory, found: CallSurvey | None, root: Path) -> None:
        self._pid = pid
        self._memory = memory
        self._found = found
        self._root = root
        self._code: CodeMemory | None = None
        self._heir: Heir | None = None
        self._taken: tuple[Edit, ...] = ()
        self.seconds = 0.0
        self.notices: list[Notice] = []

    @property
    def own_code(self) -> dict[int, bytes]:
        """What the file has where a cgoleak that was killed has left other bytes."""
        sites = self._found.sites if self._found else ()
        return {site.address: site.own for site in sites if site.now != site.own}

    @property
    def are_taken(self) -> bool:
        """Whether any call leads to the hooks."""
        return bool(self._taken)

    @property
    def are_all_taken(self) -> bool:
        """Whether each call that was found leads to the hooks."""
        return self._found is None or len(self._taken) == len(self._found.sites)

    def find_again(self, found: CallSurvey | None) -> None:
        """Say by which hooks the calls that were found are taken."""
        self._found = found

    def take(self, session: Orders, *, held: bool = False) -> None:
        """Lead the calls to the hooks, which pass everything on until the slots are installed.

        ``held``: the process stands still at its entry point. Whatever goes wrong leaves the code
        as it is, and a notice.
        """
        found = self._found
        if found is None:
            return
        if found.is_private:
            self.notices.append(private_notice(found))
            return
        if not found.sites:
            self.notices.append(_not_seen(found, found.why or "none was found"))
            return
        try:
            self._code = CodeMemory(self._pid, self._root)
            page = self._near_page(session, found)
            if page is None:
                self.notices.append(_not_seen(found, "no page near it can be had"))
                return
            self._redirect(page, found, held=held)
        except CgoleakError as exc:
            self.notices.append(_not_seen(found, exc.cause or exc.what))

    def _near_page(self, session: Orders, found: CallSurvey) -> NearPage | None:
        """Find the page that an earlier attach has left, or have one mapped."""
        hooks = session.near_hooks()
        regions = procfs.maps(self._pid, self._root)
        for start in find_near_pages(regions):
            page = NearPage(start, hooks)
            if page.reaches([found.span]) and page.is_in(self._memory):
                session.tables.shared.cmd_near_size = 0
                session.order(b"N")
                return page
        assert self._code is not None
        places = free_places(regions, found.span)
        for start, _ in zip(places, range(_MOST_PLACES), strict=False):
            shared = session.tables.shared
            shared.cmd_near, shared.cmd_near_size = start, NEAR_BYTES
            session.order(b"N")
            if shared.cmd_status == 0:
                page = NearPage(start, hooks)
                return page if self._code.write(start, page.content) else None
        return None

    def _redirect(self, page: NearPage, found: CallSurvey, *, held: bool) -> None:
        assert self._code is not None
        hooks = page.hooks
        edits, back = [], []
        for site in found.sites:
            distance = page.jump_to(hooks[_place(site.function)]) - (site.address + 4)
            new = _DISTANCE.pack(distance)
            edits.append(Edit(site.address, site.now, new))
            back.append(Edit(site.address, site.own, new))
        self._heir = Heir()
        self._heir.inherit(self._pid, back)
        began = time.monotonic()
        made = self._code.apply(edits, held=held)
        self.seconds = time.monotonic() - began
        there = {edit.address for edit in made}
        self._taken = tuple(edit for edit in back if edit.address in there)
        if found.kinds is None:
            text = (
                f"{found.module} brings its own malloc and calls it directly: {len(made)} calls"
                " were taken over in its code, the rest of the process by its slots"
            )
            self.notices.append(Notice("probe.calls-taken", text))
        if missed := len(edits) - len(made) + found.foreign:
            self.notices.append(_not_seen(found, f"{missed} calls are not as in its file"))

    def put_back(self) -> list[Notice]:
        """Give the calls their own distances again; say so if that did not work."""
        if self._code is None or not self._taken:
            return []
        why = "something else has changed them"
        try:
            self._code.apply(edit.undone for edit in self._taken)
        except CgoleakError as exc:
            why = exc.cause or exc.what
        if left := self._still_taken():
            return [_left(left, why)]  # with our end the heir tries for some seconds more
        self._taken = ()
        if self._heir is not None:
            self._heir.dismiss()
        return []

    def _still_taken(self) -> int:
        """Count the calls that are not as in the file; those of another program are none."""
        read = self._memory.read
        return sum(read(edit.address, 4) not in (edit.old, None) for edit in self._taken)

    def close(self) -> None:
        """Let go. If the calls are still taken, the heir puts them back."""
        if self._heir is not None:
            self._heir.close()
            self._heir = None
        if self._code is not None:
            self._code.close()
            self._code = None


def _place(function: int) -> int:
    """Give the place of a function among the hooks of a near page."""
    return function if function < FUNCTIONS else Function.MMAP + function - FUNCTIONS


def _not_seen(found: CallSurvey, why: str) -> Notice:
    if found.kinds is not None:
        return Notice(
            "pairs.direct",
            f"{found.kinds} of {found.module}, which calls their functions directly, may not be"
            f" counted: {why}",
            "build it with unwind tables and unchanged on disk, or link the library dynamically",
        )
    return Notice(
        "probe.calls-unseen",
        f"{found.module} brings its own malloc and calls it directly, unseen: {why}; blocks that"
        " it frees may look lost",
        "build it with unwind tables and unchanged on disk, or preload the allocator instead",
    )


def private_notice(found: CallSurvey) -> Notice:
    """Say what is not seen of a module that has a malloc for itself."""
    return Notice(
        "probe.calls-unseen",
        f"{found.module} has a malloc of its own beside that of the rest of the process, and calls"
        f" it from {len(found.sites)} places: its blocks are not seen",
        "export it (no -Wl,--exclude-libs, no hidden visibility), or link the allocator as a"
        " library",
    )


def _left(count: int, why: str) -> Notice:
    return Notice(
        "probe.calls-left",
        f"{count} calls still lead through the probe, which passes them on: {why}",
        "attach again for a moment: that puts them back",
    )
