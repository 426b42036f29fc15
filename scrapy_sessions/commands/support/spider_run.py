"""A crawl of a spider, with its settings, in which something else is done in place of its ``start()``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from scrapy import Spider
from scrapy.core.scheduler import BaseScheduler
from scrapy.exceptions import NotConfigured
from scrapy.utils.conf import arglist_to_dict

from scrapy_sessions.analytics.redaction import describe_fault
from scrapy_sessions.commands.support.context import CommandError, Context, missing_store
from scrapy_sessions.commands.support.spiders import spider_class
from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.settings import SessionsSettings, is_enabled
from scrapy_sessions.storage import MemoryStore
from scrapy_sessions.storage.resolve import resolve_store

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler, CrawlerProcessBase

__all__ = ["SpiderRun"]


class _NoQueue(BaseScheduler):
    """Has no requests, and takes none: those of a job, or on a server, are for crawls."""

    def has_pending_requests(self) -> bool:
        return False

    def enqueue_request(self, request: Request) -> bool:
        return False

    def next_request(self) -> Request | None:
        return None


_SETTINGS: dict[str, Any] = {
    "SCHEDULER": _NoQueue,
    "JOBDIR": None,
    # No item is scraped. A feed would replace the file of a crawl by an empty one, and so would many a pipeline.
    "FEEDS": {},
    "ITEM_PIPELINES": {},
    "SESSIONS_PROMETHEUS_FILE": None,
    "SESSIONS_STORE_FALLBACK": None,  # where the sessions aren't
    # They would end what yields no items, or has no pages.
    "CLOSESPIDER_ERRORCOUNT": 0,
    "CLOSESPIDER_ITEMCOUNT": 0,
    "CLOSESPIDER_PAGECOUNT": 0,
    "CLOSESPIDER_PAGECOUNT_NO_ITEM": 0,
    "CLOSESPIDER_TIMEOUT_NO_ITEM": 0,
}
"""The settings that such a crawl has instead of the project's. All others hold, also those of the spider."""


class SpiderRun:
    """A crawl of the spider that the options name.

    :param process: the process of the command
    :param settings: further settings that replace the project's and the spider's

    Raises :exc:`CommandError` for a spider that doesn't exist.
    """

    def __init__(self, context: Context, process: CrawlerProcessBase, **settings: Any) -> None:
        options = context.options
        try:
            self._arguments = arglist_to_dict(options.spider_arguments)
        except ValueError:
            raise CommandError("Invalid -a value, use -a NAME=VALUE") from None
        process.settings.setdict({**_SETTINGS, **settings}, priority="cmdline")
        if options.store is not None:
            process.settings.set("SESSIONS_STORE", context.store_url, priority="cmdline")
        if options.namespace is not None:
            process.settings.set("SESSIONS_NAMESPACE", options.namespace, priority="cmdline")
        spidercls = spider_class(process.spider_loader, options.spider)
        self.crawler: Crawler = process.create_crawler(_in_place_of_start(spidercls, self._do))
        self._process = process
        self._name = options.spider
        self._work: Callable[[], Awaitable[None]] | None = None
        self._is_done = False
        self._error: BaseException | None = None

    def check_store(self, *, must_exist: bool) -> None:
        """Raise :exc:`CommandError` for a store that can't contain a session, or doesn't exist and *must_exist*.

        Refuses bad settings, too.
        """
        if not is_enabled(self.crawler.settings):
            raise CommandError("Sessions are switched off by SESSIONS_ENABLED")
        settings = SessionsSettings.from_settings(self.crawler.settings)
        store = resolve_store(url=settings.store, key=settings.encryption_key)
        missing = missing_store(store) if must_exist or isinstance(store, MemoryStore) else None
        if missing:
            raise CommandError(missing, 1)

    def do(self, work: Callable[[], Awaitable[None]]) -> str | None:
        """Run the crawl with *work* in place of the spider's ``start()``, and return why it ended before that was done.

        Raises what *work* raises, and :exc:`CommandError` if the crawl can't begin.
        """
        self._work = work
        with redirect_stdout(sys.stderr):  # what the spider prints is no part of the output
            crawling: Any = self._process.crawl(self.crawler, **self._arguments)
            if isinstance(crawling, asyncio.Future):
                crawling.add_done_callback(lambda done: self._note(None if done.cancelled() else done.exception()))
            else:
                crawling.addErrback(lambda failure: self._note(failure.value))
            self._process.start()
        if isinstance(self._error, SessionError | CommandError):
            raise self._error
        if isinstance(self._error, NotConfigured):
            raise CommandError(f"The spider {self._name!r} has no sessions: {self._error}", 1)
        if self._error is not None:
            raise CommandError(
                f"The spider {self._name!r} could not be run: {describe_fault(self._error)}. -L DEBUG logs it", 1
            )
        if self._is_done:
            return None
        assert self.crawler.stats is not None  # noqa: S101  # the crawl has begun
        reason: str = self.crawler.stats.get_value("finish_reason", "it did not begin")
        return reason

    def _note(self, error: BaseException | None) -> None:
        self._error = self._error or error

    async def _do(self) -> None:
        """In the crawl: do the work, and close the spider."""
        assert self._work is not None  # noqa: S101  # set by do()
        try:
            await self._work()
            self._is_done = True
        except Exception as e:  # noqa: BLE001  # raised again by do()
            self._note(e)
        engine = self.crawler.engine
        assert engine is not None  # noqa: S101  # it runs
        # Not by waiting until the spider is idle: it may then take requests from elsewhere, as that of scrapy-redis.
        self._closing = asyncio.ensure_future(engine.close_spider_async(reason="finished"))
        await asyncio.get_running_loop().create_future()  # until the crawl has ended, which cancels this


def _in_place_of_start(spidercls: type[Spider], work: Callable[[], Awaitable[None]]) -> type[Spider]:
    """Return a subclass of *spidercls* that does *work* when it starts."""

    async def start(self: Spider) -> AsyncIterator[Any]:
        await work()
        if self is None:  # it yields nothing, and is a generator
            yield

    names = {"start": start, "__module__": spidercls.__module__, "__doc__": spidercls.__doc__}
    return type(spidercls.__name__, (spidercls,), names)
