"""The head of ``.eh_frame_hdr``: where ``.eh_frame`` is.

Layout: LSB core specification 4.1, 10.6.2: version 1, three encodings, then the pointer. Encodings
are those of DW_EH_PE (10.5.1).
"""

from __future__ import annotations

from typing import Final

__all__ = ["eh_frame_pointer"]

_SIZES: Final = {
    0x00: (8, False),
    0x03: (4, False),
    0x04: (8, False),
    0x0B: (4, True),
    0x0C: (8, True),
}
"""Low four bits of an encoding: absptr, udata4, udata8, sdata4, sdata8."""


def eh_frame_pointer(header: memoryview, vaddr: int) -> int | None:
    """Return the address of ``.eh_frame`` as the header at ``vaddr`` gives it, or None."""
    if len(header) < 12 or header[0] != 1:
        return None
    encoding = header[1]
    size, signed = _SIZES.get(encoding & 0x0F, (0, False))
    if not size:
        return None
    value = int.from_bytes(header[4 : 4 + size], "little", signed=signed)
    match encoding & 0x70:
        case 0:
            return value
        case 0x10:  # DW_EH_PE_pcrel: from the pointer itself
            return vaddr + 4 + value
        case 0x30:  # DW_EH_PE_datarel: from the header
            return vaddr + value
        case _:
            return None
