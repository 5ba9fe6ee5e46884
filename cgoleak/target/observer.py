"""One look at a process from outside: the kernel's numbers, Go's and the C allocator's, together.

pid → ``Observation``, again and again. Everything that stays (files, symbols, where the runtime's
and the allocator's variables are) is looked up once. Nothing runs in the target, nothing stops, and
a look costs some milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from cgoleak.target.procfs import PROC

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from cgoleak.model.notice import Notice
    from cgoleak.model.snapshot import GoMemory, NativeMemory, ProcessMemory

__all__ = ["MemoryObserver", "Observation"]


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

    def __init__(self, pid: int, *, root: Path = PROC) -> None:
        """Learn what stays as it is.

        Raises:
            NoSuchProcess: the process is gone.
            NotPermitted: its memory may not be read.
        """
        raise NotImplementedError

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What could not be seen so far, each code once."""
        raise NotImplementedError

    def observe(self) -> Observation:
        """Look once."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what is open; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
