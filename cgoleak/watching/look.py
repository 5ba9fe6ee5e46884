"""Two ways to look at one process: a glance for every second, the full sheet now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from cgoleak.errors import CgoleakError, NotGo, NotPermitted
from cgoleak.model.capture import Target
from cgoleak.model.notice import Notice
from cgoleak.target.go.process import open_heap
from cgoleak.target.gobinary import find_libc, godebug_of, read_binary
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.procfs import PROC
from cgoleak.target.libc.allocator import find_allocator
from cgoleak.target.observer import MemoryObserver, Observation
from cgoleak.target.preflight import require_architecture

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from cgoleak.model.snapshot import GoMemory
    from cgoleak.target.go.heap import GoHeap

__all__ = ["Look"]

_NOTHING: Final = Observation(None, None, None)
_TRIES: Final = 5
"""Readings after which a process that has mapped no C library is taken to have none."""


class Look:
    """Looks at one process from outside; readings of one that is gone have None for their parts."""

    def __init__(self, pid: int, root: Path = PROC) -> None:
        """Learn what stays as it is.

        Raises:
            NoSuchProcess: the process is gone.
            NotPermitted: its executable may not be read.
            NotGo: it is no Go program.
            UnsupportedTarget: it is 32-bit, whose build information is not read.
        """
        self._pid = pid
        self._root = root
        self._binary = read_binary(pid, root)
        if self._binary.bits == 32:
            require_architecture(pid, self._binary)
        if not self._binary.is_go:
            raise NotGo(
                f"process {pid} is not a Go program",
                cause=f"{self._binary.path} has no Go build information",
                fix="list the Go processes with: cgoleak ps",
            )
        self._notices: dict[str, Notice] = {}
        self._memory: Memory | None = None
        self._heap: GoHeap | None = None
        self._observer: MemoryObserver | None = None
        self._tries = 0
        self._base = next((region.start for region in self._regions() if region.is_file), None)
        try:
            self._memory = Memory(pid, root)
            self._find_heap(self._memory)
        except NotPermitted as error:
            self._notices["watch.totals-only"] = Notice(
                "watch.totals-only",
                "the kernel refuses the memory of the process, so that its RSS is all that is seen",
                error.fix,
            )

    @property
    def pid(self) -> int:
        """The process."""
        return self._pid

    @property
    def target(self) -> Target:
        """Describe the process; libraries are those that are mapped by now.

        Raises:
            NoSuchProcess: the process is gone.
        """
        regions = self._regions()
        libc = find_libc(self._pid, regions, self._root)
        return Target(
            pid=self._pid,
            exe=self._binary.path,
            go_version=self._binary.go_version,
            libc=str(libc) if libc else None,
            allocator=find_allocator(self._pid, regions, libc, self._root),
            arch=self._binary.arch or "unknown",
            stripped=self._binary.stripped,
            godebug=godebug_of(self._pid, self._binary, self._root),
        )

    @property
    def is_settled(self) -> bool:
        """Whether the full sheet can be had: a process that has just begun has no libraries yet."""
        return self._observer is not None or self._memory is None

    @property
    def is_replaced(self) -> bool:
        """Whether the process has become another program (exec) since.

        What we hold open is the memory of the program before, of which nothing can be read then.
        """
        return (
            self._memory is not None
            and self._base is not None
            and self._memory.read(self._base, 1) is None
        )

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What could not be seen so far, each code once."""
        seen = self._observer.notices if self._observer is not None else ()
        return tuple((self._notices | {one.code: one for one in seen}).values())

    def glance(self) -> Observation:
        """Look cheaply: the totals that the kernel keeps anyway, and Go's own numbers."""
        try:
            process = procfs.process_memory(self._pid, self._root, exact=False)
        except CgoleakError:
            return _NOTHING
        return Observation(process, None if process is None else self._go(), None)

    def full(self) -> Observation:
        """Look at every mapping; the kernel walks the page tables for it."""
        try:
            if self._observer is None and self._has_begun():
                self._observer = MemoryObserver(self._pid, root=self._root, heap=self._heap)
        except CgoleakError:
            self._memory = None
        return self.glance() if self._observer is None else self._observer.observe()

    def close(self) -> None:
        """Close what is open."""
        for one in (self._observer, self._memory):
            if one is not None:
                one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _regions(self) -> tuple[procfs.Region, ...]:
        try:
            return procfs.maps(self._pid, self._root)
        except CgoleakError:
            return ()

    def _find_heap(self, memory: Memory) -> None:
        found = open_heap(self._pid, self._binary, self._regions(), memory.read, self._root)
        if isinstance(found, Notice):
            self._notices[found.code] = found
        else:
            self._heap = found

    def _has_begun(self) -> bool:
        """Whether the loader is through, as far as can be seen; in the end, True."""
        if self._memory is None:
            return False
        self._tries += 1
        if self._binary.interpreter is None or self._tries > _TRIES:
            return True
        return find_libc(self._pid, self._regions(), self._root) is not None

    def _go(self) -> GoMemory | None:
        if self._heap is None:
            return None
        found = self._heap.memory()
        return None if isinstance(found, Notice) else found
