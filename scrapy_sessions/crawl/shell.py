"""Sessions in ``scrapy shell``: prompt and crawl run in two threads, and there is no signal for the end."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from scrapy import signals

from scrapy_sessions.crawl.facade import Router, SpiderSessions
from scrapy_sessions.crawl.scrapy_internals import at_thread_exit
from scrapy_sessions.exceptions import SessionError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.crawl.routing import SessionRouter

__all__ = ["ShellMiddleware", "ShellSessions", "set_up"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LAST_SAVE = 10.0  # seconds that the end of the shell waits for the store
_Save: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class ShellMiddleware:
    """Saves what has changed before the shell gets a response, or an exception.

    Next to the engine, so that it sees the last response only of a redirect, a replay or a login. Only a shell has it:
    no crawl pays for it.

    :param save: saves what has changed
    """

    def __init__(self, save: _Save) -> None:
        self._save = save

    async def process_response(self, request: Request, response: Response) -> Response:
        await self._save()
        return response

    async def process_exception(self, request: Request, exception: Exception) -> None:
        await self._save()


class ShellSessions(SpiderSessions):
    """``spider.sessions`` in ``scrapy shell``, whose prompt can't await. Created in the thread of the crawl."""

    def __init__(self, router: Router, save: _Save) -> None:
        super().__init__(router)
        self._save = save
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run *coroutine* in the thread of the crawl, save what it changed, and return its result or raise.

        .. code-block:: python

            bob = spider.sessions.run(spider.sessions.get("bob"))
            page = spider.sessions.run(bob.fetch(scrapy.Request("https://shop.example/orders")))

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` in a callback, which runs in that thread.
        """
        if threading.get_ident() == self._thread:
            coroutine.close()
            raise SessionError("sessions.run() is for the prompt of the shell: use await in a coroutine")
        return asyncio.run_coroutine_threadsafe(self._saved(coroutine), self._loop).result()

    async def _saved(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await coroutine
        finally:
            await self._save()


def set_up(router: SessionRouter, *, save: _Save, close: _Save) -> None:
    """Prepare the crawl of *router* for a shell, before its settings are frozen.

    :param save: saves what has changed
    :param close: closes manager and store
    """
    crawler = router.crawler

    class BoundShellMiddleware(ShellMiddleware):  # Scrapy makes its components of classes
        def __init__(self) -> None:
            super().__init__(save)

    crawler.settings.setdefault_in_component_priority_dict("DOWNLOADER_MIDDLEWARES", BoundShellMiddleware, 0)
    router.in_shell, router.facade = True, partial(ShellSessions, save=save)
    router.rests.patient = False  # nobody could interrupt fetch(): Scrapy switches Ctrl-C off
    closing = weakref.WeakMethod(close)

    def spider_opened() -> None:
        at_thread_exit(_close, closing, asyncio.get_running_loop())

    crawler.signals.connect(spider_opened, signal=signals.spider_opened, weak=False)


def _close(reference: weakref.WeakMethod[_Save], loop: asyncio.AbstractEventLoop) -> None:
    """Close the sessions in their *loop*, and wait for it, as Scrapy doesn't."""
    close = reference()
    if close is None or not loop.is_running():
        return
    try:
        asyncio.run_coroutine_threadsafe(close(), loop).result(_LAST_SAVE)
    except FutureTimeoutError:
        logger.error(
            "The store of the sessions didn't answer within %g seconds: what was changed in the shell since the last "
            "response may be lost",
            _LAST_SAVE,
        )
    except Exception:  # other exit handlers follow
        logger.exception("The sessions could not be closed: what was changed in the shell may be lost")
