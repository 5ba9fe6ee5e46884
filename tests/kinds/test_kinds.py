"""Kinds that no other live test has, without the stress: `make kinds` has all of them."""

from __future__ import annotations

import os
import platform

import pytest

from cgoleak.target.kernel import procfs
from kinds.kinds import KINDS
from kinds.measuring import measured
from support.go_programs import missing_tools

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools())),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the kinds are those of x86-64"),
]

OTHERS = [
    "je_malloc inside",
    "container: usual seccomp profile",
    pytest.param(
        "container: ended by memfd_create",
        marks=pytest.mark.skipif(
            os.geteuid() != 0 or bool(procfs.status(os.getpid()).seccomp),
            reason="needs root, and no filter around us, to read a filter",
        ),
    ),
    "32-bit",
]


@pytest.mark.parametrize("name", OTHERS)
def test_a_kind_is_as_it_should_be(name):
    (kind,) = (one for one in KINDS if one.name == name)

    row = measured(kind, stress=False)

    if row.attach.startswith("skipped"):
        pytest.skip(row.attach)
    assert row.wrong == []
