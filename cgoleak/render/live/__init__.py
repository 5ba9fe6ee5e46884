"""The live view: a report while it grows, as text for a terminal of any size."""

from __future__ import annotations

from cgoleak.render.live.frame import Drawn, Moment, frame
from cgoleak.render.live.view import Order, Pane, Seen, View, press

__all__ = ["Drawn", "Moment", "Order", "Pane", "Seen", "View", "frame", "press"]
