"""The command line with a pipeline that attaches to nothing."""

from __future__ import annotations

import sys

import pytest

import cgoleak
from cgoleak import watching
from support.fake_pipeline import FakePipeline

USERS = ("attach", "run", "watch", "report", "check", "inputs", "diff")


def _forget():
    for name in USERS:
        sys.modules.pop(f"cgoleak.cli.{name}", None)


@pytest.fixture
def pipeline(monkeypatch):
    fake = FakePipeline()
    module = fake.module()
    monkeypatch.setitem(sys.modules, "cgoleak.pipeline", module)
    monkeypatch.setattr(cgoleak, "pipeline", module, raising=False)
    monkeypatch.setattr(watching, "watch", fake.watch)
    _forget()
    yield fake
    _forget()
