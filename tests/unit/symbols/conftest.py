from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.elf_build import PROGRAM_CPP, build, build_library
from support.go_build import WorkerBuilds, go_programs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def cpp_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("-O2", "-g", "-gdwarf-4")
    return build(tmp_path_factory.mktemp("cpp"), "program++", PROGRAM_CPP, *flags)


@pytest.fixture(scope="session", params=go_programs() or ["missing"])
def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> WorkerBuilds:
    if request.param == "missing":
        pytest.skip("there is no Go on the PATH")
    return WorkerBuilds(tmp_path_factory.mktemp("go"), request.param)
