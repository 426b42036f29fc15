"""The private names of Scrapy and of the standard library that this package uses; no other module uses one.

Each has a contract test in ``tests/crawl/test_scrapy_internals.py``, which fails when a new version changes it and says
what breaks.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import NotConfigured
from scrapy.http import Headers, Response
from scrapy.http.request import NO_CALLBACK

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.core.engine import ExecutionEngine
    from scrapy.crawler import Crawler
    from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
    from scrapy.http.request import VerboseCookie

# The engine


def engine_of(crawler: Crawler) -> ExecutionEngine | None:
    """Return the engine of *crawler*; ``None`` before the crawl starts, and where middlewares run without one."""
    try:
        return crawler.engine
    except RuntimeError:  # Scrapy 2.14 has None
        return None


def is_closing(engine: ExecutionEngine | None) -> bool:
    """Whether *engine* is closing its spider. Scrapy has no signal and no public name for it."""
    if engine is None:
        return False
    slot = engine._slot  # noqa: SLF001
    return slot is None or slot.closing is not None or not engine.running


def queued_requests(crawler: Crawler) -> int:
    """Return how many requests the scheduler of *crawler* contains, as far as is known; 0 before the crawl starts."""
    slot = getattr(engine_of(crawler), "_slot", None)  # Scrapy 2.19 has engine.scheduler
    if slot is None:
        return 0
    try:
        return len(slot.scheduler)  # not part of the interface of a scheduler
    except TypeError:
        return int(slot.scheduler.has_pending_requests())


def waiting_requests(crawler: Crawler) -> int | None:
    """Return how many requests of *crawler* wait: in the scheduler, and in middlewares; ``None``: one is being sent."""
    engine = engine_of(crawler)
    if engine is None:
        return None
    downloader = engine.downloader
    slots = getattr(downloader, "slots", {})
    if any(slot.active for slot in slots.values()):
        return None
    return queued_requests(crawler) + len(getattr(downloader, "active", ()))


# The downloader


class HeldBack(Exception):
    """A request was not sent: see :func:`before_download`."""


def before_download(crawler: Crawler, may_send: Callable[[Request], bool]) -> None:
    """Ask *may_send* about each request that leaves its download slot, where it may have waited for long.

    One that may not be sent fails with :exc:`HeldBack`. Scrapy has a signal for requests that come to a slot, and none
    for those that leave it. In a crawl with another ``DOWNLOADER`` nothing is asked.
    """
    assert crawler.engine is not None  # noqa: S101  # the spider is open
    handlers = getattr(crawler.engine.downloader, "handlers", None)
    download = getattr(handlers, "download_request_async", None)
    if download is None:
        return

    async def checked(request: Request) -> Response:
        if not may_send(request):
            raise HeldBack
        response: Response = await download(request)
        return response

    handlers.download_request_async = checked  # type: ignore[union-attr]


# Headers. Scrapy's Headers is a dict of normalised names and lists of bytes; its methods normalise each name and value
# again, which costs two to three microseconds. The headers of a session are normalised once, when they are cached.

header_values: Callable[[Headers, bytes], list[bytes] | None] = dict.get
"""Return the list of values stored under a normalised name: the object itself, not a copy."""

set_header: Callable[[Headers, bytes, list[bytes]], None] = dict.__setitem__
setdefault_header: Callable[[Headers, bytes, list[bytes]], list[bytes]] = dict.setdefault
pop_header: Callable[..., list[bytes] | None] = dict.pop
delete_header: Callable[[Headers, bytes], None] = dict.__delitem__

normalize_header_name: Callable[[str | bytes], bytes] = Headers().normkey


# Meta keys that Scrapy's middlewares keep for themselves


def is_default_proxy(meta: dict[str, Any]) -> bool:
    """Whether the proxy in *meta* comes from the environment (HttpProxyMiddleware), so that a session's wins.

    Removes the mark.
    """
    return bool(meta.pop("_scheme_proxy", False))


def forget_proxy_credentials(request: Request) -> None:
    """Remove what HttpProxyMiddleware derived from the credentials of a proxy's URL."""
    request.meta.pop("_auth_proxy", None)
    request.headers.pop(b"Proxy-Authorization", None)


