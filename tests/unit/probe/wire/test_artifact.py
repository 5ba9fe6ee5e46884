"""The compiled probe as it is found, and as it is refused."""

from __future__ import annotations

import pytest

from cgoleak.errors import ProbeError, ProtocolMismatch
from cgoleak.probe.wire.artifact import load_artifact
from cgoleak.probe.wire.layout import MAGIC, VERSION, Header
from support.elf_build import build


def test_the_probe_of_this_package_is_of_this_version():
    artifact = load_artifact()

    header = Header.in_dll(artifact.library, "cgoleak_header_at")
    assert (header.magic, header.version) == (MAGIC, VERSION)
    assert artifact.build == header.build != 0
    assert artifact.header_vaddr % 8 == 0


def test_a_probe_that_was_not_built_is_told_with_a_fix(tmp_path):
    with pytest.raises(ProbeError) as error:
        load_artifact(tmp_path / "x86_64.so")

    assert error.value.what == "the probe is not built"
    assert "make install" in error.value.fix


def test_a_file_that_is_no_library_is_no_probe(tmp_path):
    (tmp_path / "probe.so").write_text("not a library")

    with pytest.raises(ProbeError):
        load_artifact(tmp_path / "probe.so")


@pytest.mark.native
def test_a_probe_without_its_header_is_damaged(tmp_path):
    path = build(tmp_path, "probe.so", "int nothing;", "-shared", "-fPIC")

    with pytest.raises(ProbeError) as error:
        load_artifact(path)

    assert error.value.what == "the probe is damaged"


@pytest.mark.native
def test_a_probe_of_another_version_is_refused(tmp_path):
    source = f"unsigned long long cgoleak_header_at[128] = {{{MAGIC:#x}ull, {VERSION + 1}}};"
    path = build(tmp_path, "probe.so", source, "-shared", "-fPIC")

    with pytest.raises(ProtocolMismatch) as error:
        load_artifact(path)

    assert f"wire layout {VERSION + 1}" in error.value.cause
