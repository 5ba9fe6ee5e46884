"""Where a started thread has its memory: far from all that is mapped, and will be soon."""

from __future__ import annotations

from cgoleak.probe.entry.borrow import free_room
from cgoleak.probe.wire.layout import BORROW_BYTES
from cgoleak.target.kernel.procfs import Region


def region(start: int, end: int) -> Region:
    return Region(start, end, "r--p", 0, "00:00", 0, "")


def test_room_is_chosen_far_from_everything() -> None:
    low, high = 0x1000_0000, 0x7F00_0000_0000
    regions = [region(0x40_0000, low), region(high, (1 << 47) - 4096)]

    chosen = {free_room(regions) for _ in range(50)}

    distance = (high - low) // 8
    assert all(low + distance < at < high - distance - BORROW_BYTES for at in chosen)
    assert all(at % 4096 == 0 for at in chosen)
    assert len(chosen) > 40
