"""Sessions in ``scrapy shell``: the prompt has one thread, the crawl another, and no signal tells of the end."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

from scrapy import signals

from scrapy_sessions.crawl.facade import SpiderSessions
from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.extension import SessionsExtension

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    # typing.Self requires Python 3.11
    from typing_extensions import Self

__all__ = ["ShellMiddleware", "ShellSessions", "set_up"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LAST_SAVE = 10.0  # seconds that the end of the shell may wait for a store, before what is left is given up

# Of what Python calls when the main thread has ended, this comes first. At atexit.register()'s turn, the threads that
# stores work in take nothing any more. It has no public name, but was there in every version since 3.9.
_register: Callable[..., object] = getattr(threading, "_register_atexit", atexit.register)


class ShellMiddleware:
    """Saves what has changed before the shell gets a response, or is told of a failure.

    Only a shell has it, so that no crawl pays for it. It stands next to the engine: of a redirect, a replay or a login
    it sees the last response, and then everything is saved.
    """

    def __init__(self, extension: SessionsExtension) -> None:
        self._extension = extension

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(SessionsExtension.of(crawler))

    async def process_response(self, request: Request, response: Response) -> Response:
        await self._extension.save()
        return response

    async def process_exception(self, request: Request, exception: Exception) -> None:
        await self._extension.save()


class ShellSessions(SpiderSessions):
    """What ``spider.sessions`` is in ``scrapy shell``, where the prompt can't await what belongs to the crawl.

    Made in the thread of the crawl.
    """

    def __init__(self, extension: SessionsExtension) -> None:
        super().__init__(extension)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run *coroutine* where the crawl runs, save what it changed, and return what it gives. Raises what it raises.

        .. code-block:: python

            bob = spider.sessions.run(spider.sessions.get("bob"))
            page = spider.sessions.run(bob.fetch(scrapy.Request("https://shop.example/orders")))

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` in a callback, which is in that thread itself.
        """
        if threading.get_ident() == self._thread:
            coroutine.close()
            raise SessionError("sessions.run() is for the prompt of the shell: use await in a coroutine")
        return asyncio.run_coroutine_threadsafe(self._saved(coroutine), self._loop).result()

    async def _saved(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await coroutine
        finally:
            await self._extension.save()


def set_up(extension: SessionsExtension) -> None:
    """Make *extension* that of a shell, before the settings of its crawler are frozen."""
    crawler = extension.crawler
    crawler.settings.setdefault_in_component_priority_dict("DOWNLOADER_MIDDLEWARES", ShellMiddleware, 0)
    extension.in_shell, extension.facade = True, ShellSessions
    crawler.signals.connect(_spider_opened, signal=signals.spider_opened, weak=False)


def _spider_opened(spider: Spider) -> None:
    extension = SessionsExtension.of(spider.crawler)
    _register(_close, weakref.ref(extension), asyncio.get_running_loop())


def _close(reference: weakref.ref[SessionsExtension], loop: asyncio.AbstractEventLoop) -> None:
    """Close the extension in its *loop*, and wait for it, as Scrapy doesn't."""
    extension = reference()
    if extension is None or not loop.is_running():
        return
    try:
        asyncio.run_coroutine_threadsafe(extension.close(), loop).result(_LAST_SAVE)
    except FutureTimeoutError:
        logger.error(
            "The store of the sessions didn't answer within %g seconds: what was changed in the shell since the last "
            "response may be lost",
            _LAST_SAVE,
        )
    except Exception:  # others are to be called after this one
        logger.exception("The sessions could not be closed: what was changed in the shell may be lost")
