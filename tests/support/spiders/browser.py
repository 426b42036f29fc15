"""Spiders whose requests go through a real browser, and without it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, Fetch, SessionConfig
from tests.support.processes import descendants
from tests.support.spiders.base import Listed, SiteSpider

__all__ = ["Crashing", "Greeted", "KeptPage", "Killing", "Secrets", "Shown", "ShownAfterLogin", "greet"]


class Shown(Listed):
    """As :class:`Listed`; each item has what the script of the page has shown, and the session's cookies.

    With ``playwright`` in its meta, a request waits until the script of the page has ended.
    """

    def __init__(self, requests: Any = None, steps: Any = None, **kwargs: Any) -> None:
        from scrapy_playwright.page import PageMethod  # noqa: PLC0415  # not everybody has it

        super().__init__(requests, steps, **kwargs)
        self.ready = PageMethod("wait_for_function", "document.title === 'ready'")

    async def start(self) -> AsyncIterator[Any]:
        async for request in super().start():
            yield self.until_ready(request)

    def until_ready(self, request: Any) -> Any:
        if request.meta.get("playwright") and "/browser/" in request.url:
            request.meta["playwright_page_methods"] = [self.ready]
        return request

    def parse(self, response: Response, **kwargs: Any) -> Any:
        shown = {each.attrib["id"]: each.xpath("string()").get() for each in response.css("p[id]")}
        cookies = {cookie.name: cookie.value for cookie in self.sessions.of(response).cookies}
        for item in super().parse(response):
            yield {**item, "shown": shown, "cookies": cookies}


class ScriptLogin(SessionConfig):
    """Logs in by the browser, where a script does it."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        from scrapy_playwright.page import PageMethod  # noqa: PLC0415  # as above

        url = self.crawler.settings["SITE"]
        arrived = PageMethod("wait_for_url", "**/browser/home")
        meta = {"playwright": True, "playwright_page_methods": [arrived]}
        response = await fetch(Request(f"{url}/browser/login?user={session.id}", meta=meta))
        return response.url.endswith("/browser/home")


class ShownAfterLogin(Shown):
    """As :class:`Shown`, logged in by a script."""

    session_config = ScriptLogin


class SecretLogin(ScriptLogin):
    """As :class:`ScriptLogin`, with a secret header that is bound to the site."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        session.headers.set("X-Secret", f"of {session.id}", url=self.crawler.settings["SITE"])
        return await super().login(session, fetch)


class Secrets(Shown):
    """As :class:`Shown`, logged in by a script, with a secret header."""

    session_config = SecretLogin


class Killing(ShownAfterLogin):
    """As :class:`ShownAfterLogin`. When ``after`` requests are done, it kills the browser, or all renderers (``kill``).

    A job that is resumed doesn't repeat requests.
    """

    def __init__(self, requests: Any = None, kill: str = "", after: int = 0, **kwargs: Any) -> None:
        super().__init__(requests, **kwargs)
        self.kill, self.after = kill, after
        from scrapy_sessions.browser import loss  # noqa: PLC0415  # as above

        loss.PATIENCE = 5.0  # a page whose process ends while it is opened is missed after this

    async def start(self) -> AsyncIterator[Any]:
        for each in self.steps[0]:
            yield self.until_ready(Request(errback=self.failed, **each))

    def finished_one(self) -> None:
        self.after -= 1
        if self.kill and not self.after:
            for process in descendants(os.getpid()):
                is_renderer = "--type=renderer" in process.command
                if "chrom" in process.command and (self.kill == "browser" or is_renderer):
                    process.kill()


async def crash(page: Any) -> None:
    """Let the process of *page* crash: a method of a page."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Page.crash")


async def crash_at_once(page: Any, request: Request) -> None:
    """Let the process of *page* crash before *request* is sent: a ``playwright_page_init_callback``."""
    crashing = asyncio.ensure_future(crash(page))
    try:
        await page.evaluate("new Promise(() => 0)")
    finally:
        crashing.cancel()
        await asyncio.wait([crashing])


class Crashing(Shown):
    """As :class:`Shown`, with pages that crash: with ``early`` in the meta of a request, before that is sent."""

    def until_ready(self, request: Any) -> Any:
        from scrapy_playwright.page import PageMethod  # noqa: PLC0415  # as above

        if request.meta.get("early"):
            request.meta["playwright_page_init_callback"] = crash_at_once
            return request
        request.meta["playwright_page_methods"] = [PageMethod(crash)]
        return request


async def greet(page: Any, request: Request) -> None:
    """Let each document of *page* contain a greeting: a ``playwright_page_init_callback``."""
    await page.add_init_script("addEventListener('load', () => { document.body.id = 'greeted'; })")


class Greeted(Shown):
    """As :class:`Shown`; each item says whether :func:`greet` was called."""

    async def start(self) -> AsyncIterator[Any]:
        async for request in super().start():
            request.meta["playwright_page_init_callback"] = greet
            yield request

    def parse(self, response: Response, **kwargs: Any) -> Any:
        for item in super().parse(response):
            yield {**item, "greeted": bool(response.css("#greeted"))}


class KeptPage(SiteSpider):
    """Keeps a page open, in which a cookie is set later, and asks for a page without the browser."""

    async def start(self) -> AsyncIterator[Any]:
        meta = {"session_id": "alice", "playwright": True, "playwright_include_page": True}
        yield Request(f"{self.settings['SITE']}/browser/late", meta=meta)

    async def parse(self, response: Response, **kwargs: Any) -> AsyncIterator[Any]:
        page = response.meta["playwright_page"]
        await page.wait_for_function("document.title === 'ready'")
        await page.evaluate("localStorage.setItem('kept', 'open')")
        for number in (1, 2):
            plain = Request(response.urljoin(f"/page/{number}?set=http%3D{number}%3B+Path%3D/"))
            await self.sessions.of(response).fetch(plain)
            await page.wait_for_function(f"document.cookie.includes('http={number}')")
        yield {"kept": not page.is_closed()}
