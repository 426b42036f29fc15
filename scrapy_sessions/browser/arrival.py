"""The page at which a login in a browser has succeeded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from playwright.async_api import Error, Page, Response

from scrapy_sessions.browser.launch import first
from scrapy_sessions.browser.url_pattern import URLPattern
from scrapy_sessions.exceptions import SessionConfigurationError

_SETTLE = 10_000.0  # milliseconds for the page to load
_QUIET = 5_000.0  # milliseconds for its scripts, which may find out that nobody is logged in, and leave it
_INTERVAL = 0.5  # seconds between two looks at a page
_REFUSALS = frozenset({401, 403, 407, 429})
# A form with two visible fields changes a password, or registers somebody.
_HAS_FORM = "all => all.some(field => all.filter(other => other.form === field.form).length === 1)"


class Arrival:
    """What a page has to be: of the URL *url*, and with the element *selector*; ``None``: any.

    It is none of these, whatever its URL: the login page, one that asks for a password, one that was refused.

    :param url: a pattern, see :class:`~scrapy_sessions.browser.url_pattern.URLPattern`
    :param selector: a selector of Playwright's
    :param is_login_page: whether a URL is that of the login page

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a *url* that is no pattern.
    """

    def __init__(self, url: str | None, selector: str | None, is_login_page: Callable[[str], bool]) -> None:
        self._pattern = None if url is None else URLPattern(url)
        self._selector = selector
        self._is_login_page = is_login_page
        self._statuses: dict[Page, tuple[str, int]] = {}

    async def check_selector(self, page: Page) -> None:
        """Raise :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if the selector is none."""
        if self._selector is None:
            return
        try:
            await page.locator(self._selector).count()
        except Error as e:
            raise SessionConfigurationError(
                f"--until-selector: {self._selector!r} is no selector: {first(e)}"
            ) from None

    def follow(self, page: Page) -> None:
        """Note the statuses of the pages that *page* shows from now on."""

        def note(response: Response) -> None:
            with suppress(Error):  # of a service worker, or of a page that is gone
                if response.request.is_navigation_request() and response.frame == page.main_frame:
                    self._statuses[page] = (_without_fragment(response.url), response.status)

        def forget(page: Page) -> None:
            self._statuses.pop(page, None)

        page.on("response", note)
        page.on("close", forget)

    async def wait(self, page: Page) -> None:
        """Return when *page* is such a page. Raises Playwright's ``Error`` when it is closed.

        A navigation that fails meanwhile, because another one or a download takes its place, doesn't end the wait.
        With Playwright's ``wait_for_url()`` it would.
        """
        while True:
            try:
                if await self._is_reached(page):
                    for state, timeout in (("load", _SETTLE), ("networkidle", _QUIET)):
                        with suppress(Error):
                            await page.wait_for_load_state(state, timeout=timeout)  # type: ignore[arg-type]
                    if await self._is_reached(page):
                        return
            except Error:
                if page.is_closed():
                    raise
            await asyncio.sleep(_INTERVAL)

    async def _is_reached(self, page: Page) -> bool:
        url = page.url
        if self._pattern is not None and not self._pattern.fits(url):
            return False  # it has gone on
        if self._is_login_page(url):
            return False
        place, status = self._statuses.get(page, ("", 0))
        if place == _without_fragment(url) and (status in _REFUSALS or status >= 500):
            return False
        if self._selector is not None and not await page.locator(self._selector).count():
            return False
        for frame in page.frames:
            with suppress(Error):  # the frame is gone
                if await frame.locator("input[type=password]:visible").evaluate_all(_HAS_FORM):
                    return False
        return page.url == url


def _without_fragment(url: str) -> str:
    return url.partition("#")[0]
