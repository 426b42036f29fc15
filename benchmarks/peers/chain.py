"""Worker: the middleware chain of a crawl, without a network, in whatever environment of Scrapy this Python has."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.core.spidermw import SpiderMiddlewareManager
from scrapy.crawler import Crawler
from scrapy.http import HtmlResponse, Response
from scrapy.utils.misc import load_object
from serve import Stopwatch, serve

PAGES_A_SECOND = 400  # what a core crawls: Scrapy takes 2.5 ms of CPU a page
BODY = b"<html>" + b"x" * 2000
URL = "https://shop.example/"

Send = Callable[[Request, Response], Awaitable[None]]


class BenchSpider(Spider):
    """Names the crawl; nothing is crawled."""

    name = "bench"


@asynccontextmanager
async def opened(settings: dict[str, Any]) -> AsyncIterator[Crawler]:
    """Give a crawler with *settings*, opened and closed as a crawl does."""
    off = ("TWISTED_REACTOR_ENABLED", "TELNETCONSOLE_ENABLED", "LOG_ENABLED", "MEMUSAGE_ENABLED")
    crawler = Crawler(BenchSpider, {**dict.fromkeys(off, False), **settings})
    crawler.spider = crawler._create_spider()
    crawler._apply_settings()
    try:
        yield crawler
    finally:
        await crawler.signals.send_catch_log_async(signals.spider_closed, spider=crawler.spider, reason="finished")
        await crawler.signals.send_catch_log_async(signals.engine_stopped)


async def announce(crawler: Crawler) -> None:
    """Tell the components, now that they all are made, that the crawl begins."""
    await crawler.signals.send_catch_log_async(signals.spider_opened, spider=crawler.spider)


def downloads(crawler: Crawler) -> Send:
    """Return what passes a request down the downloader middlewares, and its response up."""
    middlewares = crawler.bench_middlewares = DownloaderMiddlewareManager.from_crawler(crawler)

    async def send(request: Request, response: Response) -> None:
        async def download(request: Request) -> Response:
            return response

        await middlewares.download_async(download, request)

    return send


def pages(crawler: Crawler) -> Send:
    """Return the same with what comes before and after: the fingerprint, and the spider middlewares.

    The callback yields an item and a request.
    """
    send = downloads(crawler)
    middlewares = SpiderMiddlewareManager.from_crawler(crawler)
    fingerprint = crawler.request_fingerprinter.fingerprint

    async def parse(response: Response, request: Request) -> Iterator[Any]:
        return iter(({"url": response.url}, Request(response.url)))

    async def send_and_parse(request: Request, response: Response) -> None:
        fingerprint(request)
        await send(request, response)
        async for _ in await middlewares.scrape_response_async(parse, response, request):
            pass

    return send_and_parse


def address(i: int, hosts: int | None, scheme: str = "http") -> str:
    """Return the root that request *i* is sent to: of one of so many *hosts* in turn, ``None``: of the usual one."""
    return URL if hosts is None else f"{scheme}://h{i % hosts}.example/"


def traffic(
    n: int, key: str, every: int, sessions: int, cookies: int, hosts: int | None = None
) -> Iterator[tuple[Request, Response]]:
    """Make *n* requests over *sessions* sessions, named by the meta *key*, and their responses.

    Of those to each session, every *every*-th sets a cookie that was there before to a new value: each of its *cookies*
    in turn.
    """
    for i in range(n):
        url = f"{address(i, hosts)}p/{i % 997}?page={i}"
        headers = {"Content-Type": "text/html"}
        turn, session = divmod(i, sessions)
        if (turn + session) % every == 0:
            name = f"c{turn // every % cookies}"
            headers["Set-Cookie"] = f"{name}=value-{i}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly"
        request = Request(url, meta={key: f"s{session}"})
        yield request, HtmlResponse(url, headers=headers, body=BODY, request=request)


async def fill(send: Send, key: str, sessions: int, cookies: int, hosts: int | None = None) -> None:
    """Give each session as many *cookies*; of *hosts*, if given, each as many and a Secure one."""
    headers = [f"c{c}=value-{c}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly" for c in range(cookies)]
    if hosts is not None:
        headers.append("sid=secret; Path=/; Max-Age=3600; Secure")
    for i in range(sessions):
        for host in range(hosts or 1):
            url = address(host, hosts, "https")
            request = Request(url, meta={key: f"s{i}"})
            await send(request, HtmlResponse(url, headers={"Set-Cookie": headers}, request=request))


async def borne(crawler: Crawler, key: str, hosts: int | None) -> int:
    """Return how many cookies a request of a session bears when it is downloaded."""
    found = 0

    async def download(request: Request) -> Response:
        nonlocal found
        header = request.headers.get("Cookie")
        found = 0 if header is None else len(header.split(b"; "))
        return HtmlResponse(request.url, request=request)

    await crawler.bench_middlewares.download_async(download, Request(address(0, hosts), meta={key: "s0"}))
    return found


class Chain:
    """The commands."""

    async def open(
        self,
        settings: dict[str, Any],
        key: str,
        sessions: int,
        cookies: int,
        saver: str | None = None,
        whole_page: bool = False,
        hosts: int | None = None,
    ) -> int:
        """Open a chain, whose sessions requests name by the meta *key*, and fill their jars.

        Return how many cookies the next request of a session bears, so that nobody is measured who does nothing.

        The *saver* is an extension whose ``manager.flush()`` is awaited after as many pages as a second of crawling
        brings: the share of saving. ``None``: this side saves by itself, or never.
        """
        self._stack = AsyncExitStack()
        crawler = await self._stack.enter_async_context(opened(settings))
        self._send = pages(crawler) if whole_page else downloads(crawler)
        await announce(crawler)
        self._flush = crawler.get_extension(load_object(saver)).manager.flush if saver else None
        self._shape = {"key": key, "sessions": sessions, "cookies": cookies, "hosts": hosts}
        await fill(self._send, **self._shape)
        return await borne(crawler, key, hosts)

    async def round(self, n: int, every: int) -> float:
        """Return the microseconds of CPU, of all threads, that each of *n* requests takes."""
        pairs = list(traffic(n, every=every, **self._shape))
        gc.collect()
        with Stopwatch() as watch:
            for number, (request, response) in enumerate(pairs, 1):
                await self._send(request, response)
                if self._flush is not None and number % PAGES_A_SECOND == 0:
                    await self._flush()
        return watch.cpu / n * 1e6

    async def close(self) -> None:
        """Close the chain."""
        await self._stack.aclose()


async def start(settings: dict[str, Any], key: str) -> float:
    """Return the milliseconds from before a crawler is made to the end of its first request through the chain."""
    ((request, response),) = traffic(1, key, every=10, sessions=1, cookies=1)
    began = time.perf_counter()
    async with opened(settings) as crawler:
        send = downloads(crawler)
        await announce(crawler)
        await send(request, response)
        return (time.perf_counter() - began) * 1e3


async def ready() -> None:
    """Answer when this worker can."""
    await asyncio.sleep(0)


if __name__ == "__main__":
    chain = Chain()
    serve({"ready": ready, "open": chain.open, "round": chain.round, "close": chain.close, "start": start})
