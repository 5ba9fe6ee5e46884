"""The report as one HTML file that needs nothing else: no network and no other file.

Report → page. ``document`` puts it together, ``sheet`` draws the balance, ``timechart`` the chart,
``sites`` the findings, ``payload`` is what the page's scripts read.
"""

from __future__ import annotations

from cgoleak.render.html.document import HtmlRenderer

__all__ = ["HtmlRenderer"]
