"""A capture that somebody listens to while it is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from cgoleak.capture.writer import CaptureWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cgoleak.model.capture import Module, RawStack, Span, Target, WatchedProcess
    from cgoleak.model.ids import StackId
    from cgoleak.model.snapshot import Snapshot

__all__ = ["HeardWriter", "Listener"]


class Listener(Protocol):
    """Is told what was written, right after it was; must return soon and not raise."""

    def hear_target(self, target: Target, mode: str, started_unix_ns: int) -> None:
        """Hear what is measured; a watch says it anew for each process."""

    def hear_module(self, module: Module) -> None:
        """Hear of an ELF file."""

    def hear_stack(self, stack: RawStack) -> None:
        """Hear of a stack; one of the same id is replaced."""

    def hear_mappings(self, stacks: Iterable[StackId]) -> None:
        """Hear of stacks whose memory came from mmap itself."""

    def hear_snapshot(self, snapshot: Snapshot) -> None:
        """Hear the newest counts."""

    def hear_process(self, number: int, process: WatchedProcess) -> None:
        """Hear of a process that is watched, or what is known of it now."""

    def hear_hooked(self, span: Span) -> None:
        """Hear which part of a watch was measured with hooks."""


class HeardWriter(CaptureWriter):
    """Writes as its parent does, and tells the listener in the same thread."""

    def __init__(
        self, path: Path | str | None, listener: Listener, *, overwrite: bool = False
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        self._listener = listener

    def write_target(
        self, target: Target, *, mode: str = "exact", started_unix_ns: int | None = None
    ) -> None:
        """Say what is measured."""
        started = time.time_ns() if started_unix_ns is None else started_unix_ns
        super().write_target(target, mode=mode, started_unix_ns=started)
        self._listener.hear_target(target, mode, started)

    def add_module(self, module: Module) -> None:
        """Add an ELF file."""
        super().add_module(module)
        self._listener.hear_module(module)

    def add_stack(self, stack: RawStack) -> None:
        """Add a stack."""
        super().add_stack(stack)
        self._listener.hear_stack(stack)

    def put_mappings(self, stacks: Iterable[StackId]) -> None:
        """Say of stacks that their memory came from mmap itself."""
        stacks = tuple(stacks)
        super().put_mappings(stacks)
        self._listener.hear_mappings(stacks)

    def add_snapshot(self, snapshot: Snapshot, *, commit: bool = True) -> int:
        """Store what changed."""
        number = super().add_snapshot(snapshot, commit=commit)
        self._listener.hear_snapshot(snapshot)
        return number

    def put_process(self, number: int, process: WatchedProcess) -> None:
        """Add a process, or say anew what is known of it."""
        super().put_process(number, process)
        self._listener.hear_process(number, process)

    def put_hooked(self, span: Span) -> None:
        """Say which part of a watch had hooks in."""
        super().put_hooked(span)
        self._listener.hear_hooked(span)