def disable_http_cache(request: Request) -> None:
    """Keep HttpCacheMiddleware from storing the response to *request*, which is on its way already."""
    request.meta["_dont_cache"] = True


def forget_cached_response(request: Request) -> None:
    """Remove the stale response that HttpCacheMiddleware left in the meta of *request* for a revalidation."""
    request.meta.pop("cached_response", None)


def is_robots_fetch(request: Request) -> bool:
    """Whether *request* is the one that RobotsTxtMiddleware sends for a robots.txt."""
    return (
        request.callback is NO_CALLBACK
        and bool(request.meta.get("dont_obey_robotstxt"))
        and request.meta.get("redirect_urls", [request.url])[0].endswith("/robots.txt")
        and "session_id" not in request.meta
    )


def is_robots_refusal(exception: Exception) -> bool:
    """Whether *exception* is what RobotsTxtMiddleware raises for a request that robots.txt forbids."""
    return str(exception) == "Forbidden by robots.txt"


# Exceptions of download handlers. By name, as Scrapy's handlers raise other classes from version to version.

_PROXY_FAILURES = frozenset({"TunnelError", "ConnectionRefusedError", "DownloadConnectionRefusedError"})


def is_proxy_failure(exception: Exception) -> bool:
    """Whether *exception* says that a connection was refused: the proxy's own refusal, if the request had one."""
    return any(cls.__name__ in _PROXY_FAILURES for cls in type(exception).__mro__)


# Middlewares. Not imported at the top: this module is imported at the start of a crawl, and they load many others.


def format_cookies(middleware: CookiesMiddleware, cookies: list[VerboseCookie], request: Request) -> list[str]:
    """Return *cookies* as ``Set-Cookie`` headers. An invalid one is left out, with Scrapy's own warning."""
    formatted = (middleware._format_cookie(cookie, request) for cookie in cookies)  # noqa: SLF001
    return [header for header in formatted if header is not None]


def debug_sent(middleware: CookiesMiddleware, request: Request) -> None:
    """Log the cookies of *request*, for ``COOKIES_DEBUG``."""
    middleware._debug_cookie(request)  # noqa: SLF001


def debug_received(middleware: CookiesMiddleware, response: Response) -> None:
    """Log the cookies that *response* sets, for ``COOKIES_DEBUG``."""
    middleware._debug_set_cookie(response)  # noqa: SLF001


class Decoder:
    """Decompresses bodies below HttpCompressionMiddleware (590), nearer to the wire."""

    def __init__(self, crawler: Crawler) -> None:
        from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware  # noqa: PLC0415

        self._middleware: HttpCompressionMiddleware | None
        try:
            self._middleware = HttpCompressionMiddleware.from_crawler(crawler)
        except NotConfigured:
            self._middleware = None
        else:
            self._middleware.stats = None  # the project's own middleware counts

    def decode(self, request: Request, response: Response) -> Response:
        """Return *response* with a decompressed body; *response* itself if there is nothing to decompress.

        Raises :exc:`~scrapy.exceptions.IgnoreRequest` for a body beyond ``DOWNLOAD_MAXSIZE``.
        """
        if self._middleware is None or "Content-Encoding" not in response.headers:
            return response
        # A copy, as the middleware changes the headers of its argument.
        decoded = self._middleware.process_response(request, response.copy())
        return decoded if isinstance(decoded, Response) else response


# Threads

# Called when the main thread ends, before the worker threads of stores refuse new work, which atexit comes too late
# for. It has no public name, but exists in every version of Python since 3.9.
at_thread_exit: Callable[..., object] = getattr(threading, "_register_atexit", atexit.register)
