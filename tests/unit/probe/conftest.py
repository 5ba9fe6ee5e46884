"""The probe's tables, made for a test."""

from __future__ import annotations

import pytest

from support.probe_tables import MadeTables


@pytest.fixture
def made():
    made = MadeTables()
    yield made
    made.close()


@pytest.fixture
def tables(made):
    tables = made.open()
    yield tables
    tables.close()
