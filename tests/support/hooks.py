"""Looks from outside whether hooks are in a process: at its slots, and at the threads it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgoleak.errors import CgoleakError
from cgoleak.probe.calls.modules import find_modules
from cgoleak.probe.calls.slots import FUNCTION_NAMES
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.resident import IMAGE_NAME, find_residents
from cgoleak.target.kernel import procfs
from cgoleak.target.kernel.memory import Memory
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from cgoleak.probe.calls.modules import LoadedModule

__all__ = ["counts", "footprint", "hooked_slots"]


def hooked_slots(pid: int) -> list[str]:
    """Name every relocation slot that points into the probe, as ``module:symbol``."""
    try:
        regions = procfs.maps(pid)
        probe = [(r.start, r.end) for r in regions if r.path.startswith(IMAGE_NAME)]
        if not probe:
            return []
        modules, _ = find_modules(pid, regions, PROC)
        with Memory(pid) as memory:
            return [name for module in modules for name in _hooked(module, memory, probe)]
    except CgoleakError:
        return []  # it has ended


def counts(pid: int) -> bool:
    """Tell whether the hooks count, slots or not: the first word of the resident part says so."""
    try:
        regions = procfs.maps(pid)
        with Memory(pid) as memory:
            for resident in find_residents(regions, memory, load_artifact()):
                header = resident.header(memory)
                if header is not None and header.resident:
                    return bool(int.from_bytes(memory.read(header.resident, 4) or b"", "little"))
    except CgoleakError:
        pass  # it has ended
    return False


def _hooked(module: LoadedModule, memory: Memory, probe: list[tuple[int, int]]) -> list[str]:
    found = []
    for relocation in module.obj.dynamic.relocations(FUNCTION_NAMES):
        value = memory.word(relocation.offset_vaddr + module.bias)
        if value is not None and any(start <= value < end for start, end in probe):
            found.append(f"{module.name}:{relocation.symbol_name}")
    return found


def footprint(pid: int) -> tuple[tuple[str, ...], str, int, int, int]:
    """Give what an attach would change: code mapped, state, tracer, and the signals it handles."""
    status = procfs.status(pid)
    code = tuple(
        f"{r.start:x}-{r.end:x} {r.perms} {r.path}" for r in procfs.maps(pid) if "x" in r.perms
    )
    with (PROC / str(pid) / "status").open() as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    pending, caught = (int(fields[name], 16) for name in ("ShdPnd", "SigCgt"))
    state = "runs" if status.state in {"R", "S", "D"} else status.state
    return code, state, status.tracer_pid, pending, caught
