"""What a terminal sends → names of keys, as ``render.live.view`` knows them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["keys_in"]

_SEQUENCE: Final = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])")
_PART: Final = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*|O)?")
_NAMES: Final = {
    b"A": "up",
    b"B": "down",
    b"H": "home",
    b"F": "end",
    b"M": "enter",
    b"1~": "home",
    b"4~": "end",
    b"5~": "page up",
    b"6~": "page down",
    b"7~": "home",
    b"8~": "end",
}
"""Behind ``ESC [`` or ``ESC O``: xterm's keys, and those of the Linux console."""
_CONTROLS: Final = {0x0D: "enter", 0x0A: "enter", 0x0E: "down", 0x10: "up"}


def keys_in(sent: bytes, *, waited: bool = False) -> tuple[tuple[str, ...], bytes]:
    """Give the keys, and the bytes of one that has not come whole.

    A lone escape may be the key or the begin of a sequence: it is the key if nothing came for a
    while (``waited``). Sequences that mean no key here are skipped.
    """
    keys = []
    at = 0
    while at < len(sent):
        byte = sent[at]
        if byte == 0x1B:
            if (found := _SEQUENCE.match(sent, at)) is not None:
                at = found.end()
                if (name := _NAMES.get(found[0][2:])) is not None:
                    keys.append(name)
                continue
            if _PART.fullmatch(sent, at) is not None and not waited:
                return tuple(keys), sent[at:]
            keys.append("escape")
        elif byte in _CONTROLS:
            keys.append(_CONTROLS[byte])
        elif 0x20 <= byte < 0x7F:
            keys.append(chr(byte))
        at += 1
    return tuple(keys), b""
