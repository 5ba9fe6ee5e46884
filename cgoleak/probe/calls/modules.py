"""The ELF files that a process has mapped, each with its load bias.

memory map → modules; the objects themselves are cached by ``symbols.elf``. A module that cannot be
opened is left out and named in a notice: its slots are not taken and its frames not followed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgoleak.errors import SymbolError
from cgoleak.model.capture import Module
from cgoleak.model.ids import Address
from cgoleak.model.notice import Notice
from cgoleak.probe.wire.layout import MappedModule
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.kernel.procfs import PROC, Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.symbols.elf.headers import Segment

__all__ = ["LoadedModule", "find_modules", "mapped_modules", "open_mapped"]

_PAGE: Final = 4096
_LIBC_MARK: Final = "__libc_start_main"


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """An ELF file in the target's memory.

    Attributes:
        bias: added to the file's virtual addresses.
        regions: its mappings, ascending.
    """

    path: str
    bias: int
    regions: tuple[Region, ...]
    obj: ObjectFile

    @property
    def start(self) -> int:
        """Lowest mapped address."""
        return self.regions[0].start

    @property
    def end(self) -> int:
        """One past the highest mapped address."""
        return self.regions[-1].end

    @property
    def name(self) -> str:
        """Base name of the file."""
        return os.path.basename(self.path)  # noqa: PTH119  (a name in the target, not a path here)

    @property
    def is_loader(self) -> bool:
        """True for the dynamic loader, whose own slots are not touched."""
        return self.name.startswith(("ld-linux", "ld-musl", "ld.so", "ld64.so", "ld-2."))

    def defines(self, name: str) -> int | None:
        """Return where it defines a function for others: a static program, for itself."""
        obj = self.obj
        symbols = obj.symbols if obj.is_static_program else obj.dynamic.symbols
        found = symbols.find(name)
        return found[0] + self.bias if found and found[0] else None

    @property
    def brings_malloc(self) -> bool:
        """True if it defines a malloc for others, or for itself, and is not the C library."""
        if self.obj.is_static_program:
            return self.defines("malloc") is not None
        exported = self.obj.dynamic.symbols.find("malloc")
        return exported is not None and not self.is_libc and not self.is_loader

    @property
    def is_libc(self) -> bool:
        """True for the C library."""
        return self.obj.dynamic.symbols.find(_LIBC_MARK) is not None

    def is_code(self, address: int) -> bool:
        """Tell whether an address lies in the module's executable part."""
        return any(r.executable and r.start <= address < r.end for r in self.regions)

    @property
    def is_settled(self) -> bool:
        """Tell whether the loader has done with the data: mapped, relocated, and RELRO closed.

        glibc maps the whole file with the first segment's rights, then each segment over it, then
        relocates, then closes RELRO (``_dl_map_segments``, ``_dl_protect_relro``). In between a
        page's rights are not what they will be.
        """
        closed = [self._pages(s) for s in self.obj.segments if s.type == "PT_GNU_RELRO"]
        for segment in self.obj.segments:
            if segment.type != "PT_LOAD" or not segment.is_writable or not segment.filesz:
                continue
            low = (segment.vaddr & -_PAGE) + self.bias
            high = segment.vaddr + segment.filesz + self.bias
            shift = (segment.offset & -_PAGE) - low
            for region in self.regions:
                if region.end <= low or region.start >= high:
                    continue
                in_relro = any(a <= region.start and region.end <= b for a, b in closed)
                if region.offset != region.start + shift or in_relro == ("w" in region.perms):
                    return False
        return True

    def _pages(self, segment: Segment) -> tuple[int, int]:
        """Give the whole pages that are closed for PT_GNU_RELRO (``_dl_protect_relro``)."""
        start = segment.vaddr + self.bias
        return start & -_PAGE, (start + segment.memsz) & -_PAGE

    @property
    def described(self) -> Module:
        """The value that goes into the capture."""
        return Module(
            path=self.path,
            build_id=self.obj.build_id,
            bias=self.bias,
            start=Address(self.start),
            end=Address(self.end),
        )


