"""A real browser, started once; without one these tests are skipped, and say why."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """CGOLEAK_CHROMIUM, or the first that is on the PATH."""
    named = os.environ.get("CGOLEAK_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found: make browser, or CGOLEAK_CHROMIUM=PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        # Containers have neither the namespaces that the sandbox needs nor much in /dev/shm.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        found = driver.chromium.launch(executable_path=program, args=options)
        yield found
        found.close()


class Opened:
    """A page, what its console said, and what it asked of the network."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))


@pytest.fixture
def open_page(browser, tmp_path):
    """Open a report's bytes as a file from disk; ``address`` is what follows the name."""

    @contextmanager
    def open_report(content, *, address="", width=1280, height=900, theme="light", **context):
        path = tmp_path / "leak.html"
        path.write_bytes(content)
        around = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, **context
        )
        opened = Opened(around.new_page())
        opened.page.goto(path.as_uri() + address)
        if context.get("java_script_enabled", True):
            opened.page.wait_for_selector("html[data-ready]", timeout=20_000)
        yield opened
        around.close()

    return open_report
