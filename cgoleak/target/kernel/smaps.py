"""One pass over ``/proc/PID/smaps``: what is resident, mapping by mapping.

pid → ``Mapping`` rows, ascending. The kernel walks the page tables of the process for it, so that
the numbers of one pass belong together; the text of each mapping is made separately, so that a
process that maps meanwhile may show a mapping twice or not at all (``seq_file``): such rows are
left out. The fields are those of ``__show_smap`` in ``fs/proc/task_mmu.c``.

Two thousand mappings are 1.5 MB of text, for which the kernel needs 18 ms. It has the same lines in
the same order for every mapping, which is why columns are cut out of it rather than lines read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from cgoleak.target.kernel.procfs import PROC, Region, parse_maps, process_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Mapping", "SmapsReader"]

_KIB: Final = 1024
_FIELDS: Final = (
    b"Rss:",
    b"Pss:",
    b"Shared_Clean:",
    b"Shared_Dirty:",
    b"Anonymous:",
    b"LazyFree:",
    b"AnonHugePages:",
    b"Swap:",
)
_NUMBER: Final = re.compile(rb" +([0-9]{1,15}) kB\Z")
# Each row begins with its line of maps; all other lines begin with a capital letter.
_HEADER: Final = re.compile(rb"[0-9a-f]{1,16}-[0-9a-f]{1,16} ")


class Mapping(NamedTuple):
    """One mapping and what of it is in RAM; bytes.

    Attributes:
        pss: ``rss`` with each shared page divided by the number of its users.
        shared: part of ``rss`` that other processes have mapped too.
        anonymous: part of ``rss`` that does not belong to a file.
        lazy_free: part of ``rss`` given up with MADV_FREE.
        huge_pages: part of ``anonymous`` in transparent huge pages.
        swap: of this mapping, in swap space; not part of ``rss``.
    """

    region: Region
    rss: int
    pss: int
    shared: int
    anonymous: int
    lazy_free: int
    huge_pages: int
    swap: int


class SmapsReader:
    """Reads the mappings of one process again and again."""

    def __init__(self, pid: int, root: Path = PROC) -> None:
        self._pid = pid
        self._root = root
        self._regions: dict[bytes, Region] = {}

    def read(self) -> tuple[Mapping, ...]:
        """Read all rows; empty for zombies and kernel threads.

        Raises:
            NoSuchProcess: the process is gone.
            NotPermitted: the process is another user's and we may not look.
        """
        return self.parse(process_file(self._pid, "smaps", self._root))

    def parse(self, text: bytes) -> tuple[Mapping, ...]:
        """Give the rows of a smaps file; torn, foreign and overlapping ones are left out."""
        lines = text.split(b"\n")
        if not lines[-1]:
            lines.pop()
        rows = _alike(lines)
        if rows is None:
            rows = _one_by_one(lines)
        regions, self._regions = self._regions, {}
        found = []
        before = 0
        for header, values in rows:
            region = regions.get(header) or next(parse_maps(header), None)
            if region is None or not before <= region.start < region.end:
                continue
            self._regions[header] = region
            before = region.end
            found.append(_mapping(region, values))
        return tuple(found)


def _alike(lines: list[bytes]) -> list[tuple[bytes, list[int]]] | None:
    """Cut the columns out of rows that all have the lines of the first; None if they have not."""
    stride = next((i for i, line in enumerate(lines) if i and _HEADER.match(line)), len(lines))
    places = {line.partition(b" ")[0]: i for i, line in enumerate(lines[:stride])}
    if not lines or len(lines) % stride or b"Rss:" not in places:
        return None
    headers = lines[::stride]
    if not all(map(_HEADER.match, headers)):
        return None
    columns = []
    for name in _FIELDS:
        if name not in places:
            columns.append([0] * len(headers))
            continue
        column = lines[places[name] :: stride]
        begin = len(name)
        if any(line[:begin] != name or line[-3:] != b" kB" for line in column):
            return None
        try:
            columns.append([int(line[begin:-3]) for line in column])
        except ValueError:
            return None
    return [(header, list(row)) for header, *row in zip(headers, *columns, strict=True)]


def _one_by_one(lines: list[bytes]) -> list[tuple[bytes, list[int]]]:
    """Read rows of any shape; those without an Rss are left out."""
    rows: list[tuple[bytes, dict[bytes, int]]] = []
    for line in lines:
        if _HEADER.match(line):
            rows.append((line, {}))
            continue
        name, colon, rest = line.partition(b":")
        number = _NUMBER.match(rest)
        if colon and number and rows:
            rows[-1][1].setdefault(name + colon, int(number[1]))
    return [
        (header, [fields.get(name, 0) for name in _FIELDS])
        for header, fields in rows
        if b"Rss:" in fields
    ]


def _mapping(region: Region, values: list[int]) -> Mapping:
    rss, pss, clean, dirty, anonymous, lazy_free, huge_pages, swap = values
    # No part is larger than the mapping, whatever the text says.
    largest = (region.end - region.start) // _KIB
    rss = max(0, min(rss, largest))
    shared = clean + dirty
    if not max(pss, shared, anonymous, lazy_free, huge_pages) <= rss or min(values) < 0:
        pss, shared, anonymous, lazy_free, huge_pages = (
            max(0, min(part, rss)) for part in (pss, shared, anonymous, lazy_free, huge_pages)
        )
    return Mapping(
        region,
        rss * _KIB,
        pss * _KIB,
        shared * _KIB,
        anonymous * _KIB,
        lazy_free * _KIB,
        huge_pages * _KIB,
        max(0, min(swap, largest)) * _KIB,
    )
