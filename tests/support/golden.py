"""Golden files: what a person has looked at and found good.

``CGOLEAK_UPDATE_GOLDEN=1 pytest …`` writes them anew; look at the difference before you commit.
"""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"


def assert_golden(name: str, content: bytes) -> None:
    """Compare with ``tests/golden/NAME``."""
    path = GOLDEN / name
    if os.environ.get("CGOLEAK_UPDATE_GOLDEN"):
        path.write_bytes(content)
    assert content.decode() == path.read_text("utf-8")
