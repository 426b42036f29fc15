"""The downloader middleware chain of a crawl, in one process and without a network: the bench all measures share."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.crawler import Crawler
from scrapy.http import HtmlResponse, Response

SESSIONS = 50
COOKIES = 10
ACTIONS = 50
PAGES_A_SECOND = 400  # what a core crawls: Scrapy takes 2.5 ms of CPU a page
BODY = b"<html>" + b"x" * 2000


Flush = Callable[[], Awaitable[None]]


class BenchSpider(Spider):
    """Names the crawl; nothing is crawled."""

    name = "bench"


@asynccontextmanager
async def chain(settings: dict[str, Any]) -> AsyncIterator[tuple[Crawler, DownloaderMiddlewareManager]]:
    """Give ``(crawler, middlewares)`` of a crawler with *settings*, opened and closed as a crawl does."""
    off = ("TWISTED_REACTOR_ENABLED", "TELNETCONSOLE_ENABLED", "LOG_ENABLED", "MEMUSAGE_ENABLED")
    crawler = Crawler(BenchSpider, {**dict.fromkeys(off, False), **settings})
    crawler.spider = crawler._create_spider()
    crawler._apply_settings()
    middlewares = DownloaderMiddlewareManager.from_crawler(crawler)
    await crawler.signals.send_catch_log_async(signals.spider_opened, spider=crawler.spider)
    try:
        yield crawler, middlewares
    finally:
        await crawler.signals.send_catch_log_async(signals.spider_closed, spider=crawler.spider, reason="finished")
        await crawler.signals.send_catch_log_async(signals.engine_stopped)


def traffic(n: int, key: str, *, set_cookie_every: int, sessions: int = SESSIONS) -> Iterator[tuple[Request, Response]]:
    """Make *n* requests over *sessions* sessions, named by the meta *key*, and their responses.

    Of those to each session, every *set_cookie_every*-th sets a cookie that was there before to a new value: each of
    them in turn.
    """
    for i in range(n):
        url = f"https://shop.example/p/{i % 997}?page={i}"
        headers = {"Content-Type": "text/html"}
        turn, session = divmod(i, sessions)
        if (turn + session) % set_cookie_every == 0:
            name = f"c{turn // set_cookie_every % COOKIES}"
            headers["Set-Cookie"] = f"{name}=value-{i}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly"
        request = Request(url, meta={key: f"s{session}"})
        yield request, HtmlResponse(url, headers=headers, body=BODY, request=request)


async def fill(middlewares: DownloaderMiddlewareManager, key: str, sessions: int = SESSIONS, n: int = COOKIES) -> None:
    """Give each session *n* cookies."""
    for i in range(sessions):
        url = "https://shop.example/"
        cookies = [f"c{c}=value-{c}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly" for c in range(n)]
        request = Request(url, meta={key: f"s{i}"})
        await send(middlewares, request, HtmlResponse(url, headers={"Set-Cookie": cookies}, request=request))


async def send(middlewares: DownloaderMiddlewareManager, request: Request, response: Response) -> None:
    """Pass *request* down the chain and *response* up."""

    async def download(request: Request) -> Response:
        return response

    await middlewares.download_async(download, request)


async def cpu_per_request(
    middlewares: DownloaderMiddlewareManager,
    pairs: list[tuple[Request, Response]],
    flush: Flush | None = None,
) -> float:
    """Return the microseconds of CPU, of all threads, that each pair takes.

    *flush* is awaited after as many pages as a second of crawling brings: the share of saving.
    """
    gc.collect()
    start = time.process_time()
    for number, (request, response) in enumerate(pairs, 1):
        await send(middlewares, request, response)
        if flush is not None and number % PAGES_A_SECOND == 0:
            await flush()
    return (time.process_time() - start) / len(pairs) * 1e6
