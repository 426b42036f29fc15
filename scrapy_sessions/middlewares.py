"""The three downloader middlewares. Each does one thing at the one place where it can be done."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.exceptions import NotConfigured
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.visits import LAID, strip_leftovers

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.http.request import VerboseCookie

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from scrapy_sessions.browser_session import BrowserSession
    from scrapy_sessions.pool import Claim

__all__ = ["SessionCookiesMiddleware", "SessionMiddleware", "SessionVerdictMiddleware"]

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

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(SessionsExtension.of(crawler))

    def process_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Return ``None`` when the session is in memory, else a coroutine that waits for it."""
        if LAID in request.meta:
            strip_leftovers(request)
        extension = self._extension
        claim = extension.claim_of(request)
        if claim is None:
            extension.visits.pop(request, None)
            return None
        claim = extension.manager.settle(claim)
        session = extension.manager.ready_for(claim)
        if session is None:
            return self._wait(request, claim)
        extension.begin(request, claim, session).lay(request)
        return None

    async def _wait(self, request: Request, claim: Claim) -> None:
        session = await self._extension.manager.obtain(claim)
        self._extension.begin(request, claim, session).lay(request)


class SessionVerdictMiddleware:
    """At 950: records what a session did, and takes off the request what was laid under it.

    Next to the wire but for the cookies, so that the HTTP cache (900), retry (550) and redirect (600) copy a request
    that wears no identity.
    """

    def __init__(self, extension: SessionsExtension) -> None:
        self._extension = extension

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(SessionsExtension.of(crawler))

    def process_request(self, request: Request) -> None:
        visit = self._extension.visits.get(request)
        if visit is not None:
            visit.leave(time.time())

    def process_response(self, request: Request, response: Response) -> Response:
        visit = self._extension.visits.get(request)
        if visit is not None:
            visit.take_off(request)
            if "cached" not in response.flags:
                visit.answered(request, response, time.time())
            visit.end()
        return response

    def process_exception(self, request: Request, exception: Exception) -> None:
        visit = self._extension.visits.get(request)
        if visit is not None:
            visit.take_off(request)
            visit.failed()
            visit.end()


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
        visit.lay_cookies(request)
        self._debug_cookie(request)

    def process_response(self, request: Request, response: Response) -> Response:  # type: ignore[override]
        if "cached" in response.flags or request.meta.get("dont_merge_cookies", False):
            return response
        visit = self._extension.visit_of(request)
        if visit is not None:
            headers = response.headers.getlist("Set-Cookie")
            if headers and visit.generation == visit.session.generation:
                visit.session.cookies.store(headers, urlparse_cached(request))
            self._debug_set_cookie(response)
        return response

    def _seed(self, request: Request, session: BrowserSession) -> None:
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
        session.cookies.store([header for header in formatted if header is not None], url, explicit=True)
