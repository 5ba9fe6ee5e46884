from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cgoleak.symbols.elf.object_file import ObjectFile
from cgoleak.symbols.go.buildinfo import GoBuildInfo, read_build_info
from support.elf_build import without_section_headers
from support.go_build import STRIPPED_PIE

if TYPE_CHECKING:
    from support.go_build import WorkerBuilds

pytestmark = pytest.mark.native


def test_version_module_and_settings_survive_stripping(workers: WorkerBuilds) -> None:
    info = read_build_info(ObjectFile.open(workers.get(*STRIPPED_PIE)))

    assert info is not None
    assert info.release is not None
    assert info.release[0] == workers.minor
    assert (info.path, info.module) == ("example.com/worker", "example.com/worker")
    assert info.uses_cgo is True
    if workers.minor >= 20:  # older releases do not record these
        assert info.settings["-buildmode"] == "pie"
        assert info.settings["-ldflags"] == "-s -w"


def test_build_information_is_found_without_section_headers(workers: WorkerBuilds) -> None:
    content = workers.get(*STRIPPED_PIE).read_bytes()

    bare = read_build_info(ObjectFile(without_section_headers(content)))

    assert bare is not None
    assert bare == read_build_info(ObjectFile(content))


def test_a_file_that_is_not_go_has_none() -> None:
    path = shutil.which("true")
    assert path is not None

    assert read_build_info(ObjectFile.open(path)) is None


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("go1.27.3", (27, 3)),
        ("go1.21", (21, 0)),
        ("go1.26.8 X:nodwarf5", (26, 8)),
        ("devel go1.28-2a6cdd0 Tue", (28, 0)),
        ("devel +2a6cdd0", None),
    ],
)
def test_the_release_is_read_from_every_way_a_version_is_told(
    version: str, release: tuple[int, int] | None
) -> None:
    assert GoBuildInfo(version).release == release
    assert GoBuildInfo(version).uses_cgo is None
