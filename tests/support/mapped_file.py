"""A file of the compiler as the loader maps it: its module, and its pieces of memory."""

from __future__ import annotations

from pathlib import Path

from cgoleak.probe.calls.modules import LoadedModule
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel.procfs import Region

__all__ = ["mapped"]


def mapped(
    path: Path | str, content: bytes | None = None, *, bias: int = 0
) -> tuple[LoadedModule, dict[int, bytes]]:
    """Give the module, and its memory by address."""
    obj = ObjectFile(content or Path(path).read_bytes(), str(path))
    regions, pieces = [], {}
    for segment in obj.segments:
        if segment.type == "PT_LOAD":
            start = (segment.vaddr & -4096) + bias
            end = ((segment.vaddr + segment.memsz + 4095) & -4096) + bias
            perms = "r-xp" if segment.is_executable else "rw-p"
            offset = segment.offset & -4096
            regions.append(Region(start, end, perms, offset, "fe:00", 7, str(path)))
            pieces[start] = bytes(obj.at_offset(offset, segment.offset + segment.filesz - offset))
    return LoadedModule(str(path), bias, tuple(regions), obj), pieces
