"""A provider of browsers for scrapy-playwright."""

from __future__ import annotations

from typing import Any

from scrapy_playwright.provider import PlaywrightBrowserProvider

from tests.support.browser import ARGUMENTS, CHROMIUM

__all__ = ["Provider"]


class Provider(PlaywrightBrowserProvider):  # type: ignore[misc]
    """Launches the Chromium of the tests, whatever the settings say."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config.launch_options = {"executable_path": CHROMIUM, "args": ARGUMENTS}
