"""Watching from outside: the sheet over time, restarts followed, nothing put into the process."""

from __future__ import annotations

from cgoleak.watching.loop import watch
from cgoleak.watching.plan import WatchPlan, WatchProgress, WatchState

__all__ = ["WatchPlan", "WatchProgress", "WatchState", "watch"]
