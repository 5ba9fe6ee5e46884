"""Addresses of the Go runtime's variables: from the symbol table, else from the machine code.

Executable and function table in, the file's own virtual addresses out (the caller adds the load
bias). ``strip`` and ``-ldflags=-s`` remove the names of variables, but function names survive in
gopclntab, and the functions still mention the variables:

- Methods of the global structures get their receiver in the first argument register, so that a
  call is ``LEA RAX,[RIP+d]`` (arm64: ``ADRP X0`` and ``ADD X0,X0,#d``) shortly before the ``CALL``.
  Every call votes for an address, and only a clear majority counts.
- ``gcPaceScavenger`` stores into ``scavenge.gcPercentGoal`` and ``scavenge.memoryLimitGoal``, which
  are the first fields: the lowest address it takes is that of ``scavenge``.
- ``mProf_FlushLocked`` begins its loop by loading ``mbuckets``.

Found for 1.19 to 1.27, executables and PIE. Instructions are matched as bytes: every pattern is
bounded by the function it is looked for in.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.target.go.layout import AMD64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.symbols.elf.object_file import ObjectFile
    from cgoleak.symbols.go.pclntab import GoFunction

__all__ = ["GoGlobals", "locate_globals"]


@dataclass(frozen=True, slots=True)
class GoGlobals:
    """Addresses of runtime variables, each None where it could not be found.

    ``located`` is true if at least one came from machine code instead of a symbol;
    ``profile_rate`` (``runtime.MemProfileRate``) never does.
    """

    gc_controller: int | None
    memstats: int | None
    mheap: int | None
    scavenge: int | None
    mbuckets: int | None
    located: bool = False
    profile_rate: int | None = None

    def moved(self, bias: int) -> GoGlobals:
        """Give the addresses in a process that loaded the file at ``bias``."""

        def move(address: int | None) -> int | None:
            return None if address is None else address + bias

        return GoGlobals(
            gc_controller=move(self.gc_controller),
            memstats=move(self.memstats),
            mheap=move(self.mheap),
            scavenge=move(self.scavenge),
            mbuckets=move(self.mbuckets),
            located=self.located,
            profile_rate=move(self.profile_rate),
        )


_RECEIVERS: Final = {
    "gc_controller": "runtime.(*gcControllerState).",
    "memstats": "runtime.(*consistentHeapStats).",  # memstats.heapStats, at offset 0 from 1.19
    "mheap": "runtime.(*mheap).",
}
_MAX_FUNCTION: Final = 64 * 1024
_MAX_RUNTIME: Final = 16 * 1024 * 1024
_MIN_VOTES: Final = 4
_NEAR: Final = 40

# 48 8D 05 rel32: LEA RAX,[RIP+rel32]. E8 rel32: CALL.
_LEA_RAX: Final = re.compile(rb"\x48\x8d\x05(?=(.{4}))", re.DOTALL)
# 48/4C 8D modrm: LEA r64,[RIP+rel32]; 48/4C 8B modrm: MOV r64,[RIP+rel32]; modrm is 00 reg 101.
_LEA_ANY: Final = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})", re.DOTALL)
_MOV_ANY: Final = re.compile(rb"[\x48\x4c]\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})", re.DOTALL)


def locate_globals(
    exe: ObjectFile, functions: Iterable[GoFunction], machine: str = AMD64
) -> GoGlobals:
    """Find the runtime's variables; what neither symbols nor code tell stays None.

    Code is read on amd64 only for ``scavenge`` and ``mbuckets``, and on both machines for the rest.
    """
    symbols = GoGlobals(
        gc_controller=_address(exe, "runtime.gcController"),
        memstats=_address(exe, "runtime.memstats"),
        mheap=_address(exe, "runtime.mheap_"),
        scavenge=_address(exe, "runtime.scavenge"),
        mbuckets=_address(exe, "runtime.mbuckets"),
        profile_rate=_address(exe, "runtime.MemProfileRate"),
    )
    if symbols.gc_controller and symbols.memstats and symbols.mheap:
        return symbols
    runtime = [f for f in functions if f.name.startswith("runtime.")]
    found = _elect(exe, runtime, machine)
    return GoGlobals(
        gc_controller=symbols.gc_controller or found["gc_controller"],
        memstats=symbols.memstats or found["memstats"],
        mheap=symbols.mheap or found["mheap"],
        scavenge=symbols.scavenge
        or _rip_target(exe, runtime, "runtime.gcPaceScavenger", _LEA_ANY, machine),
        mbuckets=symbols.mbuckets
        or _rip_target(exe, runtime, "runtime.mProf_FlushLocked", _MOV_ANY, machine),
        located=True,
        profile_rate=symbols.profile_rate,
    )


def _address(exe: ObjectFile, name: str) -> int | None:
    symbol = exe.symbol(name)
    return symbol[0] if symbol else None


def _elect(exe: ObjectFile, runtime: list[GoFunction], machine: str) -> dict[str, int | None]:
    receivers = {
        function.start: name
        for function in runtime
        for name, prefix in _RECEIVERS.items()
        if function.name.startswith(prefix)
    }
    votes: dict[str, Counter[int]] = {name: Counter() for name in _RECEIVERS}
    calls = _amd64_calls if machine == AMD64 else _arm64_calls
    for address, code in _bodies(exe, runtime):
        for callee, receiver in calls(code, address):
            name = receivers.get(callee)
            if name is not None:
                votes[name][receiver] += 1
    return {name: _winner(counted) for name, counted in votes.items()}


def _winner(votes: Counter[int]) -> int | None:
    """Give the address that had most votes, if they were many and nearly unanimous."""
    top = votes.most_common(1)
    if not top or top[0][1] < _MIN_VOTES or top[0][1] * 4 < votes.total() * 3:
        return None
    return top[0][0]


def _bodies(exe: ObjectFile, functions: list[GoFunction]) -> Iterator[tuple[int, bytes]]:
    left = _MAX_RUNTIME
    for function in functions:
        size = min(function.end - function.start, _MAX_FUNCTION, left)
        if size <= 0:
            continue
        code = exe.read(function.start, size)
        if code:
            left -= len(code)
            yield function.start, code


def _amd64_calls(code: bytes, address: int) -> Iterator[tuple[int, int]]:
    """Yield (callee, value of RAX) for every CALL soon after a ``LEA RAX,[RIP+d]``."""
    places = list(_LEA_RAX.finditer(code))
    ends = [lea.start() for lea in places[1:]] + [len(code)]
    for lea, next_lea in zip(places, ends, strict=False):
        at = lea.start() + 7
        receiver = address + at + int.from_bytes(lea[1], "little", signed=True)
        end = min(at + _NEAR, next_lea, len(code) - 4)
        call = code.find(b"\xe8", at, end)
        while call >= 0:
            rel = int.from_bytes(code[call + 1 : call + 5], "little", signed=True)
            yield address + call + 5 + rel, receiver
            call = code.find(b"\xe8", call + 1, end)


def _arm64_calls(code: bytes, address: int) -> Iterator[tuple[int, int]]:
    """Yield (callee, value of X0) for every BL at most 8 words after ADRP X0; ADD X0,X0,#d."""
    words = memoryview(code[: len(code) & ~3]).cast("I")
    for i in range(len(words) - 2):
        page, add = words[i], words[i + 1]
        # ADRP X0 is 1 immlo:2 10000 immhi:19 00000; ADD X0,X0,#imm12 is 0x91000000 | imm12 << 10.
        if page & 0x9F00001F != 0x90000000 or add & 0xFFC003FF != 0x91000000:
            continue
        offset = (page >> 29 & 3) | (page >> 5 & 0x7FFFF) << 2
        offset -= (offset & 0x100000) << 1
        receiver = ((address + 4 * i) & ~0xFFF) + (offset << 12) + (add >> 10 & 0xFFF)
        for j in range(i + 2, min(i + 9, len(words))):
            if words[j] >> 26 == 0x25:  # BL imm26
                rel = words[j] & 0x3FFFFFF
                rel -= (rel & 0x2000000) << 1
                yield address + 4 * j + 4 * rel, receiver


def _rip_target(
    exe: ObjectFile,
    functions: list[GoFunction],
    name: str,
    pattern: re.Pattern[bytes],
    machine: str,
) -> int | None:
    """Give the lowest of the addresses that a function takes, or the first that it loads."""
    if machine != AMD64:
        return None
    named = [function for function in functions if function.name == name]
    targets = [
        address + match.end() + int.from_bytes(match[1], "little", signed=True)
        for address, code in _bodies(exe, named[:1])
        for match in pattern.finditer(code)
    ]
    return min(targets, default=None) if pattern is _LEA_ANY else next(iter(targets), None)
