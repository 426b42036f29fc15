"""Scrapy's engine in small: a scheduler, places for requests in progress, and the chain of downloader middlewares."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from heapq import heappop, heappush
from types import SimpleNamespace
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Headers, Response
from scrapy.settings import BaseSettings

__all__ = ["Crawler", "Engine"]

Download = Callable[[Request], Awaitable[Response]]


class _Scheduler:
    """Memory queues as Scrapy's: by priority, the newest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Request]] = []
        self._count = 0

    def enqueue_request(self, request: Request) -> bool:
        self._count += 1
        heappush(self._heap, (-request.priority, -self._count, request))
        return True

    def next_request(self) -> Request | None:
        return heappop(self._heap)[2] if self._heap else None

    def has_pending_requests(self) -> bool:
        return bool(self._heap)

    def __len__(self) -> int:
        return len(self._heap)


class _Signals:
    def __init__(self) -> None:
        self.handlers: dict[Any, list[Any]] = {}

    def connect(self, handler: Any, signal: Any) -> None:
        self.handlers.setdefault(signal, []).append(handler)

    def disconnect(self, handler: Any, signal: Any) -> None:
        self.handlers[signal].remove(handler)

    def send_catch_log(self, signal: Any, **arguments: Any) -> list[Any]:
        for handler in list(self.handlers.get(signal, ())):
            handler(**{name: arguments[name] for name in inspect.signature(handler).parameters if name in arguments})
        return []


class _Stats(Counter[str]):
    def inc_value(self, name: str, count: int = 1) -> None:
        self[name] += count

    def get_value(self, name: str, default: Any = None) -> Any:
        return self.get(name, default)

    def set_value(self, name: str, value: Any) -> None:
        self[name] = value

    def get_stats(self) -> dict[str, Any]:
        return dict(self)


class Crawler:
    """What components ask of a crawler."""

    def __init__(self, spider: Spider, settings: dict[str, Any]) -> None:
        defaults = {"DEFAULT_REQUEST_HEADERS": {}, "USER_AGENT": "simulator", "COOKIES_ENABLED": True}
        self.settings = BaseSettings({**defaults, **settings})
        self.spider: Spider | None = spider
        self.spidercls = type(spider)
        self.stats = _Stats()
        self.signals = _Signals()
        self.engine: Any = None
        self.extension: Any = None
        spider.crawler = self  # type: ignore[assignment]

    def get_extension(self, cls: type) -> Any:
        return self.extension


class Engine:
    """Sends requests through *middlewares* (rising order) to *download*, *places* at a time."""

    def __init__(self, crawler: Crawler, middlewares: Sequence[Any], download: Download, *, places: int) -> None:
        self.crawler = crawler
        self.spider = crawler.spider
        self.running = True
        self.signals = crawler.signals
        self.scheduler = _Scheduler()
        self._slot = SimpleNamespace(closing=None, scheduler=self.scheduler, inprogress=set())
        self.downloader = SimpleNamespace(active=set(), total_concurrency=places, needs_backout=self.needs_backout)
        self.finish_reason = ""
        self._places = places
        self._download = download
        self._middlewares = middlewares
        self._requests = [m.process_request for m in middlewares if hasattr(m, "process_request")]
        backwards = list(reversed(middlewares))
        self._responses = [m.process_response for m in backwards if hasattr(m, "process_response")]
        self._exceptions = [m.process_exception for m in backwards if hasattr(m, "process_exception")]
        self._start: Any = None
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def crawl_all(self, start: AsyncIterator[Request]) -> None:
        """Crawl until nothing is left."""
        self._start = start
        while self._start is not None and self.running:
            try:
                self.crawl(await anext(start))
            except StopAsyncIteration:
                self._start = None
            await asyncio.sleep(0)
        self._next()
        await self._ended.wait()

    def crawl(self, request: Request) -> None:
        """Schedule *request*."""
        from scrapy import signals  # noqa: PLC0415

        self.signals.send_catch_log(signals.request_scheduled, request=request, spider=self.spider)
        self.scheduler.enqueue_request(request)
        self._next()

    def needs_backout(self) -> bool:
        return not self.running or 0 < self._places <= len(self.downloader.active)

    async def download_async(self, request: Request) -> Response:
        """As Scrapy's: past the scheduler and the spider."""
        while True:
            result = await self._fetch(request)
            asyncio.get_running_loop().call_soon(self._next)
            if isinstance(result, Response):
                return result
            request = result

    async def close_spider_async(self, *, reason: str = "cancelled") -> None:
        self.finish_reason = self.finish_reason or reason
        self.running = False
        self._slot.closing = True
        self._next()

    def _next(self) -> None:
        while not self.needs_backout():
            request = self.scheduler.next_request()
            if request is None:
                break
            self.downloader.active.add(request)
            task = asyncio.ensure_future(self._handle(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        idle = self._start is None and not self.scheduler.has_pending_requests()
        if not self.downloader.active and (idle or not self.running):
            self._ended.set()

    async def _handle(self, request: Request) -> None:
        try:
            result = await self._fetch(request)
        except Exception as e:  # noqa: BLE001  # whatever it is, the errback gets it
            await self._give(request, e)
        else:
            if isinstance(result, Request):
                self.crawl(result)
            else:
                await self._give(request, result)
        self._next()

    async def _give(self, request: Request, result: Any) -> None:
        if isinstance(result, Response):
            result.request = result.request or request
            produced = request.callback(result) if request.callback is not None else None
        else:
            produced = request.errback(result) if request.errback is not None else None
        for new in produced or ():
            self.crawl(new)

    async def _fetch(self, request: Request) -> Request | Response:
        self.downloader.active.add(request)
        try:
            result = await self._chain(request)
        finally:
            self.downloader.active.discard(request)
        if isinstance(result, Response) and result.request is None:
            result.request = request
        return result

    async def _chain(self, request: Request) -> Request | Response:
        result: Any = None
        try:
            for method in self._requests:
                result = method(request)
                if inspect.isawaitable(result):
                    result = await result
                if result is not None:
                    break
            else:
                result = await self._download(request)
        except Exception as e:  # noqa: BLE001  # the middlewares see it
            result = await self._exception(request, e)
        if isinstance(result, Request):
            return result
        for method in self._responses:
            result = method(request, result)
            if inspect.isawaitable(result):
                result = await result
            if isinstance(result, Request):
                return result
        return result

    async def _exception(self, request: Request, error: Exception) -> Any:
        for method in self._exceptions:
            result = method(request, error)
            if inspect.isawaitable(result):
                result = await result
            if result is not None:
                return result
        raise error


def header(headers: Headers, name: str) -> str:
    """The value of the header *name*, ``""`` if there is none."""
    return (headers.get(name) or b"").decode("latin-1")
