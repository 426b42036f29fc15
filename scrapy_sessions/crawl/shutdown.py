"""Waits that end when the crawl is asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from scrapy_sessions.exceptions import CrawlClosing

_T = TypeVar("_T")

_INTERVAL = 1.0  # seconds between two checks


class ShutdownGuard:
    """Ends waits when the crawl begins to close. While something waits, it checks once a second: Scrapy has no signal.

    :param is_closing: returns whether the crawl is closing
    """

    def __init__(self, is_closing: Callable[[], bool]) -> None:
        self._is_closing = is_closing
        self._waiting: set[asyncio.Future[Any]] = set()
        self._checking: asyncio.Task[None] | None = None
        self._checked = asyncio.Event()

    async def wait(self, awaitable: Awaitable[_T]) -> _T:
        """Return the result of *awaitable*.

        Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`, and cancels it, when the crawl begins to close first.
        """
        if self._is_closing():
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            elif isinstance(awaitable, asyncio.Future):
                awaitable.cancel()
            raise CrawlClosing("The crawl is closing: no request waits for its session")
        future: asyncio.Future[_T] = asyncio.ensure_future(awaitable)
        self._waiting.add(future)
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._check())
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
        """Sleep for *seconds*. Raises as :meth:`wait`."""
        await self.wait(asyncio.sleep(seconds))

    async def tick(self) -> None:
        """Wait for the next check, to check something else that has no signal. Raises as :meth:`wait`."""
        await self.wait(self._checked.wait())

    async def close(self) -> None:
        """End every wait."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
            with suppress(asyncio.CancelledError):
                await checking
        for future in list(self._waiting):
            future.cancel()

    async def _check(self) -> None:
        while self._waiting:
            if self._is_closing():
                for future in list(self._waiting):
                    future.cancel()
                return
            self._checked.set()
            self._checked.clear()
            await asyncio.sleep(_INTERVAL)


def _read(future: asyncio.Future[Any]) -> None:
    """Retrieve the exception of an abandoned *future*, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()
