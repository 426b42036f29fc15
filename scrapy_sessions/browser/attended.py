"""A browser window that a person uses as a session: waited for, and read before it is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Error, Page

from scrapy_sessions.analytics.redaction import without_secrets
from scrapy_sessions.browser.arrival import Arrival
from scrapy_sessions.browser.context import Session, SessionContext
from scrapy_sessions.browser.launch import first
from scrapy_sessions.browser.loss import PATIENCE
from scrapy_sessions.cookies.hosts import canonical_host, site_of

Ending: TypeAlias = Literal["closed", "crashed", "entered", "reached", "timeout"]
"""How the use of a window ended.

It was closed, its page crashed without a window, Enter was pressed, the page waited for came, or none of these in time.
"""

_INTERVAL = 0.5  # seconds between two looks: the sessionStorage of a page is gone with it


class Window:
    """The window that *page* was opened in, and those opened from it.

    :param capture: copies what changed in the context of *page* into the session
    :param all_pages: whether all pages of that context belong to it, and not only those that its pages open
    :param visible: whether a person sees it
    """

    def __init__(self, page: Page, capture: SessionContext, *, all_pages: bool, visible: bool) -> None:
        self._page = page
        self._capture = capture
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._own: set[Page] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrival: Arrival | None = None
        self._visible = visible
        self.hosts: set[str] = set()
        """The hosts of the pages that were shown."""
        self._add(page)
        if all_pages:
            page.context.on("page", self._opened)
        if visible:  # unless somebody listens, Playwright closes the dialogs of a page before they can be read
            page.context.on("dialog", lambda _: None)

    @property
    def context(self) -> BrowserContext:
        """The context of its pages, with those of other windows."""
        return self._page.context

    @property
    def ended(self) -> asyncio.Future[Ending]:
        """Done when its use has ended; may be set from outside."""
        return self._ended

    async def expect(self, arrival: Arrival) -> None:
        """End when a page is *arrival*. Raises as :meth:`Arrival.check_selector`."""
        await arrival.check_selector(self._page)
        self._arrival = arrival
        arrival.follow(self._page)
        self._watch(self._page)

    async def show(self, url: str) -> str | None:
        """Open *url*. Returns why that failed, if it did and the window is still there."""
        try:
            await self._page.goto(url, wait_until="commit", timeout=60_000)
        except Error as e:
            if not self._page.is_closed():
                return first(e).partition("net::")[2].partition(" ")[0] or without_secrets(first(e))
        return None

    async def wait(self, timeout: float | None) -> Ending:
        """Return when its use has ended, at the latest after *timeout* seconds. Meanwhile what it has is copied."""
        looking = asyncio.ensure_future(self._look_again_and_again())
        try:
            await asyncio.wait([self._ended], timeout=timeout)
            return self._ended.result() if self._ended.done() else "timeout"
        finally:
            tasks = [looking, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def capture(self) -> bool:
        """Copy all that is in the browser. Returns False if it is gone: the session then has what was copied last."""
        try:
            await asyncio.wait_for(self._capture.save(), PATIENCE)
        except (Error, asyncio.TimeoutError):
            return False
        return True

    async def _look_again_and_again(self) -> None:
        while True:
            with suppress(Error, asyncio.TimeoutError):
                await asyncio.wait_for(self._look(), PATIENCE)
            await asyncio.sleep(_INTERVAL)

    async def _look(self) -> None:
        # Neither IndexedDB nor the storages of pages that are closed: reading them opens a window for a moment.
        await self._capture.pull_cookies()
        for page in self._capture.context.pages:
            await self._capture.read_page(page)

    def _add(self, page: Page) -> None:
        self._own.add(page)
        self._shown(page.url)
        page.on("close", self._closed)
        if not self._visible:  # with a window, the person decides
            page.on("crash", self._crashed)
        page.on("popup", self._opened)
        page.on("framenavigated", lambda frame: self._shown(frame.url) if frame == page.main_frame else None)

    def _opened(self, page: Page) -> None:
        if page not in self._own and not page.is_closed():
            self._add(page)
            if self._arrival is not None:
                self._arrival.follow(page)
            self._watch(page)

    def _shown(self, url: str) -> None:
        host = urlsplit(url).hostname if url.startswith(("http:", "https:")) else None
        if host:
            self.hosts.add(host)

    def _closed(self, page: Page, ending: Ending = "closed") -> None:
        self._own.discard(page)
        if not self._own and not self._ended.done():
            self._ended.set_result(ending)

    def _crashed(self, page: Page) -> None:
        self._closed(page, "crashed")

    def _watch(self, page: Page) -> None:
        if self._arrival is not None and page in self._own and not self._ended.done():
            task = asyncio.ensure_future(self._reach(self._arrival, page))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reach(self, arrival: Arrival, page: Page) -> None:
        with suppress(Error):  # the page was closed
            await arrival.wait(page)
            if not self._ended.done():
                self._ended.set_result("reached")


class _OneSite:
    """The part of *context* that belongs to *site*, for :class:`SessionContext`."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self._context = context
        self._site = site

    @property
    def pages(self) -> list[Page]:
        return [page for page in self._context.pages if belongs(urlsplit(page.url).hostname, self._site)]

    async def cookies(self) -> list[Any]:
        return [each for each in await self._context.cookies() if belongs(each["domain"], self._site)]

    async def storage_state(self, **options: Any) -> Any:
        state = await self._context.storage_state(**options)
        origins = [each for each in state["origins"] if belongs(urlsplit(each["origin"]).hostname, self._site)]
        return {**state, "origins": origins}


def of_running_browser(
    session: Session, context: BrowserContext, site: str | None, *, all_sites: bool, limit: int
) -> SessionContext:
    """Connect *session* with the part of *context* that belongs to *site*, or with all of it.

    What the session has of *site* is removed: it is of another browser's visit.
    """
    if site is not None:
        for cookie in session.jar.dump():
            if belongs(cookie.domain, site):
                session.jar.clear(cookie.domain)
        for kind in ("local_storage", "session_storage", "indexed_db"):
            stored = session.data_of(kind)
            kept = {origin: each for origin, each in stored.items() if not belongs(urlsplit(origin).hostname, site)}
            if kept != stored:
                session.set_data(kind, kept)
    if site is not None and not all_sites:
        context = cast("BrowserContext", _OneSite(context, site))
    return SessionContext(session, context, limit=limit)


def belongs(host: str | None, site: str) -> bool:
    """Whether *host* is of the registrable domain *site*."""
    name = canonical_host((host or "").removeprefix("."))
    return name is not None and site_of(name) == site
