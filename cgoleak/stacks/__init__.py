"""Addresses with names → sites: which stacks are the same allocating code."""

from __future__ import annotations

from cgoleak.stacks.join import join
from cgoleak.stacks.site import Site, find_sites
from cgoleak.stacks.trim import fold_plumbing

__all__ = ["Site", "find_sites", "fold_plumbing", "join"]
