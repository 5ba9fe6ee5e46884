"""The direct calls of some functions within one file: which instructions lead there.

code ranges + addresses → calls. x86-64 writes a near call's distance in the last four bytes of the
instruction (``call``, ``jmp`` and the conditional jumps, Intel SDM vol. 2): such bytes are looked
for, and each find is proven by disassembling its function from the start on. What is reached any
other way, by a register or from a table, is not found.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from cgoleak.symbols.code.code_ranges import CodeRange
    from cgoleak.symbols.elf.object_file import ObjectFile

__all__ = ["Call", "FoundCalls", "find_calls"]

_BRANCH: Final = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]")
"""Opcodes before a distance of 32 bits: call, jmp, jcc."""
_DISTANCE: Final = struct.Struct("<i")
_MOST_REACHED: Final = 20_000
"""Functions behind the callees: more than an allocator has."""


class Call(NamedTuple):
    """One instruction: where its distance is written, and where it leads; start of its function."""

    operand: int
    target: int
    function: int


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """What was found.

    Attributes:
        calls: ascending.
        own: how many more there are in the callees themselves and in what only they call.
        unproven: how many more look like one, in code that cannot be disassembled so far.
    """

    calls: tuple[Call, ...]
    own: int
    unproven: int


def find_calls(
    obj: ObjectFile, ranges: Sequence[CodeRange], targets: Container[int], entries: Iterable[int]
) -> FoundCalls:
    """Find the calls of ``targets`` from within the ranges.

    ``entries`` are functions whose inner calls are their own business: the targets, and what
    belongs to them. So are the calls of a function that nobody but such functions calls.
    """
    code = _Code(obj, ranges)
    found = [call for span in ranges for call in code.branches(span, targets)]
    private = code.private({at for at in entries if at in code.by_start}, found)
    outer = [call for call in found if call.function not in private]
    proven = code.proven(outer)
    return FoundCalls(tuple(proven), len(found) - len(outer), len(outer) - len(proven))


class _Code:
    def __init__(self, obj: ObjectFile, ranges: Sequence[CodeRange]) -> None:
        self._obj = obj
        self._ranges = ranges
        self.by_start = {span.start: span for span in ranges}

    def branches(self, span: CodeRange, targets: Container[int]) -> Iterator[Call]:
        """Yield what looks like a branch to one of the targets."""
        view = self._obj.view(span.start, span.end - span.start)
        last = len(view) - _DISTANCE.size
        for match in _BRANCH.finditer(view):
            at = match.end()
            if at <= last:
                operand = span.start + at
                target = operand + _DISTANCE.size + _DISTANCE.unpack_from(view, at)[0]
                if target in targets:
                    yield Call(operand, target, span.start)

    def private(self, entries: set[int], found: Iterable[Call]) -> set[int]:
        """Return the entries, and each function that only they and their like call.

        Looked at only as far as it matters: among the functions that call the targets.
        """
        reached = self._reached(entries)
        if reached.isdisjoint({call.function for call in found} - entries):
            return entries
        callers: dict[int, set[int]] = {}
        for span in self._ranges:
            for call in self.branches(span, reached):
                callers.setdefault(call.target, set()).add(span.start)
        private = set(reached)
        while public := {
            at for at in private - entries if not callers.get(at, set()) - {at} <= private
        }:
            private -= public
        return private

    def _reached(self, entries: set[int]) -> set[int]:
        reached, fresh = set(entries), list(entries)
        while fresh and len(reached) < _MOST_REACHED:
            for call in self.branches(self.by_start[fresh.pop()], self.by_start):
                if call.target not in reached:
                    reached.add(call.target)
                    fresh.append(call.target)
        return reached

    def proven(self, calls: Sequence[Call]) -> list[Call]:
        """Keep those that are instructions, in the order of their addresses."""
        kept = []
        for start in sorted({call.function for call in calls}):
            inside = {call.operand: call for call in calls if call.function == start}
            for address, size, mnemonic, operands in self._instructions(self.by_start[start]):
                call = inside.get(address + size - _DISTANCE.size)
                if call is not None and _leads_to(mnemonic, operands, call.target):
                    kept.append(call)
        return kept

    def _instructions(self, span: CodeRange) -> Iterator[tuple[int, int, str, str]]:
        """Yield address, size, mnemonic and operands, as far as they make sense."""
        code = bytes(self._obj.view(span.start, span.end - span.start))
        found: Iterator[tuple[int, int, str, str]] = _disassembler().disasm_lite(code, span.start)
        return found


def _leads_to(mnemonic: str, operands: str, target: int) -> bool:
    # A call may have a prefix: "bnd call"; a linker pads one with addr32 where a slot was read.
    word = mnemonic.rsplit(maxsplit=1)[-1]
    return (word == "call" or word.startswith("j")) and operands == f"{target:#x}"


@cache
def _disassembler() -> Any:
    import capstone  # type: ignore[import-untyped]  # noqa: PLC0415  (few targets need it)

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
