"""Code of a Go program that runs once, at its start, and never again: room for a way in.

``runtime.rt0_go`` (runtime/asm_amd64.s) sets the first thread up, has the main goroutine made and
calls ``mstart``, which does not return. The main goroutine notes its own beginning in
``runtime.runtimeInitTime`` (runtime/proc.go), so that what is not zero there says that the start is
over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.errors import TargetBusy, UnsupportedTarget

if TYPE_CHECKING:
    from cgoleak.probe.calls.modules import LoadedModule
    from cgoleak.symbols.go.pclntab import GoTable
    from cgoleak.target.kernel.memory import Memory

__all__ = ["DeadCode", "find_dead_code"]

_FUNCTION: Final = "runtime.rt0_go"
_STARTED: Final = "runtime.runtimeInitTime"


@dataclass(frozen=True, slots=True)
class DeadCode:
    """A piece of code: where it is in the process, and what its file has there."""

    start: int
    own: bytes

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.start + len(self.own)


def find_dead_code(
    pid: int, exe: LoadedModule, table: GoTable | None, table_bias: int, memory: Memory
) -> DeadCode:
    """Find it; ``table_bias`` is added to the table's addresses.

    Raises:
        UnsupportedTarget: it is not where every Go we know has it.
        TargetBusy: the program is just starting.
    """
    bounds = table.entries(_FUNCTION) if table else []
    started = exe.obj.symbol(_STARTED)
    start, end = (at + table_bias for at in bounds[0]) if len(bounds) == 1 else (0, 0)
    own = exe.obj.read(start - exe.bias, end - start) if start else None
    if own is None or started is None:
        raise UnsupportedTarget(
            f"pid {pid} is a static program whose start-up code is not known",
            cause=f"{exe.path} has no {_FUNCTION if own is None else _STARTED}",
            fix="link it dynamically, or keep its symbols; cgoleak watch works as it is",
        )
    if not memory.word(started[0] + exe.bias):
        raise TargetBusy(
            f"pid {pid} is still starting",
            cause="its Go runtime has not begun with the program's own code",
            fix="try again in a moment",
        )
    return DeadCode(start, own)
