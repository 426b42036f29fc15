"""Waits that end when the crawl is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from scrapy_sessions.exceptions import CrawlClosing

__all__ = ["ShutdownGuard"]

_T = TypeVar("_T")

_LOOK = 1.0  # seconds between two looks


class ShutdownGuard:
    """Knows whether the crawl is closing, by looking once a second while anybody waits: Scrapy has no signal for it.

    :param is_closing: takes that look
    """

    def __init__(self, is_closing: Callable[[], bool]) -> None:
        self._is_closing = is_closing
        self._waiting: set[asyncio.Future[Any]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()

    async def wait(self, awaitable: Awaitable[_T]) -> _T:
        """Return what *awaitable* gives. Cancels it, and raises
        :exc:`~scrapy_sessions.exceptions.CrawlClosing`, when the crawl begins to close first."""
        if self._is_closing():
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            elif isinstance(awaitable, asyncio.Future):
                awaitable.cancel()
            raise CrawlClosing("The crawl is closing: no request waits for its session any more")
        future: asyncio.Future[_T] = asyncio.ensure_future(awaitable)
        self._waiting.add(future)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait([future])
        finally:
            self._waiting.discard(future)
            if not future.done():  # we were cancelled ourselves
                future.cancel()
                future.add_done_callback(_read)
        if future.cancelled():
            raise CrawlClosing("The crawl is closing: a request that waited for its session was not sent")
        return future.result()

    async def sleep(self, seconds: float) -> None:
        """Sleep for *seconds*, or raise as :meth:`wait`."""
        await self.wait(asyncio.sleep(seconds))

    async def tick(self) -> None:
        """Wait for the next look, to look at something else that sends no signal. Raises as :meth:`wait`."""
        await self.wait(self._looked.wait())

    async def close(self) -> None:
        """End every wait."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        for future in list(self._waiting):
            future.cancel()

    async def _look(self) -> None:
        while self._waiting:
            if self._is_closing():
                for future in list(self._waiting):
                    future.cancel()
                return
            self._looked.set()
            self._looked.clear()
            await asyncio.sleep(_LOOK)


def _read(future: asyncio.Future[Any]) -> None:
    """Read what nobody waits for any more, so that nothing tells of an exception that was never retrieved."""
    if not future.cancelled():
        future.exception()
