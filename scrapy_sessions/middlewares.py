"""The three downloader middlewares. Each does one thing at the one place where it can be done."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import CloseSpider, NotConfigured
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.config import Verdict
from scrapy_sessions.crawl.in_flight import APPLIED, SLOT, remove_leftovers
from scrapy_sessions.crawl.verdicts import PAUSES, pause_of
from scrapy_sessions.exceptions import CrawlClosing
from scrapy_sessions.extension import SessionsExtension, is_login
from scrapy_sessions.sessions.browser_session import view_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http.request import VerboseCookie

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.crawl.in_flight import InFlight
    from scrapy_sessions.pools.claim import Claim
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["SessionCookiesMiddleware", "SessionMiddleware", "SessionVerdictMiddleware"]

logger = logging.getLogger(__name__)

_REFUSED = frozenset({"ConnectionRefusedError", "DownloadConnectionRefusedError", "TunnelError"})
"""What a proxy that turns a session away raises. By name: which class it is depends on the download handler, and to
import one may install a reactor."""

_DONT_CACHE = "_dont_cache"
"""The meta key by which HttpCacheMiddleware notes that it must not store a response. It takes it off again."""

_PUT_BACK = "_session_put_back"
"""The meta key that tells which run put a waiting request back into its job's queue, when it was told to close."""

_SEEDED = "_session_seeded"
"""The meta key that tells which ``request.cookies`` went into which session, so that a retry doesn't undo what the
site changed since."""


class SessionMiddleware:
    """At 75: picks the session of a request and lays its identity under it.

    Before robots.txt (100), which is then judged by the agent really sent, and before the default headers (400, 500),
    which then find theirs set: an explicit header of the request wins, a default of the project loses.
    """

    def __init__(self, extension: SessionsExtension) -> None:
        self._extension = extension
        self._run = time.time() if extension.crawler.settings.get("JOBDIR") else None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(SessionsExtension.of(crawler))

    def process_request(self, request: Request) -> Coroutine[Any, Any, Request | None] | None:
        """Return ``None`` when the session is in memory, and need not log in or wait; else a coroutine."""
        if APPLIED in request.meta:
            remove_leftovers(request)
        extension = self._extension
        if SLOT in request.meta:
            extension.give_back(request)
        claim = extension.claim_of(request)
        if claim is None:
            extension.visits.discard(request)
            return None
        claim = extension.manager.settle(claim)
        session = extension.manager.ready_for(claim)
        config = extension.configs.of(request.url)
        if session is None or extension.must_wait(session, config):
            return self._wait(request, claim, config)
        self._go(request, claim, session, config)
        return None

    async def _wait(self, request: Request, claim: Claim, config: SessionConfig) -> Request | None:
        try:
            session = await self._extension.take(request, claim, config)
        except CrawlClosing:
            # What a job has begun and not sent goes back to its queue, for the next run. Scheduled requests don't come
            # here twice in a crawl that closes; one that does is somebody's download_async(), who has to be told.
            if self._run is None or request.meta.get(_PUT_BACK) == self._run:
                raise
            back: Request = request.replace(dont_filter=True)
            back.meta[_PUT_BACK] = self._run
            return back
        self._go(request, claim, session, config)
        return None

    def _go(self, request: Request, claim: Claim, session: SessionRuntime, config: SessionConfig) -> None:
        visit = self._extension.begin(request, claim, session)
        visit.apply_identity(request)
        if config.changes_requests:
            with visit.track_changes(request):
                config.process_request(request, view_of(session))


