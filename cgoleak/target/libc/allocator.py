"""Which malloc a process uses: mapped files → the allocator's name.

The dynamic loader binds ``malloc`` to the first object that defines it: the executable, what is
preloaded, then the libraries. An allocator that is linked into the executable, or whose file was
given another name, is known by words that its own messages and symbols have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cgoleak.errors import SymbolError
from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.target.gobinary import contains
from cgoleak.target.kernel.procfs import PROC, exe_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cgoleak.target.gobinary import Libc
    from cgoleak.target.kernel.procfs import Region

__all__ = ["allocator_in", "find_allocator"]

_BY_FILE: Final = (
    ("jemalloc", re.compile(r"libjemalloc[\w.-]*\.so")),
    ("tcmalloc", re.compile(r"libtcmalloc[\w.-]*\.so")),
    ("mimalloc", re.compile(r"libmimalloc[\w.-]*\.so")),
    ("snmalloc", re.compile(r"libsnmalloc[\w.-]*\.so")),
)
_BY_WORDS: Final = (
    ("jemalloc", (b"<jemalloc>",)),  # before each of its messages (malloc_io.c)
    ("mimalloc", (b"mimalloc: ",)),  # the same (options.c)
    ("tcmalloc", (b"MallocExtension",)),  # its interface, gperftools' and Google's
)


def find_allocator(
    pid: int, regions: Iterable[Region], libc: Libc | None, root: Path = PROC
) -> str | None:
    """Name the malloc in use; None without a C library.

    What defines ``malloc`` and is none of those we know (an interposer, as a rule) is passed over.
    """
    regions = tuple(regions)
    for path in _with_code(regions):
        base = path.rpartition("/")[2]
        for name, pattern in _BY_FILE:
            if pattern.match(base):
                return name
    for file in _candidates(pid, regions, libc, root):
        found = allocator_in(file)
        if found is not None:
            return found
    return libc.kind if libc else None


def allocator_in(path: Path) -> str | None:
    """Name the allocator that a file brings with it; None if it has none, or none that we know."""
    try:
        obj = ObjectFile.open(path)
        symbols = obj.symbols if obj.is_static_program else obj.dynamic.symbols
        if symbols.find("malloc") is None:
            return None
        return next((name for name, words in _BY_WORDS if contains(path, words)), None)
    except (SymbolError, OSError):
        return None


def _candidates(
    pid: int, regions: tuple[Region, ...], libc: Libc | None, root: Path
) -> Iterator[Path]:
    """Yield the executable, then each library but libc, through the target's own links."""
    exe = exe_path(pid, root)
    yield root / str(pid) / "exe"
    for path in _with_code(regions):
        if path != exe and (libc is None or path != libc.path):
            yield root / str(pid) / "root" / path.lstrip("/")


def _with_code(regions: Iterable[Region]) -> tuple[str, ...]:
    """List each mapped file with code once, in order of address."""
    found = {region.path: None for region in regions if region.is_file and region.executable}
    return tuple(found)
