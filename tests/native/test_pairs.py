"""The entries of probes/pairs.c: who is called through one sees and returns what he would alone.

The driver calls them as a slot would; the functions behind them take every kind of argument.
"""

from __future__ import annotations

import platform
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.native_build import (
    NATIVE,
    PROBES,
    compile_driver,
    run_driver,
    sanitizer_flags,
    tool,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native

TESTS = (
    "arguments",
    "results",
    "counting",
    "both",
    "off",
    "many",
    "threads",
    "edge",
    "early",
    "exempt",
)


def build(where: Path, *flags: str) -> Path:
    """Build driver and thrower; ``-fno-optimize-sibling-calls`` keeps the tests' own frames."""
    thrower = where / "thrower.o"
    subprocess.run(
        [tool("c++"), "-O2", "-fPIC", *flags, "-c", str(NATIVE / "thrower.cc"), "-o", str(thrower)],
        check=True,
        timeout=120,
    )
    return compile_driver(
        NATIVE / "pairs_driver.c",
        where / "driver",
        *flags,
        "-fno-omit-frame-pointer",
        str(thrower),
        "-lstdc++",
    )


@pytest.fixture(scope="module", params=["plain", "address,undefined", "thread"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pairs")
    return build(where, *sanitizer_flags(request.param, where))


@pytest.mark.parametrize("test", TESTS)
def test_a_function_called_through_an_entry_is_called_as_it_would_be_alone(
    driver: Path, test: str
) -> None:
    assert run_driver(driver, test) == "right\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="g++ of this machine")
def test_an_exception_goes_through_the_entry_and_destroys_on_its_way(driver: Path) -> None:
    assert run_driver(driver, "exception") == "right\n"


def test_on_the_other_machine_arguments_and_results_are_kept_as_well(tmp_path: Path) -> None:
    emulator = tool("qemu-aarch64")
    driver = compile_driver(
        NATIVE / "pairs_driver.c", tmp_path / "driver", "-static", cc="aarch64-linux-gnu-gcc"
    )

    for test in ("arguments", "results", "counting", "both", "off"):
        done = subprocess.run(
            [emulator, str(driver), test], capture_output=True, text=True, check=False, timeout=120
        )
        assert (test, done.stdout, done.stderr) == (test, "right\n", "")
    assert (PROBES / "pairs.c").exists()