def find_modules(
    pid: int, regions: Iterable[Region], root: Path = PROC
) -> tuple[tuple[LoadedModule, ...], tuple[Notice, ...]]:
    """Return the modules, ascending by address, and what could not be opened."""
    modules: list[LoadedModule] = []
    notices: list[Notice] = []
    for group in _groups(regions):
        if not any(r.executable for r in group):
            continue
        try:
            obj = open_mapped(pid, group[0], root)
        except SymbolError as exc:
            notices.append(
                Notice(
                    code="probe.module-unreadable",
                    text=f"{group[0].path}: {exc.cause or exc.what}; its calls are not seen",
                    fix="keep the file in place while the process runs",
                )
            )
            continue
        bias = _bias(group, obj)
        if bias is not None:
            regions = _image(group, obj, bias)
            modules.append(LoadedModule(group[0].path, bias, regions, obj))
    return tuple(modules), tuple(notices)


def open_mapped(pid: int, region: Region, root: Path = PROC) -> ObjectFile:
    """Open the very file that is mapped: by path if that is still the same inode, else by the map.

    Raises:
        SymbolError: it is gone, or not an ELF file.
    """
    at_path = Path(f"{root}/{pid}/root{region.path}")
    try:
        same = not region.deleted and at_path.stat().st_ino == region.inode
    except OSError:
        same = False
    if same:
        return ObjectFile.open(at_path)
    # Needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; finds deleted and replaced files as well.
    return ObjectFile.open(root / str(pid) / "map_files" / f"{region.start:x}-{region.end:x}")


def _groups(regions: Iterable[Region]) -> Iterator[tuple[Region, ...]]:
    """Yield the mappings of each file; a file that is mapped twice as a module is there twice."""
    found: dict[tuple[str, int], list[list[Region]]] = {}
    for region in regions:
        # Not the probe itself, and not what a program compiles while it runs (liborc): such code is
        # written by a second mapping. A loader's mappings are private.
        if not region.is_file or region.is_shared or region.path.startswith("/memfd:cgoleak-"):
            continue
        runs = found.setdefault((region.device, region.inode), [])
        # Offset 0 begins a new copy, unless it lies right behind another offset 0: a tiny file's
        # second segment. (The loader puts one copy right below another: dlmopen.)
        if not runs or (
            region.offset == 0 and (region.start != runs[-1][-1].end or runs[-1][-1].offset)
        ):
            runs.append([])
        runs[-1].append(region)
    for runs in found.values():
        for run in runs:
            yield tuple(run)


def _bias(group: tuple[Region, ...], obj: ObjectFile) -> int | None:
    for region in group:
        for segment in obj.segments:
            if segment.type != "PT_LOAD" or not segment.filesz:
                continue
            first = segment.offset & -_PAGE
            if first <= region.offset < segment.offset + segment.filesz:
                return region.start - (region.offset - first) - (segment.vaddr & -_PAGE)
    return None


def _image(group: tuple[Region, ...], obj: ObjectFile, bias: int) -> tuple[Region, ...]:
    """Leave out what is elsewhere: the program may map a piece of the file to read it."""
    loads = [s for s in obj.segments if s.type == "PT_LOAD"]
    low = min((s.vaddr & -_PAGE) + bias for s in loads)
    high = max(s.vaddr + s.memsz + bias for s in loads)
    return tuple(r for r in group if low <= r.start < high)


def mapped_modules(modules: Iterable[LoadedModule]) -> tuple[MappedModule, ...]:
    """Tell the probe where each module's unwind tables lie in memory."""
    return tuple(_mapped(m) for m in modules if m.obj.eh_frame is not None)


def _mapped(module: LoadedModule) -> MappedModule:
    row = MappedModule(start=module.start, end=module.end)
    frame, header = module.obj.eh_frame, module.obj.eh_frame_hdr
    if frame is not None:
        row.frame, row.frame_end = _clipped(module, frame)
    if header is not None:
        row.hdr, row.hdr_end = _clipped(module, header)
    return row


def _clipped(module: LoadedModule, span: tuple[int, int]) -> tuple[int, int]:
    """Give the part of a table that is mapped and readable; an empty range if its start is not."""
    start = span[0] + module.bias
    for region in module.regions:
        if region.start <= start < region.end and "r" in region.perms:
            return start, min(start + span[1], region.end)
    return 0, 0
