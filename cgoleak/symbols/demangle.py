"""C++ names as people write them.

``__cxa_demangle`` of the system's C++ runtime, found when first needed; without one the names stay
as they are. It is not safe on every input: a name of 200 characters can stand for one of gigabytes,
since each substitution may double what came before. So the length of the result is estimated first.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache, lru_cache
from typing import Final

__all__ = ["demangle"]

_LIBRARIES: Final = ("libstdc++.so.6", "libc++abi.so.1")
_MAX_MANGLED: Final = 16_384
_MAX_DEMANGLED: Final = 1 << 24
_TOKENS: Final = re.compile(r"S[0-9A-Z]*_|T[0-9]*_|\d+|[NIJXFLZ]|E")
_OPENING: Final = frozenset("NIJXFLZ")


@lru_cache(maxsize=65_536)
def demangle(name: str) -> str:
    """Return the C++ name behind a mangled one; any other name, or one too long, as it is."""
    if not name.startswith("_Z") or len(name) > _MAX_MANGLED or not name.isascii():
        return name
    if _longest_result(name) > _MAX_DEMANGLED:
        return name
    translate = _translator()
    return (translate(name) if translate is not None else None) or name


def _longest_result(name: str) -> int:
    """Estimate from above how long the result may be.

    A substitution or template parameter stands for something that was there before: count it as
    the longest thing closed so far, and what a pair of brackets holds as the sum.
    """
    longest, open_sizes, at = 16, [0], 2
    while (token := _TOKENS.search(name, at)) is not None:
        text, at = token[0], token.end()
        if text.isdigit():
            size = min(int(text[:6]), len(name))
            at += size
            open_sizes[-1] += size
        elif text in _OPENING:
            open_sizes.append(0)
        elif text == "E":
            closed = open_sizes.pop() if len(open_sizes) > 1 else 0
            open_sizes[-1] += closed + 4
        else:
            open_sizes[-1] += longest + 4
        longest = max(longest, open_sizes[-1])
        if longest > _MAX_DEMANGLED:
            break
    return sum(open_sizes) + len(name)


class _Translator:
    """The demangler of a C++ runtime, and the ``free`` that its results need."""

    def __init__(self, library: str) -> None:
        """Load it.

        Raises:
            OSError: this machine has no such library.
            AttributeError: it has no demangler.
        """
        self._demangle = getattr(ctypes.CDLL(library), "__cxa_demangle")
        self._demangle.argtypes = (ctypes.c_char_p, *[ctypes.c_void_p] * 3)
        self._demangle.restype = ctypes.c_void_p
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = (ctypes.c_void_p,)
        self._free.restype = None

    def __call__(self, mangled: str) -> str | None:
        """Return the name, or None if it is not a mangled one."""
        found = self._demangle(mangled.encode(), None, None, None)
        if not found:
            return None
        try:
            return ctypes.string_at(found).decode("utf-8", "replace")
        finally:
            self._free(found)


@cache
def _translator() -> _Translator | None:
    """Load the C++ runtime; None if this machine has none."""
    for library in _LIBRARIES:
        try:
            return _Translator(library)
        except (OSError, AttributeError):
            continue
    return None
