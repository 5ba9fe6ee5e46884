"""Takes the pictures of the README anew: ``python -m browser.screenshots`` (make screenshots).

From the captures in ``tests/data``, which were measured on the sample.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from browser.conftest import find_chromium
from cgoleak.capture import open_capture
from cgoleak.pipeline import analyse
from support.neutral import unpacked
from support.scenario_reports import rendered

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SHOTS = (
    ("report-light.png", "cache-and-leak", "light", 1280, 1180, ""),
    ("report-dark.png", "held-and-leak", "dark", 1280, 900, ""),
    ("report-sites.png", "cpp-leak", "light", 1280, 900, "#sites"),
    ("report-narrow.png", "c-leak", "light", 390, 780, ""),
)


def main() -> int:
    """Open each report and take its picture."""
    program = find_chromium()
    if program is None:
        sys.stderr.write("no Chromium found: make browser\n")
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, scenario, theme, width, height, address in SHOTS:
            path = Path(folder) / f"{scenario}.html"
            report = analyse(open_capture(unpacked(scenario, Path(folder))))
            path.write_bytes(rendered(report))
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            page.goto(path.as_uri() + address)
            page.wait_for_selector("html[data-ready]")
            page.wait_for_timeout(200)
            page.screenshot(path=IMAGES / name)
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
