"""Requests that wait give their places back to those that need not.

A request that waits in a middleware holds one of the CONCURRENT_REQUESTS places. While other requests are queued, one
that would wait for longer than a second or two returns to the scheduler instead, behind all others, and comes again. It
waits in place only when nothing else is left to do. Whoever waits longest in place gives its place to a request that is
scheduled, and to a deferred one that need not wait any more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from scrapy import signals

from scrapy_sessions.crawl.scrapy_internals import engine_of, queued_requests
from scrapy_sessions.exceptions import CrawlClosing

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from scrapy_sessions.crawl.shutdown import ShutdownGuard

_T = TypeVar("_T")

PATIENCE = 1.5  # seconds that a request waits in its place though others could go

DEFERRED = "_session_deferred"
"""The meta key of a request that returned to the scheduler: the run, its priority, what it waits for, the turn, and
whether it has reached the scheduler."""

_RARELY = 60.0  # seconds after which what was not found is sought again, at the latest

_OWN = 1 << 20  # the priorities that are distinguished among deferred requests of the same second


class Wanted(NamedTuple):
    """What a request waits for: a session, to send it to *host*, a host of *site*."""

    session_id: str
    host: str
    site: str


class _Queued:
    """The deferred requests in the scheduler that want the same: how many, and the latest end of their waits."""

    def __init__(self) -> None:
        self.number = 0
        self.end = 0.0


class _InPlace:
    """A request that waits in its place for what it wants, since a moment (``time.monotonic()``)."""

    def __init__(self, wanted: Wanted | None) -> None:
        self.wanted = wanted
        self.since = time.monotonic()
        self.needed: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Deferral:
    """Tracks which requests of a crawl were deferred and which wait in place.

    :param expected: returns for how many seconds a request will wait for what it wants, as far as is known
    """

    def __init__(self, crawler: Crawler, guard: ShutdownGuard, expected: Callable[[Wanted], float]) -> None:
        self._crawler = crawler
        self._guard = guard
        self._expected_wait = expected
        self._run = time.time()  # a disk queue may contain requests that an earlier run deferred
        self._deferred = 0  # of the queued requests
        self._queued: dict[Wanted, _Queued] = {}
        self.turn = 1
        """Grows when a request is sent, as the router counts, and with each search. A request that is deferred again in
        the same turn would run in circles."""
        self._sought: list[Wanted] = []
        """What deferred requests need not wait for: those before them in the scheduler return behind them."""
        self._behind = 0.0  # the end that counts for these
        self._looks = 0  # how many more of them are looked at
        self._search_turn = 0
        self._search_began = 0.0
        self._next_search = 0.0
        self._in_place: dict[_InPlace, None] = {}
        self._looking: asyncio.Task[None] | None = None
        self._listening = False

    def arrive(self, request: Request) -> int | None:
        """*request*, which was deferred, comes from the scheduler, or from ``download_async()``. Restores its priority.

        Returns in which turn it was deferred last; 0: not in this run. ``None``: it may not be deferred, as it has not
        been in the scheduler since, and would return at once.
        """
        run, request.priority, wanted, turn, scheduled = request.meta.pop(DEFERRED)
        if run != self._run:
            return 0
        self._deferred -= 1
        self._take_out(wanted)
        self._listen()
        return int(turn) if scheduled else None

    async def wait(
        self, request: Request, waiting: Coroutine[Any, Any, _T], wanted: Wanted | None, deferred_in: int = 0
    ) -> _T | Request:
        """Return what *waiting* returns, or the request to schedule instead: then *waiting* was cancelled.

        :param wanted: what it waits for, if that is known
        :param deferred_in: what :meth:`arrive` returned
        """
        task = asyncio.ensure_future(waiting)
        patient_until = time.monotonic() + (PATIENCE if self._expected(wanted) <= PATIENCE else 0.0)
        may_leave = deferred_in != self.turn or self._goes_on()
        try:
            while not task.done():
                if not (may_leave and self._others_could_go()):
                    await self._wait_in_place(task, wanted)
                    may_leave = True
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
            return self._defer(request, wanted)
        return task.result()

    def waited_for(self) -> list[Wanted]:
        """Return what deferred requests wait for."""
        return list(self._queued)

    def _expected(self, wanted: Wanted | None) -> float:
        return 0.0 if wanted is None else self._expected_wait(wanted)

    def _others_could_go(self) -> bool:
        """Whether a request is queued that was not deferred, or a deferred one that need not wait any more."""
        if queued_requests(self._crawler) > self._deferred:
            return True
        while self._sought:
            if self._sought[-1] in self._queued and self._expected(self._sought[-1]) <= PATIENCE:
                return True
            self._sought.pop()
        return False

    def _goes_on(self) -> bool:
        """Whether the search goes on, though a request comes for the second time: there may be several slots."""
        if self._sought and self._looks <= 0:
            self._sought.clear()  # not found: another process has taken them, say
            now = time.monotonic()
            self._next_search = now + min(20 * (now - self._search_began), _RARELY)
        return bool(self._sought)

    async def _wait_in_place(self, task: asyncio.Future[Any], wanted: Wanted | None) -> None:
        """Wait for *task*, or until another request needs the place."""
        place = _InPlace(wanted)
        self._in_place[place] = None
        self._listen()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait([task, place.needed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._in_place.pop(place, None)
            self._listen()
            if not self._in_place and self._looking is not None:
                self._looking.cancel()
                self._looking = None  # not done yet: who comes next must not rely on it

    def _listen(self) -> None:
        """Receive the signal of scheduled requests only as long as it is of use."""
        useful = bool(self._in_place or self._deferred)
        if useful == self._listening:
            return
        self._listening = useful
        change = self._crawler.signals.connect if useful else self._crawler.signals.disconnect
        change(self._scheduled, signal=signals.request_scheduled)

    def _scheduled(self, request: Request) -> None:
        note = request.meta.get(DEFERRED)
        if note is not None:
            note[-1] = True
        elif self._in_place and self._crawler.engine.needs_backout():
            self._free(1, list(self._in_place))

    async def _look(self) -> None:
        """While requests wait in place, look once a second whether others could go. A session may be ready before the
        end that was expected, by the clock too."""
        with suppress(CrawlClosing):
            while self._in_place:
                await self._guard.tick()
                engine = engine_of(self._crawler)
                if self._in_place and engine is not None and engine.needs_backout():
                    self._search()

    def _search(self) -> None:
        """Free places for the queued requests that could go."""
        now = time.monotonic()
        ready = {}
        if now >= self._next_search:
            ready = {each: queued for each, queued in self._queued.items() if self._expected(each) <= PATIENCE}
        queued = queued_requests(self._crawler)
        number = sum(each.number for each in ready.values()) + max(queued - self._deferred, 0)
        if not number:
            return
        leaving = [
            place
            for place in self._in_place
            if place.wanted not in ready and (place.since < now - PATIENCE or self._expected(place.wanted) > PATIENCE)
        ]
        if leaving:
            if not self._sought or self.turn != self._search_turn:  # no search goes on without success
                self.turn += 1
                self._search_turn, self._search_began, self._looks = self.turn, now, 2 * queued
            self._sought = list(ready)
            self._behind = math.ceil(max((each.end for each in ready.values()), default=0.0)) + 1
            self._free(number, leaving)

    def _free(self, number: int, leaving: list[_InPlace]) -> None:
        """Free the places of *number* of those *leaving*: of those that wait longest, and of the latest of these."""
        leaving.reverse()
        leaving.sort(key=lambda place: self._expected(place.wanted), reverse=True)
        for place in leaving[:number]:
            del self._in_place[place]
            place.needed.set_result(None)

    def _defer(self, request: Request, wanted: Wanted | None) -> Request:
        end = time.time() - self._run + self._expected(wanted)
        if self._sought:
            end = max(end, self._behind)
            self._looks -= 1
        # Those that are ready first come first, then those of the highest priority.
        own = max(min(request.priority, _OWN // 2 - 1), -_OWN // 2)
        deferred: Request = request.replace(dont_filter=True, priority=own - _OWN * (1 + max(round(end), 0)))
        what = None if wanted is None else list(wanted)
        deferred.meta[DEFERRED] = [self._run, request.priority, what, self.turn, False]
        self._deferred += 1
        if wanted is not None:
            queued = self._queued.setdefault(wanted, _Queued())
            queued.number += 1
            queued.end = max(queued.end, end)
        self._listen()
        return deferred

    def _take_out(self, what: list[str] | None) -> None:
        """One of the deferred requests that want this is not queued any more."""
        wanted = None if what is None else Wanted(*what)
        if wanted in self._queued:
            self._queued[wanted].number -= 1
            if not self._queued[wanted].number:
                del self._queued[wanted]


def is_deferred(request: Request) -> bool:
    """Whether *request* returns to the scheduler as it would have to wait."""
    return DEFERRED in request.meta
