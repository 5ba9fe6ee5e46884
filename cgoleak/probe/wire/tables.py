"""The probe's tables, mapped here as well: shared memory → snapshots and stacks.

The memory belongs to both sides, and stays readable after the target has died.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import math
import mmap
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgoleak.capture.format import ADDRESS_LIMIT
from cgoleak.errors import ProtocolMismatch
from cgoleak.model.capture import RawStack
from cgoleak.model.ids import Address, StackId
from cgoleak.model.snapshot import ProbeCounters, StackCounts
from cgoleak.probe.wire.layout import (
    FAMILIES,
    FUNCTIONS,
    LEVEL0_BITS,
    MAGIC,
    MAX_FRAMES,
    MAX_MODULES,
    MAX_SLOTS,
    MAX_STACKS,
    PAIR_FUNCTIONS,
    REGIONS,
    SHARDS,
    STACK_FAMILY_SHIFT,
    STACK_GAP,
    STACK_TRUNCATED,
    VERSION,
    WEIGHT_ONE,
    Ages,
    FamilyRow,
    MappedModule,
    Pair,
    Row,
    Shard,
    Shared,
    Slot,
    SlotState,
    Stack,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgoleak.probe.wire.artifact import Artifact

__all__ = ["FoundSlot", "Tables"]

_ROW: Final = struct.Struct("<8Q")
_AGES: Final = struct.Struct("<11Q")
_PAIR: Final = struct.Struct("<2Q")
_REGION: Final = struct.Struct("<4Q")
# CG_OWNER_BITS, CG_STACK_BITS and CG_TICK_BITS of layout.h
_OWNER_BITS: Final = 20
_STACK_BITS: Final = 17
_TICK_BITS: Final = 28
_IS_HANDLE: Final = 1 << 63
_CLEARLY: Final = 2
"""Standard errors by which an estimate must exceed 0 in order to be more than chance."""
_F_OFD_SETLK: Final = 37
_WAY_IN_NS: Final = 3.0
"""From the slot into a hook and out of it, which a hook cannot time (docs/decisions)."""
_BLOCK_BYTES: Final = 16
_REGION_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class FoundSlot:
    """A slot: where it is, what it holds, what it leads to.

    Attributes:
        function: number of what it leads to: a ``Function``, or one behind them (``pairs``).
        prot: protection of its page, as for mprotect.
        lazy: the loader has not bound it yet.
    """

    address: int
    original: int
    function: int
    prot: int
    module: str
    lazy: bool = False


class Tables:
    """Reads and, before the hooks go in, fills the shared memory."""

    def __init__(self, fd: int, artifact: Artifact) -> None:
        """Map the memfd; ``fd`` is ours from now on.

        Raises:
            ProtocolMismatch: it is not laid out as we know it.
        """
        self._fd = fd
        self._library = artifact.library
        wrong = _why_unusable(fd)
        if wrong is not None:
            os.close(fd)
            raise ProtocolMismatch(
                "the probe in the target is of another version",
                cause=wrong,
                fix="restart the target, or use the cgoleak that attached before",
            )
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.shared = Shared.from_buffer(self._map)
        self._base = ctypes.addressof(self.shared)
        self._stacks_read = 0
        self._tick_before = 0
        self._entered = (0, 0)
        self._rows: dict[int, int] = {}
        self._handle_stacks: set[int] = set()
        self._flags_read = 1
        self._estimated = 0  # births and frees of sampled blocks in the last counts

    def lock(self) -> None:
        """Hold a lock for as long as we live: the probe looks at it, and leaves when it is gone."""
        # struct flock of 64-bit Linux: type, whence, start, length, pid.
        whole = struct.pack("<hh4xqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
        fcntl.fcntl(self._fd, _F_OFD_SETLK, whole)

    def close(self) -> None:
        """Unmap; the tables die when the target has unmapped them too."""
        if self._fd >= 0:
            del self.shared
            # An error on its way up may hold a frame that looks at it: it is unmapped with that.
            with contextlib.suppress(BufferError):
                self._map.close()
            os.close(self._fd)
            self._fd = -1

    # --- filling -----------------------------------------------------------------------------

    def write_modules(self, modules: Iterable[MappedModule]) -> int:
        """Fill the module table that is not in use; return how many found room."""
        other = 1 - (self.shared.modules_now & 1)
        at = self.shared.modules_at[other]
        rows = sorted(modules, key=lambda m: int(m.start))[:MAX_MODULES]
        for index, module in enumerate(rows):
            start = at + index * ctypes.sizeof(MappedModule)
            self._map[start : start + ctypes.sizeof(MappedModule)] = bytes(module)
        self.shared.modules_count[other] = len(rows)
        return len(rows)

    def add_slots(self, slots: Iterable[FoundSlot]) -> tuple[int, int]:
        """Enter slots to be taken; return the range of indexes that holds them all.

        An address keeps its row: a library that comes and goes ten thousand times needs no more
        room than one that stays. What was entered before and has not been taken is not wanted any
        more, though its row may lie within the range.
        """
        for index in range(*self._entered):
            if self._slot(index).state == SlotState.WANTED:
                self._slot(index).state = SlotState.GONE
        count = self.shared.slots_count
        first, last = MAX_SLOTS, 0
        for slot in slots:
            index = self._rows.get(slot.address, count)
            if index == MAX_SLOTS:
                continue
            self._rows[slot.address] = index
            row = self._slot(index)
            row.address = slot.address
            row.original = slot.original
            row.function = slot.function
            row.prot = slot.prot
            row.state = SlotState.WANTED
            first, last = min(first, index), max(last, index + 1)
            count = max(count, last)
        self.shared.slots_count = count
        self._entered = min(first, last), last
        return self._entered

    def write_pair(self, index: int, pair: Pair) -> None:
        """Say what a function of the user's pairs does; before its slots are taken."""
        at = self.shared.pairs_at + index * ctypes.sizeof(Pair)
        self._map[at : at + ctypes.sizeof(Pair)] = bytes(pair)

    def real(self, function: int) -> int:
        """Return the address of what a slot leads to, by the number in it."""
        if function < FUNCTIONS:
            return int(self.shared.real[function])
        at = self.shared.pairs_at + (function - FUNCTIONS) * ctypes.sizeof(Pair)
        return int(Pair.from_buffer_copy(self._map, at).real)

    def slots(self) -> Iterator[Slot]:
        """Yield the slots as the probe sees them."""
        for index in range(min(self.shared.slots_count, MAX_SLOTS)):
            yield self._slot(index)

    def _slot(self, index: int) -> Slot:
        return Slot.from_buffer(self._map, self.shared.slots_at + index * ctypes.sizeof(Slot))

    # --- reading -----------------------------------------------------------------------------

    @property
    def stack_count(self) -> int:
        """Stacks that were entered, and stack 0 before them."""
        return min(int(self.shared.stacks_count), MAX_STACKS - 1) + 1

    def new_stacks(self) -> Iterator[RawStack]:
        """Yield the stacks that have come since the last call."""
        count = self.stack_count
        if self._stacks_read == 0:
            yield RawStack(StackId(0), (), complete=False)
            self._stacks_read = 1
        for index in range(self._stacks_read, count):
            at = self.shared.stacks_at + index * ctypes.sizeof(Stack)
            row = Stack.from_buffer(self._map, at)
            if not row.ready:  # being written this moment: next time
                count = index
                break
            addresses, sound = self._addresses(row)
            yield RawStack(
                StackId(index),
                addresses,
                complete=sound and not row.flags & (STACK_TRUNCATED | STACK_GAP),
                family=row.flags >> STACK_FAMILY_SHIFT,
            )
        self._stacks_read = count

    def _addresses(self, row: Stack) -> tuple[tuple[Address, ...], bool]:
        """Read a stack from the pool, and whether all of it can be true.

        The target can write here too. An address that no process has reads 0, as a gap.
        """
        at = self.shared.pool_at + 8 * row.first
        room = max(0, len(self._map) - at) // 8
        words = min(row.count, MAX_FRAMES, room)
        found = struct.unpack_from(f"<{words}Q", self._map, at) if words else ()
        addresses = tuple(Address(a if a < ADDRESS_LIMIT else 0) for a in found)
        return addresses, words == row.count and all(a < ADDRESS_LIMIT for a in found)

    def counts(self) -> dict[StackId, StackCounts]:
        """Return the totals of every stack that has any.

        ``old_blocks`` of a stack are those born before the previous call's moment.
        """
        count = self.stack_count
        now = self.shared.tick
        tick_ns = self.shared.tick_ms * 1_000_000
        weighted = self._weighted(count)
        self._estimated = sum(_blocks(row[0]) + _blocks(row[2]) for row in weighted.values())
        rows = (Row * count)()
        ages = (Ages * count)()
        # Blocks first: what dies in between is then freed in the rows but was still seen, which
        # errs by a moment and never shows more old blocks than there were.
        self._library.cgoleak_scan_blocks(self._fd, self._base, ages, count, self._tick_before)
        self._library.cgoleak_sum_rows(self._fd, self._base, rows, count)
        self._tick_before = now
        found: dict[StackId, StackCounts] = {}
        for index, (row, age) in enumerate(
            zip(_ROW.iter_unpack(bytes(rows)), _AGES.iter_unpack(bytes(ages)), strict=True)
        ):
            born, born_bytes, freed, freed_bytes, cleaned, lives, longest, _ = row
            _, _, oldest, old, samples, _, old_sampled, *variances = age
            if more := weighted.get(index):
                born += _blocks(more[0])
                born_bytes += more[1]
                freed += _blocks(more[2])
                freed_bytes += more[3]
                cleaned += _blocks(more[4])
                lives += more[5]
                longest = max(longest, more[6])
            if not born:
                continue
            found[StackId(index)] = StackCounts(
                born_blocks=born,
                born_bytes=born_bytes,
                freed_blocks=freed,
                freed_bytes=freed_bytes,
                cleaned_blocks=cleaned,
                lifetime_ns_sum=lives * tick_ns,
                lifetime_ns_max=longest * tick_ns,
                oldest_ns=max(0, now - oldest) * tick_ns if oldest else 0,
                old_blocks=old + _blocks(old_sampled),
                samples=samples,
                blocks_error=math.isqrt((variances[0] | variances[1] << 64) // WEIGHT_ONE),
                bytes_error=math.isqrt(variances[2] | variances[3] << 64),
            )
        return found

    def handle_stacks(self) -> set[int]:
        """Return the stacks that made handles, and no blocks."""
        if self.shared.families:
            for index in range(self._flags_read, self.stack_count):
                at = self.shared.stacks_at + index * ctypes.sizeof(Stack)
                row = Stack.from_buffer(self._map, at)
                if not row.ready:
                    break
                if row.flags >> STACK_FAMILY_SHIFT:
                    self._handle_stacks.add(index)
                self._flags_read = index + 1
        return self._handle_stacks

    def mapping_stacks(self) -> set[StackId]:
        """Return the stacks of the mappings that the program has now (``struct cg_region``).

        A call place makes either mappings or blocks: its return address tells which it calls. The
        target can write here too: numbers that no stack can have are left out.
        """
        return {stack for _, _, stack in self._mappings() if stack < MAX_STACKS}

    def families(self) -> tuple[FamilyRow, ...]:
        """Return what happened to the handles of each family."""
        rows = (FamilyRow * FAMILIES).from_buffer_copy(self._map, self.shared.families_at)
        return tuple(rows[: min(self.shared.families, FAMILIES)])

    def _weighted(self, count: int) -> dict[int, tuple[int, ...]]:
        """Return the rows of sampled blocks, where there are any."""
        if not self.shared.epoch:
            return {}
        rows = (Row * count)()
        self._library.cgoleak_weighted_rows(self._fd, self._base, rows, count)
        return {index: row for index, row in enumerate(_ROW.iter_unpack(bytes(rows))) if row[0]}

    def totals(self) -> tuple[int, int, int]:
        """Return events, bytes outstanding and blocks outstanding: cheap, for a display."""
        count = self.stack_count
        rows = (Row * count)()
        self._library.cgoleak_sum_rows(self._fd, self._base, rows, count)
        words = memoryview(rows).cast("B").cast("Q")
        born, born_bytes, freed, freed_bytes = (sum(words[i::8]) for i in range(4))
        for index in self.handle_stacks():
            if index < count:
                born -= words[8 * index]
                born_bytes -= words[8 * index + 1]
                freed -= words[8 * index + 2]
                freed_bytes -= words[8 * index + 3]
        events = born + freed + self._passed()
        for row in self._weighted(count).values():
            born += _blocks(row[0])
            born_bytes += row[1]
            freed += _blocks(row[2])
            freed_bytes += row[3]
        return events, born_bytes - freed_bytes, born - freed

    def births(self) -> list[tuple[int, int]]:
        """Return blocks and bytes that were born at each stack."""
        count = self.stack_count
        rows = (Row * count)()
        self._library.cgoleak_sum_rows(self._fd, self._base, rows, count)
        found = {at: (row[0], row[1]) for at, row in enumerate(_ROW.iter_unpack(bytes(rows)))}
        for at, row in self._weighted(count).items():
            blocks, size = found[at]
            found[at] = blocks + _blocks(row[0]), size + row[1]
        return [one for one in found.values() if one[0]]

    def _passed(self) -> int:
        """Return the events since sampling began, without frees of blocks from before it."""
        return int(self.shared.passed_births + self.shared.passed_frees)

    def event_cost(self) -> tuple[int, float]:
        """Return how many events were timed, and how many nanoseconds these took together.

        Of few events the sum may be below zero: what reading the clock takes is taken off each.
        """
        shared = self.shared
        if not shared.clock_per_ms:
            return 0, 0.0
        events = int(shared.timed_events)
        inside = shared.timed_clock * 1e6 / shared.clock_per_ms
        return events, inside + events * _WAY_IN_NS

    def rates(self) -> tuple[int, ...]:
        """Return the bytes per sample of each time that it was set, the newest last."""
        return tuple(self.shared.rates[1 : min(self.shared.epoch, len(self.shared.rates) - 1) + 1])

    def counters(self, counts: dict[StackId, StackCounts]) -> ProbeCounters:
        """Return what the probe says of itself; ``counts`` are the last ones."""
        shards = (Shard * SHARDS).from_buffer(self._map, self.shared.shards_at)
        unmatched = sum(s.unmatched_frees for s in shards)
        unseen = sum(s.unseen_frees for s in shards)
        handles = self.handle_stacks()
        blocks = (c for stack, c in counts.items() if stack not in handles)
        followed = sum(c.born_blocks + c.freed_blocks for c in blocks) - self._estimated
        weighted = self._weighted(self.stack_count).values()
        # Of all frees, those that are not of blocks from before; nobody looks at each of them.
        freed, squares = sum(_blocks(row[2]) for row in weighted), sum(row[7] for row in weighted)
        late = self.shared.passed_frees - freed
        return ProbeCounters(
            events=max(0, followed + self._passed() + unmatched - unseen),
            dropped_blocks=sum(s.dropped_blocks for s in shards),
            dropped_stacks=sum(s.dropped_stacks for s in shards),
            unmatched_frees=unmatched + (late if late > _CLEARLY * math.isqrt(squares) else 0),
            truncated_stacks=0,
            table_bytes=os.fstat(self._fd).st_blocks * 512,
        )

    def outstanding(self) -> Iterator[tuple[int, int, StackId]]:
        """Yield address, size and stack of every block, for a process that stands still.

        A microsecond a block: for a last look, not for every snapshot.
        """
        for level in range(min(self.shared.levels_used, len(self.shared.levels_at))):
            at = self.shared.levels_at[level]
            for raw in self._data(at, at + (_BLOCK_BYTES << LEVEL0_BITS + level)):
                for who, what in _PAIR.iter_unpack(raw):
                    if who and what:
                        stack = StackId(who & (1 << _STACK_BITS) - 1)
                        yield who >> _OWNER_BITS << 3, (what & ~_IS_HANDLE) >> _TICK_BITS, stack
        yield from self._mappings()

    def _mappings(self) -> Iterator[tuple[int, int, StackId]]:
        at = self.shared.regions_at
        for raw in self._data(at, at + REGIONS * _REGION_BYTES):
            for start, size, stack, _ in _REGION.iter_unpack(raw):
                if start > 1:
                    yield start, size, StackId(stack)

    def _data(self, at: int, end: int) -> Iterator[bytes]:
        """Yield the parts of the sparse file that were ever written."""
        while at < end:
            try:
                begin = os.lseek(self._fd, at, os.SEEK_DATA)
            except OSError:  # ENXIO: none from here on
                return
            if begin >= end:
                return
            begin = max(begin, at)
            at = min(os.lseek(self._fd, begin, os.SEEK_HOLE), end)
            yield self._map[begin:at]

    def walks(self) -> tuple[int, int]:
        """Return how many stacks were walked and how many unwind rules looked up."""
        shards = (Shard * SHARDS).from_buffer(self._map, self.shared.shards_at)
        return sum(s.walks for s in shards), sum(s.rule_misses for s in shards)


def _blocks(weight: int) -> int:
    """Round a sum of weights to whole blocks."""
    return (weight + WEIGHT_ONE // 2) // WEIGHT_ONE


def _why_unusable(fd: int) -> str | None:
    """Say why a memfd cannot be read as tables; None if every part lies within it."""
    size = os.fstat(fd).st_size
    raw = os.pread(fd, ctypes.sizeof(Shared), 0)
    if len(raw) < ctypes.sizeof(Shared):
        return f"its tables have {len(raw)} bytes"
    shared = Shared.from_buffer_copy(raw)
    if shared.magic != MAGIC or shared.version != VERSION:
        return f"wire layout {shared.version}, {VERSION} here"
    parts = [
        *((at, MAX_MODULES * ctypes.sizeof(MappedModule)) for at in shared.modules_at),
        (shared.slots_at, MAX_SLOTS * ctypes.sizeof(Slot)),
        (shared.shards_at, SHARDS * ctypes.sizeof(Shard)),
        (shared.rows_at, SHARDS * MAX_STACKS * ctypes.sizeof(Row)),
        (shared.weighted_at, MAX_STACKS * ctypes.sizeof(Row)),
        (shared.stacks_at, MAX_STACKS * ctypes.sizeof(Stack)),
        (shared.regions_at, REGIONS * _REGION_BYTES),
        (shared.pairs_at, PAIR_FUNCTIONS * ctypes.sizeof(Pair)),
        (shared.families_at, FAMILIES * ctypes.sizeof(FamilyRow)),
        *((at, _BLOCK_BYTES << LEVEL0_BITS + i) for i, at in enumerate(shared.levels_at)),
    ]
    if any(at % 8 or at + length > size for at, length in parts):
        return "a table lies outside the shared memory"
    return None
