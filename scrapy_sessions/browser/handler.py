"""The download handler of scrapy-playwright, with sessions."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from playwright.async_api import Error, Page
from scrapy_playwright.handler import ScrapyPlaywrightDownloadHandler

from scrapy_sessions.browser.contexts import BrowserContexts
from scrapy_sessions.browser.loss import PATIENCE, Lost, is_loss
from scrapy_sessions.browser.options import context_options
from scrapy_sessions.crawl.identity import CONTEXT
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.settings import is_enabled

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import BrowserContext, Route
    from playwright.async_api import Request as BrowserRequest
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from scrapy_sessions.browser.open_context import OpenContext
    from scrapy_sessions.crawl.in_flight import InFlight
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["SessionsPlaywrightHandler"]

logger = logging.getLogger(__name__)


@dataclass
class _Try:
    """What one try of a request in a session has come to."""

    page: Page | None = None
    was_sent: bool = False


_try: ContextVar[_Try | None] = ContextVar("scrapy_sessions_browser_try", default=None)


class SessionsPlaywrightHandler(ScrapyPlaywrightDownloadHandler):  # type: ignore[misc]  # it has no types
    """Downloads a request with ``playwright`` in its meta in a browser context of its session.

    The add-on puts it in place of scrapy-playwright's handler in ``DOWNLOAD_HANDLERS``. A request without a session, or
    with a ``playwright_context`` of its own, is downloaded as ever. There is one for all schemes, and so one browser.

    What it uses of scrapy-playwright's private names is in this class; ``tests/browser/test_handler_contract.py`` says
    what breaks when scrapy-playwright changes one.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        router = self._router = SessionRouter.of(crawler)
        settings = router.settings
        limit = settings.browser_contexts
        if self.config.max_contexts:  # waiting for its places would hold the lock that others need to give theirs back
            own = max(self.config.max_contexts - len(self.config.startup_context_kwargs), 1)
            limit = min(limit or own, own)
        self._sessions = BrowserContexts(
            self._create_session_context,
            router.guard,
            limit=limit,
            idle=settings.browser_idle,
            timeout=settings.claim_timeout,
            max_storage=settings.browser_max_storage,
        )
        router.browser = self._sessions
        self._disconnected = asyncio.Event()
        self._is_closed = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self | ScrapyPlaywrightDownloadHandler:
        """Return the handler of *crawler*: the same one for each scheme. With sessions off, scrapy-playwright's."""
        if not is_enabled(crawler.settings):
            return ScrapyPlaywrightDownloadHandler.from_crawler(crawler)
        known = _handlers.get(crawler)
        handler = None if known is None else known()
        if not isinstance(handler, cls):
            handler = cls(crawler)
            _handlers[crawler] = ref(handler)
        return handler

    async def close(self) -> None:
        """Close all contexts and the browser. Idempotent: Scrapy calls it once for each scheme."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._sessions.close()
        try:
            await asyncio.wait_for(super().close(), PATIENCE)
        except (Error, asyncio.TimeoutError) as e:  # the rest ends with this process
            logger.warning("The browser could not be closed: %s", type(e).__name__)

    async def _download_request_with_retry(self, request: Request, spider: Spider) -> Response:
        """Called for each try of a request. One whose page, context or browser is lost is tried once more.

        One that has reached the site is so only if it may: with GET or HEAD, and without ``dont_retry``.
        """
        inflight = self._router.in_flight.get(request)
        if inflight is None or request.meta.get(CONTEXT) != inflight.session.id:
            response: Response = await super()._download_request_with_retry(request, spider)
            return response
        this = _Try()
        try:
            return await self._download_in_session(request, spider, inflight, this)
        except Lost as e:
            self._router.count("browser_lost")
            if this.was_sent and (request.method not in {"GET", "HEAD"} or request.meta.get("dont_retry")):
                raise Error(
                    f"The browser was lost under a page of the session {inflight.session.id!r}, "
                    f"after a request that isn't to be repeated was sent: {e}"
                ) from e
            logger.warning("The browser was lost under a page of %r, which is tried once more", inflight.session.id)
            logger.debug("%s: %s", request, e)
        try:
            return await self._download_in_session(request, spider, inflight, _Try())
        except Lost as e:  # as an error of Playwright, but none that scrapy-playwright tries again
            raise Error(f"The browser was lost twice under a page of the session {inflight.session.id!r}: {e}") from e

    async def _download_in_session(self, request: Request, spider: Spider, inflight: InFlight, this: _Try) -> Response:
        meta = request.meta
        async with self._sessions.use(inflight.session, meta.get("playwright_context_kwargs") or {}) as opened:
            page = meta.get("playwright_page")
            if page is not None and (page.context != opened.context or opened.is_lost(page)):
                del meta["playwright_page"]  # of an older generation, or lost
            inflight.shares_cookies = True
            meta[CONTEXT] = opened.name
            token = _try.set(this)
            try:
                response: Response = await super()._download_request_with_retry(request, spider)
            except Lost:
                await self._close_lost(request, opened, this.page)
                raise
            except Error as e:
                if is_loss(e):
                    await self._close_lost(request, opened, this.page)
                    raise Lost(str(e)) from e
                raise
            finally:
                _try.reset(token)
                if this.page is not None:
                    opened.in_use.discard(this.page)
                meta[CONTEXT] = inflight.session.id
        return response

    async def _close_lost(self, request: Request, opened: OpenContext, page: Page | None) -> None:
        """Close *page*, which nobody can use any more. Else it would keep its context for ever."""
        if page is None:
            return
        opened.give_up(page)
        with suppress(Error):
            await page.close()  # has a bound: see BrowserContexts
        if request.meta.get("playwright_page") is page:
            del request.meta["playwright_page"]

    async def _create_page(self, request: Request, spider: Spider) -> Page:
        """Open a page. At scrapy-playwright's limit of pages in a context, it waits for one to be closed."""
        opened = self._sessions.named(request.meta.get(CONTEXT, ""))
        creating = super()._create_page(request, spider)
        if opened is None:
            page: Page = await creating
            return page
        page = await self._sessions.new_page(opened, creating, self.config.max_pages_per_context)
        opened.in_use.add(page)
        this = _try.get()
        if this is not None:
            this.page = page
        return page

    async def _download_request_with_page(self, request: Request, page: Page, spider: Spider) -> Response:
        """Load *page*, call the page methods and take its content."""
        opened = self._sessions.named(request.meta[CONTEXT])
        loading = super()._download_request_with_page(request, page, spider)
        if opened is None:
            response: Response = await loading
            return response
        this = _try.get()
        if this is not None:
            this.page = page
        opened.in_use.add(page)
        if not request.meta.get("playwright_include_page"):
            opened.read_with_content.add(page)
        try:
            response = await opened.until_lost(loading, page)
        except Lost:
            opened.give_up(page)  # before scrapy-playwright closes it: it isn't to be read
            raise
        return response

    async def _maybe_launch_browser(self) -> None:
        """Launch the browser, unless there is one. The end of another one is still to be handled."""
        browser = getattr(self, "browser", None)
        if browser is not None and not browser.is_connected() and self.config.restart_disconnected_browser:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._disconnected.wait(), PATIENCE)
            if getattr(self, "browser", None) is browser:
                del self.browser
        self._disconnected.clear()
        await super()._maybe_launch_browser()

    async def _browser_disconnected_callback(self) -> None:
        """Close what is left of the browser, and let the next request launch another one."""
        try:
            with suppress(Error, asyncio.TimeoutError):
                await asyncio.wait_for(super()._browser_disconnected_callback(), PATIENCE)
        finally:
            self._disconnected.set()

    def _make_request_handler(self, context_name: str, **arguments: Any) -> Callable[..., Any]:
        """Return the handler of all requests of a page, for the context of a session with the headers bound to them."""
        handle: Callable[..., Any] = super()._make_request_handler(context_name=context_name, **arguments)
        opened = self._sessions.named(context_name)
        this = _try.get()
        if this is not None:
            handle = _noting(this, handle)
        return handle if opened is None or opened.secrets is None else opened.secrets.marking(opened, handle)

    async def _create_session_context(
        self, session: SessionRuntime, name: str, options: dict[str, Any]
    ) -> BrowserContext:
        own = self.config.startup_context_kwargs.get(session.id, {})
        identity = context_options(session, session.bound_headers.sent_to(""))
        wrapper = await self._create_browser_context(
            name=name, context_kwargs={**identity, **own, **options}, spider=self._router.crawler.spider
        )
        context: BrowserContext = wrapper.context
        return context


def _noting(this: _Try, handle: Callable[..., Any]) -> Callable[..., Any]:
    """Return *handle*, a handler of a route, which notes that a page of *this* was requested."""

    async def note_and_handle(route: Route, request: BrowserRequest) -> None:
        if request.is_navigation_request():
            this.was_sent = True
        await handle(route, request)

    return note_and_handle


_handlers: WeakKeyDictionary[Crawler, ref[SessionsPlaywrightHandler]] = WeakKeyDictionary()


def with_sessions(handler: type[ScrapyPlaywrightDownloadHandler]) -> type[SessionsPlaywrightHandler]:
    """Return our handler in place of *handler*, with what that overrides of scrapy-playwright's."""
    if issubclass(handler, SessionsPlaywrightHandler):
        return handler
    if handler is ScrapyPlaywrightDownloadHandler:
        return SessionsPlaywrightHandler
    return type(f"Sessions{handler.__name__}", (SessionsPlaywrightHandler, handler), {"__module__": __name__})
