"""One look at a process from outside: the kernel's numbers, Go's and the C allocator's, together.

pid → ``Observation``, again and again. Everything that stays (files, symbols, where the runtime's
and the allocator's variables are) is looked up once. Nothing runs in the target, nothing stops, and
a look costs some milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cgoleak.errors import CgoleakError
from cgoleak.model.notice import Notice
from cgoleak.target.go.process import open_heap
from cgoleak.target.go.sites import go_profile
from cgoleak.target.gobinary import find_libc, read_binary
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.pagemap import PageMap
from cgoleak.target.kernel.procfs import PROC
from cgoleak.target.kernel.smaps import SmapsReader
from cgoleak.target.libc.allocator import find_allocator
from cgoleak.target.native import NativeReader

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from cgoleak.model.goprofile import GoProfile
    from cgoleak.model.snapshot import GoMemory, NativeMemory, ProcessMemory
    from cgoleak.target.go.heap import GoHeap
    from cgoleak.target.preflight import TargetFacts

__all__ = ["MemoryObserver", "Observation"]

_QUICK_S: Final = 0.04
_THOROUGH_S: Final = 0.3
_STACK_LIMIT: Final = re.compile(rb"^Max stack size +([0-9]{1,18}) ", re.MULTILINE)


class Observation(NamedTuple):
    """What was seen; ``process`` is None for zombies."""

    process: ProcessMemory | None
    go: GoMemory | None
    native: NativeMemory | None


class MemoryObserver:
    """Looks at the memory of one process.

    ``observe`` never raises for a process that ended or numbers that cannot be had: each part is
    None then. Why a part is missing or incomplete stands in ``notices``, each code once.
    """

    def __init__(
        self,
        pid: int,
        *,
        root: Path = PROC,
        facts: TargetFacts | None = None,
        heap: GoHeap | None = None,
    ) -> None:
        """Learn what stays as it is.

        Args:
            pid: any process; what is not Go or has no libc is seen as far as it goes.
            root: where ``/proc`` is.
            facts: of ``preflight.require``, if they are known already.
            heap: reader of Go's numbers, if there is one already.

        Raises:
            NoSuchProcess: the process is gone.
            NotPermitted: its memory may not be read.
        """
        self._pid, self._root = pid, root
        self._notices: dict[str, Notice] = {}
        self._memory = Memory(pid, root)
        self._pages = PageMap(pid, root)
        self._smaps = SmapsReader(pid, root)
        try:
            self._learn(facts, heap)
        except CgoleakError:
            self.close()
            raise

    def _learn(self, facts: TargetFacts | None, heap: GoHeap | None) -> None:
        pid, root = self._pid, self._root
        regions = procfs.maps(pid, root)
        binary = facts.binary if facts else read_binary(pid, root)
        libc = facts.libc if facts else find_libc(pid, regions, root)
        self._heap = heap
        if heap is None and binary.is_go:
            found = open_heap(pid, binary, regions, self._memory.read, root)
            if isinstance(found, Notice):
                self._notices[found.code] = found
            else:
                self._heap = found
        self._native = NativeReader(
            self._memory.read,
            self._pages,
            self._heap,
            libc=libc.kind if libc else None,
            libc_path=libc.path if libc else None,
            allocator=facts.allocator if facts else find_allocator(pid, regions, libc, root),
            arch=binary.arch,
            stack_limit=_stack_limit(pid, root),
        )

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What could not be seen so far, each code once."""
        return (*self._notices.values(), *self._native.notices.values())

    def observe(self, *, detailed: bool = True, thorough: bool = False) -> Observation:
        """Look once.

        Without ``detailed`` only totals: ``native`` is None, and the kernel adds up RSS instead of
        listing it. It costs a tenth where there are thousands of mappings. With ``thorough`` more
        free chunks of malloc are looked at, for the first and the last look of a measurement.
        """
        found = None if self._heap is None else self._heap.memory()
        go = None if isinstance(found, Notice) else found
        try:
            process = procfs.process_memory(self._pid, self._root, exact=not detailed)
            rows = self._smaps.read() if detailed and process is not None else ()
            if process is not None:
                cpu_s = procfs.cpu_seconds(self._pid, self._root)
                process = replace(process, cpu_ms=round(1000 * cpu_s))
        except CgoleakError:
            return Observation(None, go, None)
        if process is not None:  # of a process that has ended nothing is missing
            self._note(found)
        if not rows or process is None:
            return Observation(process, go, None)
        process = replace(
            process,
            rss=sum(row.rss for row in rows),
            anonymous=sum(row.anonymous for row in rows),
            swap=sum(row.swap for row in rows),
            lazy_free=sum(row.lazy_free for row in rows),
            huge_pages=sum(row.huge_pages for row in rows),
        )
        seconds = _THOROUGH_S if thorough else _QUICK_S
        return Observation(process, go, self._native.memory(rows, go, seconds=seconds))

    def go_profile(self, at_ns: int) -> GoProfile | None:
        """Read Go's own heap profile; None without Go's variables, or once the process is gone.

        Some microseconds per allocating stack of the program.
        """
        if self._heap is None or isinstance(self._heap.memory(), Notice):
            return None
        at = self._heap.variables
        return go_profile(self._memory.read, at.mbuckets, at.profile_rate, at_ns)

    def close(self) -> None:
        """Close what is open; a second call does nothing."""
        self._memory.close()
        self._pages.close()

    def _note(self, found: GoMemory | Notice | None) -> None:
        if isinstance(found, Notice):
            self._notices[found.code] = found
        elif found is not None:
            self._notices.pop("go.no-memory-numbers", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _stack_limit(pid: int, root: Path) -> int | None:
    """Read the default size of a thread's stack; None if it is not limited or not known."""
    try:
        text = procfs.process_file(pid, "limits", root)
    except CgoleakError:
        return None
    found = _STACK_LIMIT.search(text)
    return int(found[1]) if found else None
