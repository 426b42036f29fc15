"""Requests that wait give their places back to those that need not.

A request that waits in a middleware holds one of the CONCURRENT_REQUESTS places. While other requests are queued, one
that would wait for longer than a second or two returns to the scheduler instead, behind all others, and comes again. It
waits in place only when nothing else is left to do; a request that is scheduled then gets its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from scrapy import signals

from scrapy_sessions.crawl.scrapy_internals import queued_requests

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

_T = TypeVar("_T")

PATIENCE = 1.5  # seconds that a request waits in its place though others are queued

_DEFERRED = "_session_deferred"
"""The meta key of a request that returned to the scheduler: the run, its priority, and how many others were sent."""

_OWN = 1 << 20  # the priorities that are told apart among deferred requests of the same second


class Deferral:
    """Knows which requests of a crawl were deferred and which wait in place."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._run = time.time()  # a disk queue may contain requests that an earlier run deferred
        self._deferred = 0  # of the queued requests
        self.begun = 0
        """How many requests were sent. Counted by the router."""
        self._in_place: dict[asyncio.Future[None], None] = {}  # the latest is the first to leave
        self._listening = False

    def arrive(self, request: Request) -> bool:
        """*request* comes from the scheduler, or from ``download_async()``. Returns whether it may be deferred.

        Restores the priority of one that was deferred. If no other request was sent since, it wasn't in the scheduler,
        or nothing else is left: to defer it again would be a busy loop.
        """
        deferred = request.meta.pop(_DEFERRED, None)
        if deferred is None:
            return True
        run, request.priority, begun = deferred
        if run != self._run:
            return True
        self._deferred -= 1
        return bool(begun != self.begun)

    async def wait(self, request: Request, waiting: Coroutine[Any, Any, _T], expected: float) -> _T | Request:
        """Return what *waiting* returns, or the request to schedule instead: then *waiting* was cancelled.

        :param expected: seconds that it will take, as far as is known
        """
        task = asyncio.ensure_future(waiting)
        patient_until = time.monotonic() + (PATIENCE if expected <= PATIENCE else 0.0)
        try:
            while not task.done():
                if queued_requests(self._crawler) <= self._deferred:  # none is queued that was not deferred
                    await self._wait_in_place(task)
                elif (seconds := patient_until - time.monotonic()) > 0:
                    await asyncio.wait([task], timeout=seconds)
                else:
                    break
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                return await task
            return self._defer(request, expected)
        return task.result()

    async def _wait_in_place(self, task: asyncio.Future[Any]) -> None:
        """Wait for *task*, or until another request needs the place."""
        needed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_place[needed] = None
        if not self._listening:
            self._listening = True
            self._crawler.signals.connect(self._scheduled, signal=signals.request_scheduled)
        try:
            await asyncio.wait([task, needed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._in_place.pop(needed, None)
            if not self._in_place and self._listening:
                self._listening = False
                self._crawler.signals.disconnect(self._scheduled, signal=signals.request_scheduled)

    def _scheduled(self, request: Request) -> None:
        if _DEFERRED in request.meta or not self._crawler.engine.needs_backout():
            return
        if self._in_place:
            needed, _ = self._in_place.popitem()
            needed.set_result(None)

    def _defer(self, request: Request, expected: float) -> Request:
        self._deferred += 1
        # Those that are ready first come first, then those of the highest priority.
        own = max(min(request.priority, _OWN // 2 - 1), -_OWN // 2)
        priority = own - _OWN * (1 + round(expected))
        deferred: Request = request.replace(dont_filter=True, priority=priority)
        deferred.meta[_DEFERRED] = [self._run, request.priority, self.begun]
        return deferred


def is_deferred(request: Request) -> bool:
    """Whether *request* returns to the scheduler as it would have to wait."""
    return _DEFERRED in request.meta
