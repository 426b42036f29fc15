"""The browser contexts of a crawl: one for each session that is in use, and a bounded number of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from playwright.async_api import BrowserContext, Error, Page

from scrapy_sessions.browser.loss import PATIENCE, Lost, close_page, until_lost, within
from scrapy_sessions.browser.open_context import LiveSession, OpenContext
from scrapy_sessions.exceptions import PoolBusy, SessionRetired

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_OPENING = 90.0
"""Seconds that opening a context may take: the browser may have to be launched, and many storages be restored."""

_WARN_AFTER = 30.0
"""Seconds that a request waits for a context before a WARNING names the sessions that have one."""


class Guard(Protocol):
    """Ends waits when the crawl closes."""

    async def wait(self, awaitable: Awaitable[_T]) -> _T: ...


class BrowserContexts:
    """Opens and closes the contexts of sessions.

    :param limit: how many may be open; 0: no limit. The least recently used idle ones are closed for others
    :param idle: seconds after which one without pages is closed; 0: never
    :param timeout: seconds that a request waits for a context; 0: no limit
    :param max_storage: bytes of storages that a session takes over
    :param create: returns a new context of a session, by a name and the arguments that the request has for it
    """

    def __init__(
        self,
        create: Callable[[Any, str, dict[str, Any]], Awaitable[BrowserContext]],
        guard: Guard,
        *,
        limit: int,
        idle: float,
        timeout: float,
        max_storage: int,
    ) -> None:
        self._create = create
        self._guard = guard
        self._limit = limit
        self._idle = idle
        self._timeout = timeout
        self._max_storage = max_storage
        self._numbers = count(1)
        self._current: dict[str, OpenContext] = {}  # by the id of the session
        self._all: set[OpenContext] = set()
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._closing: dict[asyncio.Task[None], str] = {}  # with the id of the session
        self._places = 0  # contexts that are open, being opened or being closed
        self._wanted: Counter[str] = Counter()  # requests that are in a context or wait for it
        self._freed = asyncio.Event()
        self._observed: WeakSet[LiveSession] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closing = False

    @asynccontextmanager
    async def use(self, session: LiveSession, options: dict[str, Any]) -> AsyncIterator[OpenContext]:
        """Give a request the context of *session*, with its present cookies; afterwards read what the page has changed.

        Raises :exc:`~scrapy_sessions.exceptions.PoolBusy` if none becomes free,
        :exc:`~scrapy_sessions.exceptions.CrawlClosing`, and :exc:`~scrapy_sessions.browser.loss.Lost`.
        """
        opened: OpenContext | None = None
        self._wanted[session.id] += 1
        try:
            opened = await self._obtain(session, options)
            opened.in_flight += 1
            try:
                await within(PATIENCE, self._prepare(opened))
                yield opened
                if opened.is_current and opened.unread:
                    await self._read(opened, opened.pull_cookies())
            finally:
                opened.in_flight -= 1
        finally:
            self._wanted[session.id] -= 1
            if not self._wanted[session.id]:
                del self._wanted[session.id]
            if opened is not None:
                self._rest(opened)

    async def new_page(self, opened: OpenContext, creating: Coroutine[Any, Any, Page], limit: int) -> Page:
        """Return the page that is being created in *opened*: with *limit* pages open, once one of them is closed.

        Raises :exc:`~scrapy_sessions.exceptions.PoolBusy` if that takes too long, and
        :exc:`~scrapy_sessions.browser.loss.Lost`.
        """
        warned = False

        async def ping() -> None:
            nonlocal warned
            present = len(opened.context.pages)
            # The page's process ended before Playwright was connected to it, which then waits without an end.
            if present < limit:
                raise Lost("no page was opened")
            if not warned:
                warned = True
                logger.warning(
                    "A request of the session %r waits for one of its %d open pages to be closed: "
                    "PLAYWRIGHT_MAX_PAGES_PER_CONTEXT allows no more",
                    opened.session.id,
                    present,
                )

        try:
            return await asyncio.wait_for(until_lost(creating, [opened.ended], ping), self._timeout or None)
        except asyncio.TimeoutError:
            raise PoolBusy(f"No page of the session {opened.session.id!r} was closed in {self._timeout:g} s") from None
        except Lost:  # the next try gets another context: scrapy-playwright's place for the page isn't given back
            opened.over = True
            self._forget(opened)
            raise

    def before_http(self, session: LiveSession) -> Coroutine[Any, Any, None] | None:
        """Return what an HTTP request of *session* has to await, if a page is still open after its own request."""
        opened = self._current.get(session.id)
        if opened is None or not opened.is_current or not opened.pages_kept:
            return None
        return self._read(opened, opened.pull_cookies())

    def http_changed(self, session: LiveSession) -> None:
        """Copy the cookies of an HTTP response to the open pages, without waiting. The next page gets them anyway."""
        opened = self._current.get(session.id)
        if opened is not None and opened.is_current and (opened.in_flight or opened.pages):
            self._start(self._bounded(opened.push_cookies()))

    def has_pages(self, session: LiveSession) -> bool:
        """Whether a page of *session* is open, perhaps for a callback that works in it."""
        return any(each.pages for each in self._all if each.live is session)

    async def hand_over(self, session: LiveSession) -> None:
        """Wait until the pages of *session* are closed, copy into it what the browser has, and close its contexts."""
        while contexts := [each for each in self._all if each.live is session]:
            await contexts[0].until_unused()
            await self._close(contexts[0])
        closing = [task for task, session_id in self._closing.items() if session_id == session.id]
        if closing:
            await asyncio.wait(closing)

    def named(self, name: str) -> OpenContext | None:
        """Return the context with this name."""
        return next((each for each in self._all if each.name == name), None)

    async def capture(self) -> None:
        """Copy into the sessions what their contexts have now, also those that are being closed."""
        closing = list(self._closing)
        current = [each for each in self._all if each.is_current]
        await asyncio.gather(*(self._read(each, each.save()) for each in current))
        if closing:
            await asyncio.wait(closing, timeout=PATIENCE)

    async def close(self) -> None:
        """Close all contexts, after what was started before. What they have is no longer read: see :meth:`capture`."""
        self._is_closing = True
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._opening.values(), return_exceptions=True)
        await asyncio.gather(*(self._close(each) for each in list(self._all)))

    # Opening

    async def _prepare(self, opened: OpenContext) -> None:
        await opened.push_cookies()
        await opened.send_secrets()

    async def _obtain(self, session: LiveSession, options: dict[str, Any]) -> OpenContext:
        while True:
            if session.closed or session.status == "retired":
                raise SessionRetired(f"The session {session.id!r} was retired or deleted: it gets no browser context")
            opened = self._current.get(session.id)
            if opened is not None and opened.is_current:
                return opened
            opening = self._opening.get(session.id)
            if opening is None:
                opening = self._opening[session.id] = asyncio.ensure_future(self._open(session, options))
                opening.add_done_callback(lambda task: self._opened(session.id, task))
            await self._guard.wait(asyncio.shield(opening))

    def _opened(self, session_id: str, task: asyncio.Task[None]) -> None:
        del self._opening[session_id]
        if not task.cancelled():
            task.exception()  # retrieved: all that waited for it may have been cancelled

    async def _open(self, session: LiveSession, options: dict[str, Any]) -> None:
        closing = [task for task, session_id in self._closing.items() if session_id == session.id]
        if closing:
            await asyncio.wait(closing)
        old = self._current.pop(session.id, None)
        if old is not None:  # of an older generation: the session's cookies and changes to its storages are newer
            await self._read(old, old.pull_storages(session_first=True))
            old.superseded = True
            self._end_if_over(old)
        await self._find_place(session)
        context: BrowserContext | None = None
        try:
            name = f"{session.id} #{next(self._numbers)}"
            context = await within(_OPENING, self._create(session, name, options))
            opened = OpenContext(name, session, context, limit=self._max_storage)
            await within(_OPENING, opened.fill(intercept=False))
        except BaseException:
            if context is not None:
                await self._bounded(context.close())
            self._places -= 1
            self._freed.set()
            raise
        context.on("close", lambda _: self._closed(opened))
        context.on("page", lambda page: self._watch(opened, page))
        self._all.add(opened)  # not before: it would seem idle
        self._current[session.id] = opened
        if session not in self._observed:
            self._observed.add(session)
            session.ended().add_done_callback(partial(self._ended, session.id))

    async def _find_place(self, session: LiveSession) -> None:
        start, warned = time.monotonic(), False
        while self._limit and self._places >= self._limit:
            idle = [each for each in self._all if self._is_idle(each)]
            if idle:
                await self._close(min(idle, key=lambda each: each.used))
                continue
            self._freed.clear()
            waited = time.monotonic() - start
            ends = [end for end in (0.0 if warned else _WARN_AFTER, self._timeout) if end]
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._freed.wait(), max(min(ends) - waited, 0.0) if ends else None)
            waited = time.monotonic() - start
            if waited >= _WARN_AFTER and not warned:
                warned = True
                self._warn(session)
            if self._timeout and waited >= self._timeout:
                raise PoolBusy(f"No browser context became free for the session {session.id!r} in {self._timeout:g} s")
        self._places += 1

    def _warn(self, session: LiveSession) -> None:
        logger.warning(
            "The session %r waits for a browser context. SESSIONS_BROWSER_CONTEXTS allows %d, which these have: %s",
            session.id,
            self._limit,
            ", ".join(sorted(f"{each.session.id!r} (open pages: {len(each.context.pages)})" for each in self._all)),
        )

    def _watch(self, opened: OpenContext, page: Page) -> None:
        """Read *page* when its content is taken for the last time, or else when it is closed, whoever closes it."""
        content, close = page.content, page.close

        async def content_and_read(**options: Any) -> str:
            if page not in opened.read_with_content:
                return await content(**options)
            reading = self._start(self._read_page(opened, page))  # at once: each answer takes the browser a while
            text = await content(**options)
            await reading
            opened.unread.discard(page)
            return text

        async def read_and_close(**options: Any) -> None:
            if page in opened.unread and not page.is_closed():
                await self._read_page(opened, page)
            await close_page(page, close(**options))
            if page.is_closed():
                opened.unread.discard(page)

        page.content = content_and_read  # type: ignore[method-assign]
        page.close = read_and_close  # type: ignore[method-assign]
        page.on("close", lambda _: self._rest(opened))
        page.on("crash", lambda _: self._rest(opened))

    # Closing

    def _is_idle(self, opened: OpenContext) -> bool:
        wanted = self._wanted[opened.session.id] and opened is self._current.get(opened.session.id)
        return not (opened.in_flight or wanted or opened.pages)

    def _rest(self, opened: OpenContext) -> None:
        """Close *opened* after a while without use, at once if it is over."""
        opened.used = time.monotonic()
        self._freed.set()
        if opened.timer is not None:
            opened.timer.cancel()
            opened.timer = None
        if opened in self._all and not self._end_if_over(opened) and self._idle:
            opened.timer = asyncio.get_running_loop().call_later(self._idle, self._end_if_idle, opened)

    def _end_if_idle(self, opened: OpenContext) -> None:
        if opened in self._all and self._is_idle(opened):
            self._start(self._close(opened))

    def _ended(self, session_id: str, future: asyncio.Future[None]) -> None:
        """The session was retired or deleted."""
        if future.cancelled():
            return
        for opened in [each for each in self._all if each.session.id == session_id]:
            if opened.live.closed or opened.live.status == "retired":  # not of another session that has its id by now
                opened.over = True
                self._end_if_over(opened)

    def _end_if_over(self, opened: OpenContext) -> bool:
        if opened not in self._all or opened.in_flight:
            return False
        if not opened.over and (not opened.superseded or opened.pages):
            return False
        self._start(self._close(opened))
        return True

    async def _close(self, opened: OpenContext) -> None:
        if opened not in self._all:
            return
        self._all.discard(opened)
        self._forget(opened)
        if opened.timer is not None:
            opened.timer.cancel()
        closing = self._start(self._capture_and_close(opened))
        self._closing[closing] = opened.session.id
        closing.add_done_callback(self._closing.pop)
        await asyncio.wait([closing])

    def _forget(self, opened: OpenContext) -> None:
        """Let the next request of the session open another context."""
        if self._current.get(opened.session.id) is opened:
            del self._current[opened.session.id]

    async def _capture_and_close(self, opened: OpenContext) -> None:
        try:
            if opened.is_current and not self._is_closing:
                await self._read(opened, opened.save())
            await self._bounded(opened.context.close())
        finally:
            self._places -= 1
            self._freed.set()

    def _closed(self, opened: OpenContext) -> None:
        """The context is closed, maybe by somebody else, or with its browser."""
        if opened not in self._all:
            return
        self._all.discard(opened)
        self._forget(opened)
        if opened.timer is not None:
            opened.timer.cancel()
        self._places -= 1
        self._freed.set()

    async def _read(self, opened: OpenContext, work: Awaitable[None]) -> None:
        """As :meth:`_bounded`, for what the session loses otherwise."""
        try:
            await asyncio.wait_for(work, PATIENCE)
        except (Error, asyncio.TimeoutError) as e:
            # Without its message, which may contain addresses.
            logger.warning("What %r has in the browser can't be read: %s", opened.session.id, type(e).__name__)

    async def _read_page(self, opened: OpenContext, page: Page) -> None:
        """Copy into the session what *page* has stored, and the cookies."""
        if opened.is_current and not opened.is_lost(page):
            await asyncio.gather(self._read(opened, opened.read_page(page)), self._read(opened, opened.pull_cookies()))

    async def _bounded(self, work: Awaitable[None]) -> None:
        """Await *work* on the browser, which may fail or never end, as after a kill."""
        with suppress(Error, asyncio.TimeoutError):
            await asyncio.wait_for(work, PATIENCE)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
