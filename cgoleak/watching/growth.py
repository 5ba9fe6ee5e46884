"""When native memory grows fast enough to look at it with hooks: samples → yes or no."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cgoleak.ledger.series import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgoleak.model.snapshot import GoMemory, ProcessMemory, Snapshot

__all__ = ["GrowthAlarm", "NativeGauge", "native_bytes"]

_WINDOW_NS: Final = 60_000_000_000
_SAMPLES: Final = 10


def native_bytes(process: ProcessMemory, go: GoMemory | None) -> int:
    """Give anonymous memory and swap less all that Go's runtime has taken; files are left out.

    Good for changes only. Go's numbers count pages that were never touched, several MiB of its
    metadata among them, so that this is too low by as much, and below zero in a small process; what
    Go allocates first and touches later shows as a passing fall.
    """
    native = process.anonymous + process.swap
    if go is not None:
        native -= go.heap_in_use + go.heap_free + go.stacks_in_use + go.metadata + go.stacks_sys
    return native


class NativeGauge:
    """Tells native memory at every reading: as the last full sheet had it, and the change since."""

    def __init__(self) -> None:
        self._apart = 0

    def read(self, snapshot: Snapshot) -> int | None:
        """Give the bytes in the C allocator's hands and in mappings of the program; None if unseen.

        Until the first full sheet it is what ``native_bytes`` says.
        """
        if snapshot.process is None:
            return None
        estimate = native_bytes(snapshot.process, snapshot.go)
        if snapshot.native is not None:
            self._apart = snapshot.native.heap + snapshot.native.anonymous - estimate
        return max(0, estimate + self._apart)


class GrowthAlarm:
    """Rings when the samples of a sliding minute, at least ten, grow by ``bytes_per_second``.

    A single step up is no growth: it must rise from each quarter of that time to the next, by a
    quarter of the rate at least.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._samples: deque[tuple[int, int]] = deque()

    def add(self, at_ns: int, size: int) -> bool:
        """Add a sample; true if the alarm rings."""
        self._samples.append((at_ns, size))
        while len(self._samples) > _SAMPLES and self._samples[0][0] < at_ns - _WINDOW_NS:
            self._samples.popleft()
        if len(self._samples) < _SAMPLES:
            return False
        times, sizes = zip(*self._samples, strict=True)
        if fit(times, sizes).per_second < self._rate:
            return False
        quarters = [_centre(times, sizes, part) for part in range(4)]
        return all(
            size - before >= self._rate / 4 * (at - at_before) / 1e9
            for (at_before, before), (at, size) in pairwise(quarters)
        )

    def reset(self) -> None:
        """Forget the samples: another process, or a gap."""
        self._samples.clear()


def _centre(times: Sequence[int], sizes: Sequence[int], part: int) -> tuple[float, float]:
    """Give the mean time and the mean size of one quarter of the samples."""
    begin, end = len(times) * part // 4, len(times) * (part + 1) // 4
    return sum(times[begin:end]) / (end - begin), sum(sizes[begin:end]) / (end - begin)
