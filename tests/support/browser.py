"""A real Chromium, driven by Playwright: what it shows of a page, and what it does with a storage state."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["ARGUMENTS", "CHROMIUM", "MISSING", "Shown", "Visit", "chromium", "shown", "visit"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)

# Where tests must not be skipped, a missing package is a fault of the set-up; a missing browser may be meant.
MISSING = CHROMIUM is None or (find_spec("playwright") is None and not os.environ.get("CI"))
"""Whether there is no browser to test with."""

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-proxy-server"),
]


class Shown:
    """A page that is shown: Playwright's ``page``, and what was said and asked for while it was."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@dataclass(frozen=True)
class Visit:
    """What a browser saw: the page's text, its local storage, and the storage state it left with."""

    text: str
    local_storage: dict[str, str]
    state: dict[str, Any]


@asynccontextmanager
async def chromium(*arguments: str) -> AsyncIterator[Any]:
    """The browser, without a window, with more *arguments*."""
    from playwright.async_api import async_playwright  # noqa: PLC0415  # not everybody has it

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def shown(
    browser: Any, file: Path, *, width: int = 1240, height: int = 900, **options: Any
) -> AsyncIterator[Shown]:
    """*file*, shown in a window of that size. *options* are those of a browser's context: ``color_scheme`` for one."""
    viewport = {"width": width, "height": height}
    context = await browser.new_context(
        viewport=viewport, **{"locale": "en-GB", "timezone_id": "Asia/Tokyo", **options}
    )
    page = Shown(await context.new_page())
    await page.page.goto(file.as_uri())
    try:
        yield page
    finally:
        await context.close()


def visit(folder: Path, state: str, url: str, *, script: str = "0") -> Visit:
    """Open Chromium with the storage state in the file *state* of *folder*, go to *url* and run *script* there."""
    return asyncio.run(_visit(folder / state, url, script))


async def _visit(state: Path, url: str, script: str) -> Visit:
    async with chromium() as browser:
        context = await browser.new_context(storage_state=state)
        page = await context.new_page()
        await page.goto(url)
        text = await page.inner_text("body")
        await page.evaluate(script)
        local_storage = await page.evaluate("Object.fromEntries(Object.entries(localStorage))")
        return Visit(text, local_storage, await context.storage_state())
