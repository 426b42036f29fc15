"""The context of a session in a crawl, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from playwright.async_api import BrowserContext, Page

from scrapy_sessions.browser.context import Session, SessionContext
from scrapy_sessions.browser.loss import until_lost
from scrapy_sessions.models import Status

_T = TypeVar("_T")


class LiveSession(Session, Protocol):
    """What is asked of a session in a crawl."""

    generation: int
    closed: bool
    status: Status

    def ended(self) -> asyncio.Future[None]: ...


class OpenContext(SessionContext):
    """The context *name* of a session, as of its present generation."""

    def __init__(self, name: str, session: LiveSession, context: BrowserContext, *, limit: int) -> None:
        super().__init__(session, context, limit=limit)
        self.name = name
        self.live = session
        self.generation = session.generation
        self.in_flight = 0
        self.in_use: WeakSet[Page] = WeakSet()  # pages whose request is in flight
        self.unread: set[Page] = set()  # pages that may have changed what the session has
        self.read_with_content: WeakSet[Page] = WeakSet()  # pages that are closed as soon as their content is taken
        self.used = time.monotonic()
        self.over = False  # the session has ended: it is closed as soon as nothing is in flight in it
        self.superseded = False  # by that of a newer generation: likewise, when its pages are closed, too
        self.timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()  # it is closed, maybe with its browser
        self._ends: WeakKeyDictionary[Page, asyncio.Future[None]] = WeakKeyDictionary()  # crashed, given up or closed
        context.on("close", lambda _: _done(self.ended))
        context.on("page", self._watch)

    @property
    def is_current(self) -> bool:
        """Whether what happens in it may change the session."""
        return self.generation == self.live.generation and not self.live.closed

    @property
    def pages(self) -> list[Page]:
        """The open pages that aren't lost."""
        return [page for page in self.context.pages if not self.is_lost(page)]

    @property
    def pages_kept(self) -> int:
        """The number of pages that are still open after their requests."""
        return sum(page not in self.in_use for page in self.pages)

    def is_lost(self, page: Page) -> bool:
        """Whether the process that shows *page* is gone or was given up, and *page* isn't closed yet."""
        return page in self._ends and self._ends[page].done() and not page.is_closed()

    def give_up(self, page: Page) -> None:
        """Neither use nor read *page* any more: it doesn't answer."""
        if page in self._ends:
            _done(self._ends[page])

    async def until_lost(self, work: Coroutine[Any, Any, _T], page: Page) -> _T:
        """Return the result of *work* in *page*, which may take as long as that answers.

        Raises :exc:`~scrapy_sessions.browser.loss.Lost`.
        """
        ends = [self.ended] if page not in self._ends else [self.ended, self._ends[page]]
        return await until_lost(work, ends, partial(page.evaluate, "0"))

    async def until_unused(self) -> None:
        """Wait until none of its pages is open, or it is closed."""
        while not self.ended.done() and (ends := [self._ends[page] for page in self.pages if page in self._ends]):
            await asyncio.wait([self.ended, *ends], return_when=asyncio.FIRST_COMPLETED)

    async def pull_cookies(self) -> None:
        """Copy the cookies that changed in the browser into the session."""
        closed = {page for page in self.unread if page.is_closed()}
        await super().pull_cookies()
        self.unread -= closed

    def _watch(self, page: Page) -> None:
        self.unread.add(page)
        end = self._ends[page] = asyncio.get_running_loop().create_future()
        page.on("crash", lambda _: _done(end))
        page.on("close", lambda _: _done(end))


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
