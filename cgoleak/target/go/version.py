"""How Go spells its version: text → number."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["go_minor"]

# go1.N[.P], then end, a space ("go1.25.5 X:boringcrypto") or a vendor's word ("go1.24.1-fips").
# Development, beta and rc versions have no fixed layout.
_VERSION: Final = re.compile(
    r"go1\.(\d{1,3})(?:\.\d{1,4})?(?: .*|[-+](?!devel)[A-Za-z].*)?\Z", re.DOTALL
)


def go_minor(version: str) -> int | None:
    """Give N of a released ``go1.N``, or None for development versions and other text."""
    found = _VERSION.match(version)
    return int(found[1]) if found else None
