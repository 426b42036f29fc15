"""A browser for a person: launched, or one that runs already. And what sites see of it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from playwright.async_api import Browser, BrowserContext, BrowserType, Error, Page, Playwright, Request

from scrapy_sessions.browser.loss import PATIENCE, close_page, within
from scrapy_sessions.exceptions import SessionConfigurationError, SessionError
from scrapy_sessions.safe_repr import safe_repr

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_HEADLESS = re.compile(r'\bHeadless(?=Chrome/)|"HeadlessChrome";v="[^"]*"(?:, *)?|, *"HeadlessChrome";v="[^"]*"')
_NO_DISPLAY = (
    "There is no display for the window of a browser. Run the command on a desktop or with xvfb-run, connect to a "
    "browser elsewhere with --cdp, or log in without a window: --headless"
)
_PATIENCE = 10.0  # seconds for what a browser answers at once, unless it is gone
_OWN = ("accept", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform")
_SEEN = """() => [
    navigator.userAgent, navigator.languages.join(","), Intl.DateTimeFormat().resolvedOptions().timeZone,
    innerWidth, innerHeight,
]"""


def executable(browser_type: BrowserType, options: Mapping[str, Any]) -> str | None:
    """Return the path of the browser to launch: that of *options*, else Playwright's own, else an installed Chromium.

    :param options: arguments of ``browser_type.launch()``
    """
    own = options.get("executable_path")
    if own is not None:
        return str(own)
    names = _NAMES if browser_type.name == "chromium" else ()
    return next(filter(None, map(shutil.which, (browser_type.executable_path, *names))), None)


async def launch(playwright: Playwright, kind: str, options: Mapping[str, Any], *, headless: bool) -> Browser:
    """Launch a browser.

    :param kind: ``"chromium"``, ``"firefox"`` or ``"webkit"``
    :param options: arguments of ``browser_type.launch()``

    Raises :exc:`~scrapy_sessions.exceptions.SessionError` if there is no browser, no display, or it doesn't start.
    """
    browser_type: BrowserType | None = getattr(playwright, kind, None)
    if not isinstance(browser_type, BrowserType):
        raise SessionConfigurationError(f"PLAYWRIGHT_BROWSER_TYPE is {kind!r}, which Playwright doesn't have")
    linux = sys.platform not in {"win32", "darwin"}
    if not headless and linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SessionError(_NO_DISPLAY)
    wanted: dict[str, Any] = {**options, "headless": headless}
    if "channel" not in wanted:
        path = executable(browser_type, wanted)
        if path is None:
            raise SessionError(f"There is no browser: install {kind}, for example with: playwright install {kind}")
        wanted["executable_path"] = path
    try:
        return await browser_type.launch(**wanted)
    except (Error, TypeError) as e:
        reason = (
            _NO_DISPLAY if "$DISPLAY" in str(e) or "XServer" in str(e) else f"The browser doesn't start: {first(e)}"
        )
    raise SessionError(reason)


async def connect(playwright: Playwright, url: str) -> BrowserContext:
    """Connect to the Chrome whose debugging address is *url*, and return the context of its windows.

    Raises :exc:`~scrapy_sessions.exceptions.SessionError` if it can't be reached.
    """
    try:
        browser = await playwright.chromium.connect_over_cdp(url)
    except Error:
        browser = None
    if browser is None or not browser.contexts:
        raise SessionError(
            "No Chrome answers at the address given with --cdp: start it with --remote-debugging-port=9222 and a "
            "--user-data-dir of its own, then: --cdp http://localhost:9222"
        )
    return browser.contexts[0]


class Looks(NamedTuple):
    """What sites see of a browser."""

    user_agent: str
    language: str
    timezone: str
    viewport_width: int
    viewport_height: int
    headers: dict[str, str]

    def __repr__(self) -> str:
        return safe_repr(self, "user_agent", "language", "timezone")


async def looks_of(browser: Browser) -> Looks:
    """Return what sites see of *browser*, without what it sends."""
    page = await within(PATIENCE, browser.new_page())
    try:
        return await Looker(page).looks()
    finally:
        await close_page(page)


class Looker:
    """Finds out what sites see of the browser of *page*, which is new: by the page, and by what it sends."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._sent: dict[str, str] = {}
        self._secure = False
        self._tasks: set[asyncio.Task[None]] = set()
        page.on("request", self._look_at)

    async def looks(self) -> Looks:
        """Return it. Headers, and the language with its weights, are those of the navigations so far."""
        agent, languages, timezone, width, height = await within(PATIENCE, self._page.evaluate(_SEEN))
        return Looks(without_headless(agent), _header(languages.split(",")), timezone, width, height, {})

    async def with_sent(self, looks: Looks) -> Looks:
        """Return *looks* with what the browser has sent with the first page, if there was one."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)
        sent = {name: without_headless(self._sent[name]) for name in _OWN if name in self._sent}
        names = {"accept": "Accept"}
        language = self._sent.get("accept-language") or looks.language
        return looks._replace(language=language, headers={names.get(name, name): sent[name] for name in sent})

    def _look_at(self, request: Request) -> None:
        if request.is_navigation_request() and request.url.startswith(("http:", "https:")) and not self._secure:
            task = asyncio.ensure_future(self._read(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read(self, request: Request) -> None:
        with suppress(Error, asyncio.TimeoutError):
            if request.frame != self._page.main_frame or request.method != "GET":
                return
            headers = await asyncio.wait_for(request.all_headers(), _PATIENCE)
            # Client hints are sent by encrypted connections only: those of the first one count.
            if not self._sent or (not self._secure and "sec-ch-ua" in headers):
                self._sent, self._secure = headers, "sec-ch-ua" in headers


def without_headless(text: str) -> str:
    """Return *text*, an agent or a list of brands, as that of a browser with a window."""
    return _HEADLESS.sub("", text)


def first(error: Exception) -> str:
    """Return the first line of *error*: the others are the log of Playwright."""
    return str(error).partition("\n")[0]


def _header(languages: list[str]) -> str:
    """Return *languages* as a browser writes them in ``Accept-Language``."""
    weights = (f";q={1 - number / 10:.1f}" if number else "" for number in range(10))
    return ",".join(f"{language}{weight}" for language, weight in zip(languages, weights, strict=False))
