"""Pages that a direct call can reach: jumps from there to the probe's hooks.

A call's distance has 32 bits, and the probe's copy lies anywhere. So the probe maps a page beside
the module, which has a jump for each hook; it stays in the target as the copy does, and the next
attach finds it again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cgoleak.target.kernel.memory import Memory
    from cgoleak.target.kernel.procfs import Region

__all__ = ["NEAR_BYTES", "NEAR_NAME", "NearPage", "find_near_pages", "free_places", "jumps_of"]

NEAR_NAME: Final = "/memfd:cgoleak-near"
NEAR_BYTES: Final = 4096
_MAGIC: Final = b"cgnear1\0"
_JUMP: Final = struct.Struct("<6sQ2x")
"""``jmp *0(%rip)``, and the address behind it."""
_JUMP_CODE: Final = b"\xff\x25\0\0\0\0"
_REACH: Final = (1 << 31) - (1 << 20)
_MARGIN: Final = 0x10000
"""Left free between a page and the module, where there is room."""
_PAGE: Final = 4096
_LOWEST: Final = Path("/proc/sys/vm/mmap_min_addr")


@dataclass(frozen=True, slots=True)
class NearPage:
    """A page with a jump to each of these addresses, in their order."""

    start: int
    hooks: tuple[int, ...]

    @property
    def content(self) -> bytes:
        """What the page holds."""
        jumps = b"".join(_JUMP.pack(_JUMP_CODE, hook) for hook in self.hooks)
        return _MAGIC.ljust(_JUMP.size, b"\0") + jumps

    def jump_to(self, hook: int) -> int:
        """Give the address of the jump to a hook."""
        return self.start + _JUMP.size * (1 + self.hooks.index(hook))

    def is_in(self, memory: Memory) -> bool:
        """Tell whether the target holds it."""
        return memory.read(self.start, len(self.content)) == self.content

    def reaches(self, spans: Iterable[tuple[int, int]]) -> bool:
        """Tell whether calls from anywhere in these ranges can lead here."""
        return all(abs(at - self.start) < _REACH for span in spans for at in span)


def find_near_pages(regions: Iterable[Region]) -> tuple[int, ...]:
    """Return the addresses of such pages."""
    return tuple(r.start for r in regions if r.path == NEAR_NAME)


def free_places(regions: Sequence[Region], span: tuple[int, int]) -> Iterator[int]:
    """Yield addresses in reach of ``span`` where nothing is mapped, the nearest first.

    Below it first: above an executable its heap grows (brk), below a stack that.
    """
    lowest = max(int(_LOWEST.read_text()), _PAGE) if _LOWEST.exists() else 0x10000
    ends = [lowest, *(r.end for r in regions)]
    starts = [*(r.start for r in regions), 1 << 47]
    names = ["", *(r.path for r in regions), ""]
    below, above = [], []
    for end, start, left, right in zip(ends, starts, names, names[1:], strict=False):
        room = start - end
        if room < 3 * _PAGE or left == "[heap]" or right == "[stack]":
            continue
        margin = min(_MARGIN, room // 2) & -_PAGE
        if start <= span[0]:
            below.append(start - margin)
        elif end >= span[1]:
            above.append(min(start, end + _REACH) - margin)
    near = [*sorted(below, reverse=True), *sorted(above)]
    return (at for at in near if NearPage(at, ()).reaches([span]))


def jumps_of(pages: Mapping[int, bytes]) -> frozenset[int]:
    """Return the addresses of the jumps that pages of such content have."""
    return frozenset(
        start + at
        for start, content in pages.items()
        if content.startswith(_MAGIC)
        for at in range(_JUMP.size, len(content) - _JUMP.size + 1, _JUMP.size)
        if content[at : at + len(_JUMP_CODE)] == _JUMP_CODE
    )