class SessionVerdictMiddleware:
    """At 950: records what a session did, judges it, and takes off the request what was laid under it.

    Next to the wire but for the cookies. So the HTTP cache (900), retry (550) and redirect (600) copy a request that
    wears no identity, and see no response that is answered by another try: a redirect to the login form is an expiry,
    not a page, and a 401 is never stored.
    """

    def __init__(self, extension: SessionsExtension) -> None:
        self._extension = extension
        self._caching = extension.crawler.settings.getbool("HTTPCACHE_ENABLED")
        self._decoder: HttpCompressionMiddleware | None = None
        with suppress(NotConfigured):
            self._decoder = HttpCompressionMiddleware.from_crawler(extension.crawler)
            self._decoder.stats = None  # that at 590 counts

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(SessionsExtension.of(crawler))

    def process_request(self, request: Request) -> None:
        visit = self._extension.visits.get(request)
        if visit is not None:
            visit.mark_sent(time.time())

    def process_response(
        self, request: Request, response: Response
    ) -> Request | Response | Coroutine[Any, Any, Request | Response]:
        visit = self._extension.visits.get(request)
        if visit is None:
            return response
        visit.remove_identity(request)
        if "cached" in response.flags or not visit.was_sent:  # not from the site
            visit.end()
            return response
        if is_login(request):
            visit.record_response(request, response, time.time(), page=True)
            visit.end()
            return response
        if response.status in PAUSES:
            pause = pause_of(response, request)
            if pause is not None:
                replay = self._extension.judge.handle_pause(visit.session, request, pause)
                return self._close(visit, request, response, replay, cacheable=False)
        config = self._extension.configs.of(request.url)
        if not config.reads_body and response.status not in config.remarkable_statuses:
            return self._apply(visit, Verdict.OK, request, response, config)
        verdict = self._check(config, request, response)
        if isinstance(verdict, Verdict):
            return self._apply(visit, verdict, request, response, config)
        return self._apply_later(visit, verdict, request, response, config)

    def process_exception(self, request: Request, exception: Exception) -> Request | None:
        visit = self._extension.visits.get(request)
        if visit is None:
            return None
        visit.remove_identity(request)
        visit.record_failure()
        replay = None
        if visit.by_proxy and _is_refusal(exception) and not is_login(request):
            config = self._extension.configs.of(request.url)
            replay = self._extension.judge.handle(Verdict.SUSPECT, visit.session, request, config)
        visit.end()
        return replay

    def _check(self, config: SessionConfig, request: Request, response: Response) -> Verdict | Awaitable[Verdict]:
        try:
            if config.reads_body and self._decoder is not None and "Content-Encoding" in response.headers:
                # A copy: the decoder changes the headers of what it is given.
                decoded = self._decoder.process_response(request, response.copy())
                return config.check(decoded, request) if isinstance(decoded, Response) else Verdict.OK
            return config.check(response, request)
        except Exception as e:  # noqa: BLE001  # the spider's own code: logged and counted
            return self._fault(e, request)

    def _fault(self, error: Exception, request: Request) -> Verdict:
        if isinstance(error, CloseSpider):
            self._extension.close_spider(error.reason)
        else:
            self._extension.count("check_errors")
            logger.error(
                "check() failed for %s, which counts as OK",
                request,
                exc_info=error,
                extra={"spider": self._extension.crawler.spider},
            )
        return Verdict.OK

    async def _apply_later(
        self, visit: InFlight, verdict: Awaitable[Verdict], request: Request, response: Response, config: SessionConfig
    ) -> Request | Response:
        visit.end()  # a check that fetches something in this session must not wait for the place of what it checks
        try:
            settled = await verdict
            if not isinstance(settled, Verdict):
                raise TypeError(f"check() must return a Verdict, not {type(settled).__name__}")
        except Exception as e:  # noqa: BLE001  # as above
            settled = self._fault(e, request)
        return self._apply(visit, settled, request, response, config)

    def _apply(
        self, visit: InFlight, verdict: Verdict, request: Request, response: Response, config: SessionConfig
    ) -> Request | Response:
        judge = self._extension.judge
        if visit.is_stale:
            replay = judge.handle_stale(request, verdict)
        else:
            replay = judge.handle(verdict, visit.session, request, config)
        return self._close(visit, request, response, replay, cacheable=verdict is Verdict.OK)

    def _close(
        self, visit: InFlight, request: Request, response: Response, replay: Request | None, *, cacheable: bool
    ) -> Request | Response:
        if not cacheable and self._caching:
            request.meta[_DONT_CACHE] = True
        visit.record_response(request, response, time.time(), page=replay is None)
        visit.end()
        return response if replay is None else replay


class SessionCookiesMiddleware(CookiesMiddleware):
    """At 960, in place of Scrapy's at 700: cookies, nothing else.

    Nearest the wire, it sees every redirect hop and every failed try; what comes from the HTTP cache needs no cookie.
    """

    def __init__(self, debug: bool, extension: SessionsExtension) -> None:
        super().__init__(debug)
        self._extension = extension

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self | CookiesMiddleware:  # type: ignore[override]
        if not crawler.settings.getbool("COOKIES_ENABLED"):
            raise NotConfigured
        try:
            extension = SessionsExtension.of(crawler)
        except NotConfigured:  # sessions are off: cookies work as ever
            return CookiesMiddleware.from_crawler(crawler)
        middleware = cls(crawler.settings.getbool("COOKIES_DEBUG"), extension)
        middleware.crawler = crawler
        return middleware

    def process_request(self, request: Request) -> None:  # type: ignore[override]
        visit = self._extension.visit_of(request)
        if visit is None or request.meta.get("dont_merge_cookies", False):
            return
        if request.cookies:
            self._seed(request, visit.session)
        visit.apply_cookies(request)
        self._debug_cookie(request)

    def process_response(self, request: Request, response: Response) -> Response:  # type: ignore[override]
        if "cached" in response.flags or request.meta.get("dont_merge_cookies", False):
            return response
        visit = self._extension.visit_of(request)
        if visit is not None:
            headers = dict.get(response.headers, b"Set-Cookie")  # as it is kept: see visits.py
            if headers and visit.generation == visit.session.generation:
                visit.session.jar.store(headers, urlparse_cached(request))
            self._debug_set_cookie(response)
        return response

    def _seed(self, request: Request, session: SessionRuntime) -> None:
        """Put ``request.cookies`` into the jar, once per request, session and generation."""
        cookies: list[VerboseCookie] = (
            [{"name": name, "value": value} for name, value in request.cookies.items()]
            if isinstance(request.cookies, dict)
            else request.cookies
        )
        url = urlparse_cached(request)
        secure = url.scheme == "https"
        # As in Scrapy, which completes the dicts in place. Before the digest: a retry shares them.
        for cookie in cookies:
            cookie.setdefault("secure", secure)
        # The URL is part of it: the same cookies for another host or folder are others.
        text = repr((request.url, cookies)).encode(errors="surrogateescape")
        seeded = f"{hashlib.blake2b(text, digest_size=8).hexdigest()} {session.generation} {session.id}"
        if request.meta.get(_SEEDED) == seeded:
            return
        request.meta[_SEEDED] = seeded
        # The parts of a cookie become a Set-Cookie header, so that what the site sends and what the spider gives are
        # read by one parser.
        formatted = (self._format_cookie(cookie, request) for cookie in cookies)
        session.jar.store([header for header in formatted if header is not None], url, explicit=True)


def _is_refusal(exception: Exception) -> bool:
    return any(cls.__name__ in _REFUSED for cls in type(exception).__mro__)
