"""The reader of the target's memory, under the name that the probe's modules know it by."""

from __future__ import annotations

from cgoleak.target.memory import Memory

__all__ = ["Memory"]
