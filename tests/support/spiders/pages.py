"""The spiders of these tests: in a file, as Scrapy reads the source of their callbacks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import CloseSpider, DontCloseSpider
from scrapy.http import Response
from twisted.python.failure import Failure

from scrapy_sessions.sessions.browser_session import runtime_of

__all__ = ["Ending", "Idling", "Own", "Pages", "Steady", "Telling"]


class Raising:
    """An extension that stops a crawl at its start."""

    def __init__(self) -> None:
        raise ValueError("raised when it was made")


class Pages(Spider):
    """Gets *urls*, each with its meta, and keeps what came of them."""

    name = "pages"
    sessions: Any
    """The session API, which the extension puts here."""

    def __init__(self, urls: Sequence[tuple[str, dict[str, Any]]] = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.urls = urls
        self.responses: list[Response] = []
        self.failures: list[BaseException] = []

    async def start(self) -> AsyncIterator[Any]:
        for url, meta in self.urls:
            yield Request(url, self.parse, errback=self.failed, meta=dict(meta), dont_filter=True)

    def parse(self, response: Response, **kwargs: Any) -> Any:
        self.responses.append(response)

    def failed(self, failure: Failure) -> None:
        assert failure.value is not None
        self.failures.append(failure.value)
        self.logger.error("errback: %s: %s", type(failure.value).__name__, failure.value)


class Ending(Pages):
    """Notes the page in its session's data, then ends as *how* says."""

    name = "ending"
    how = "well"

    def parse(self, response: Response, **kwargs: Any) -> None:
        super().parse(response)
        self.sessions.of(response).data["seen"] = response.url
        if self.how == "close":
            raise CloseSpider("enough")
        if self.how == "raise":
            raise RuntimeError("a bug of the spider")

    async def closed(self, reason: str) -> None:
        if self.how == "late":
            session = await self.sessions.get("alice")
            while not runtime_of(session).revision:  # until the save at spider_closed is done
                await asyncio.sleep(0.001)
            session.data["closed"] = reason


class Own(Pages):
    """Has an attribute ``sessions`` of its own."""

    name = "own"
    sessions = ("mine",)


class Idling(Pages):
    """Stays open, idle, until the stat *until* is there."""

    name = "idling"
    until = ""
    closing: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Idling:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.idle, signals.spider_idle)
        return spider

    def idle(self) -> None:
        if self.closing is None:
            self.closing = asyncio.ensure_future(self.close_then())
        raise DontCloseSpider

    async def close_then(self) -> None:
        assert self.crawler.stats is not None
        assert self.crawler.engine is not None
        while self.crawler.stats.get_value(self.until) is None:
            await asyncio.sleep(0.005)
        await self.crawler.engine.close_spider_async(reason="seen")


class Steady(Spider):
    """Goes from page to page in each of *sessions*, for *pages* pages or as long as it may live, and says what it has
    seen as it goes: a line ``<session> <page> <UNIX seconds>`` for each page, once it is recorded."""

    name = "steady"
    pages = 0

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Steady:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.tell, signals.response_received)
        return spider

    def tell(self, response: Response, request: Request) -> None:
        line = f"{request.meta['session_id']} {request.meta['page']} {time.time()}\n"
        os.write(1, line.encode())  # at once, and whole: what is said survives a kill

    async def start(self) -> AsyncIterator[Any]:
        for session_id in self.sessions_used:
            yield self.page(session_id, 1)

    def page(self, session_id: str, number: int) -> Request:
        cookie = f"{self.prefix}{number}={number}; Path=/" if self.keep_all else f"page={number}; Path=/"
        url = f"{self.site}/answer?set={cookie.replace('=', '%3D').replace(';', '%3B').replace(' ', '+')}"
        return Request(url, meta={"session_id": session_id, "page": number}, dont_filter=True)

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request]:
        number = response.meta["page"]
        if not self.pages or number < self.pages:
            yield self.page(response.meta["session_id"], number + 1)

    prefix = ""
    keep_all = False
    sessions_used: Sequence[str] = ("a",)
    site = ""


class Telling(Pages):
    """Says on its standard output that a page came, and waits for the end."""

    name = "telling"

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request]:
        self.sessions.of(response).data["pages"] = len(self.responses)
        super().parse(response)
        os.write(1, f"page {len(self.responses)}\n".encode())
        assert response.request is not None
        yield response.request.replace(dont_filter=True)
