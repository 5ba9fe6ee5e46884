"""Named integers and strings, so that an address is not taken for a stack id."""

from __future__ import annotations

from typing import NewType

__all__ = ["Address", "SiteKey", "StackId"]

Address = NewType("Address", int)
"""A virtual address in the target."""

StackId = NewType("StackId", int)
"""Index of a stack in the probe's table, from 1; 0 stands for blocks whose stack was dropped."""

SiteKey = NewType("SiteKey", str)
"""Identity of allocating code: made of names, so that it survives a rebuild and line shifts."""
