"""A report of a measurement that still goes on.

What the recorder writes is heard (``capture.heard``), named and judged as far as it is there, by
the judge of the final report. Nothing is asked of the target and no snapshot is taken: the
recording is the same with and without somebody who looks.

The recorder tells in its thread, a display asks in another; names and judgement take the display's
time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cgoleak.errors import CgoleakError
from cgoleak.model.capture import Capture, Cost, Sampling, Span, Window
from cgoleak.symbols.resolver import Resolver
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cgoleak.model.capture import Module, RawStack, Target, WatchedProcess
    from cgoleak.model.frames import Frame
    from cgoleak.model.ids import Address, StackId
    from cgoleak.model.report import Report
    from cgoleak.model.snapshot import Snapshot
    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["Interim"]

_MOST: Final = 240
"""Snapshots that are kept: judging takes as long as there are."""
_MOST_COUNTS: Final = 200_000
"""Counts of stacks in all snapshots that are kept: some 60 MB."""
_FEWEST: Final = 16
"""However many stacks there are, a curve needs instants."""


class Interim:
    """What was recorded so far."""

    def __init__(
        self, judge: Callable[[Capture], Report], *, sample_bytes: int | None = None
    ) -> None:
        """Take what makes a report of a capture, and the rate at which blocks are sampled."""
        self._judge = judge
        self._sample_bytes = sample_bytes
        self._lock = threading.Lock()
        self._target: Target | None = None
        self._mode = "exact"
        self._started_unix_ns = 0
        self._modules: list[Module] = []
        self._stacks: dict[StackId, RawStack] = {}
        self._mappings: set[StackId] = set()
        self._snapshots: list[Snapshot] = []
        self._processes: dict[int, WatchedProcess] = {}
        self._hooked: Span | None = None
        self._hooked_since_ns: int | None = None
        self._heard = 0
        self._open_module: Callable[[Module], ObjectFile] | None = None
        self._resolver: Resolver | None = None
        self._named: dict[Address, tuple[Frame, ...]] = {}
        self._resolved_modules = -1
        self._is_over = False

    # --- the recorder's side -----------------------------------------------------------------

    def hear_target(self, target: Target, mode: str, started_unix_ns: int) -> None:
        """Take what is measured."""
        with self._lock:
            self._target, self._mode = target, mode
            self._started_unix_ns = started_unix_ns

    def hear_module(self, module: Module) -> None:
        """Take an ELF file."""
        with self._lock:
            self._modules.append(module)

    def hear_stack(self, stack: RawStack) -> None:
        """Take a stack."""
        with self._lock:
            self._stacks[stack.id] = stack

    def hear_mappings(self, stacks: Iterable[StackId]) -> None:
        """Take which stacks make mappings."""
        with self._lock:
            self._mappings.update(stacks)

    def hear_snapshot(self, snapshot: Snapshot) -> None:
        """Take the newest counts; of very many older ones every other is dropped."""
        with self._lock:
            if snapshot.stacks and self._mode == "watch" and self._hooked_since_ns is None:
                self._hooked_since_ns = snapshot.at_ns
            self._snapshots.append(snapshot)
            self._heard += 1
            while self._is_too_much():
                # Of the older three quarters every other.
                del self._snapshots[1 : -(len(self._snapshots) // 4) : 2]

    def hear_process(self, number: int, process: WatchedProcess) -> None:
        """Take a process of a watch."""
        with self._lock:
            self._processes[number] = process

    def hear_hooked(self, span: Span) -> None:
        """Take which part had hooks in."""
        with self._lock:
            self._hooked = span

    def open_with(self, open_module: Callable[[Module], ObjectFile]) -> None:
        """Say how a module's file is opened; without it addresses keep their numbers."""
        with self._lock:
            self._open_module = open_module
            self._resolver = None
            self._resolved_modules = -1

    # --- the display's side ------------------------------------------------------------------

    @property
    def heard(self) -> int:
        """How many snapshots there were: as long as it stays, a report would be the same."""
        return self._heard

    def name(self) -> None:
        """Look up the names of new addresses: dear once for each module, then cheap."""
        with self._lock:
            stacks = list(self._stacks.values())
            modules, open_module = list(self._modules), self._open_module
        if open_module is None:
            return
        if self._resolver is None or len(modules) != self._resolved_modules:
            self._resolver = Resolver(modules, open_module, root=self._root())
            self._resolved_modules = len(modules)
        for stack in stacks:
            if self._is_over:
                return
            for address in stack.addresses:
                if address not in self._named and (found := self._resolver.frames(address)):
                    self._named[address] = found

    def finish(self) -> None:
        """Let a ``name`` that takes long return soon; called by any thread."""
        self._is_over = True

    def report(self) -> Report | None:
        """Judge what is there; None if there is no snapshot yet."""
        with self._lock:
            capture = self._capture()
        try:
            return None if capture is None else self._judge(capture)
        except CgoleakError:
            return None  # the final report says what is wrong with it

    def _is_too_much(self) -> bool:
        if len(self._snapshots) <= _FEWEST:
            return False
        counts = sum(len(one.stacks) for one in self._snapshots)
        return len(self._snapshots) > _MOST or counts > _MOST_COUNTS

    def _root(self) -> Path:
        return PROC / str(self._target.pid if self._target else 0) / "root"

    def _capture(self) -> Capture | None:
        if self._target is None or not self._snapshots:
            return None
        seconds = self._snapshots[-1].at_ns / 1e9
        return Capture(
            target=self._target,
            window=Window(self._started_unix_ns, seconds, self._mode, "detached"),
            modules=tuple(self._modules),
            stacks=dict(self._stacks),
            snapshots=tuple(self._snapshots),
            cost=Cost(0.0, self._snapshots[-1].counters.table_bytes),
            frames=dict(self._named),
            processes=tuple(one for _, one in sorted(self._processes.items())),
            hooked=self._span(),
            mappings=frozenset(self._mappings),
            sampling=() if self._sample_bytes is None else (Sampling(0, self._sample_bytes),),
        )

    def _span(self) -> Span | None:
        """Give the part of a watch with hooks; while they are in, it ends now."""
        if self._hooked is not None or self._hooked_since_ns is None:
            return self._hooked
        return Span(self._hooked_since_ns, self._snapshots[-1].at_ns)
