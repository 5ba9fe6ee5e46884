"""The stacks that a live measurement records are those that gdb sees of the same calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.comparing import compare, missing
from oracle.programs import running
from stress.target import missing as missing_builders

if TYPE_CHECKING:
    from pathlib import Path

_REASON = missing_builders() or missing()
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(_REASON is not None, reason=str(_REASON)),
]


@pytest.mark.parametrize("program", ["worker", "callbacks"])
def test_every_stack_is_gdbs_to_the_last_frame(program: str, tmp_path: Path) -> None:
    with running(program, tmp_path) as pid:
        found = compare(pid, tmp_path, calls=60, seconds=40)

    assert found.wrong == []
    assert found.same == found.stacks > 2
    assert found.go_frames > found.stacks
    if program == "callbacks":
        assert found.callbacks > 0
        assert found.outer > 0
