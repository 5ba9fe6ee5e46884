"""Text of /proc/PID/smaps, mapping by mapping."""

from __future__ import annotations

from typing import Final

__all__ = ["a_mapping", "smaps_text"]

_FIELDS: Final = (
    *("Size", "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean"),
    *("Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "KSM"),
    *("LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb"),
    *("Private_Hugetlb", "Swap", "SwapPss", "Locked"),
)


def a_mapping(
    start: int,
    end: int,
    path: str = "",
    *,
    perms: str = "rw-p",
    offset: int = 0,
    inode: int = 0,
    **kib: int,
) -> str:
    """Give the lines of one mapping; ``Rss=12`` and the like in KiB, all others 0."""
    head = f"{start:x}-{end:x} {perms} {offset:08x} {'fe:00' if inode else '00:00'} {inode}"
    lines = [f"{head:<73}{path}" if path else f"{head} "]
    lines += [f"{name + ':':<16}{kib.get(name, 0):>8} kB" for name in _FIELDS]
    return "\n".join([*lines, "THPeligible:           0", "VmFlags: rd wr mr mw me ac sd"]) + "\n"


def smaps_text(*mappings: str) -> bytes:
    return "".join(mappings).encode()
