"""What the live tests share: the sample, built once, and how much of it is to be run.

``CGOLEAK_LIVE`` is ``short`` (the default) or ``full``: all scenarios, each for its whole window.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support.go_programs import go_commands, missing_tools
from support.sample import build_sample

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def is_full() -> bool:
    chosen = os.environ.get("CGOLEAK_LIVE", "short")
    assert chosen in {"short", "full"}, f"CGOLEAK_LIVE={chosen}: want short or full"
    return chosen == "full"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with worker, load, supervisor and libwatermark.so, built by the first Go."""
    if missing_tools() is not None:
        pytest.skip(str(missing_tools()))
    return build_sample(tmp_path_factory.mktemp("sample"), go_commands()[0])
