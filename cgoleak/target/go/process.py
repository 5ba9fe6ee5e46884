"""The Go runtime of a process: executable and memory map → ``GoHeap``, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgoleak.errors import SymbolError
from cgoleak.model.notice import Notice
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.symbols.go.pclntab import GoTable
from cgoleak.target.go.heap import GoHeap
from cgoleak.target.go.layout import AMD64, ARM64, layout_for
from cgoleak.target.go.variables import locate_globals
from cgoleak.target.kernel.procfs import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cgoleak.target.gobinary import GoBinary
    from cgoleak.target.kernel.procfs import Region

__all__ = ["load_bias", "open_heap"]

_MACHINES: Final = {"amd64": AMD64, "arm64": ARM64}
_PAGE: Final = 4096


def open_heap(
    pid: int,
    binary: GoBinary,
    regions: Sequence[Region],
    read: Callable[[int, int], bytes | None],
    root: Path = PROC,
) -> GoHeap | Notice:
    """Find the runtime's variables; nothing of the process but its memory is read."""
    layout = layout_for(binary.go_version or "", _MACHINES.get(binary.arch or "", ""))
    if layout is None:
        version = binary.go_version or "an unknown version"
        return _none(f"Go {version.removeprefix('go')} is not one that this cgoleak knows")
    try:
        exe = ObjectFile.open(root / str(pid) / "exe")
    except (SymbolError, OSError) as error:
        return _none(f"the executable cannot be read: {error}")
    mapped = [region for region in regions if region.path == binary.path]
    bias = load_bias(mapped, exe)
    if bias is None:
        return _none("the executable is not mapped as a program")
    table = GoTable.from_object(exe)
    if table is None:
        table = GoTable.from_memory(read, [(r.start, r.end) for r in mapped if not r.executable])
    functions = table.functions() if table is not None else ()
    return GoHeap(locate_globals(exe, functions, layout.machine).moved(bias), layout, read)


def load_bias(regions: Sequence[Region], obj: ObjectFile) -> int | None:
    """Give what the loader added to the file's addresses; None if no segment is mapped."""
    for region in regions:
        for segment in obj.segments:
            if segment.type != "PT_LOAD" or not segment.filesz:
                continue
            first = segment.offset & -_PAGE
            if first <= region.offset < segment.offset + segment.filesz:
                return region.start - (region.offset - first) - (segment.vaddr & -_PAGE)
    return None


def _none(reason: str) -> Notice:
    return Notice(
        code="go.no-memory-numbers",
        text=f"the Go runtime's memory numbers are left out: {reason}",
        fix="report this with the Go version and how the program was linked",
    )
