"""Snapshots → series: what each site had at each instant."""

from __future__ import annotations

from cgoleak.ledger.ledger import Ledger
from cgoleak.ledger.series import Series

__all__ = ["Ledger", "Series"]
