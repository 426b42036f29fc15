"""The three downloader middlewares: the identity of a request, what follows from its response, its cookies."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.exceptions import NotConfigured
from scrapy.http import Request, Response
from scrapy.utils.conf import build_component_list
from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.misc import load_object

from scrapy_sessions.analytics.redaction import safe_request
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.crawl.asking import is_question
from scrapy_sessions.crawl.deferral import is_deferred
from scrapy_sessions.crawl.identity import APPLIED, remove_leftovers
from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.crawl.jars import SessionJars
from scrapy_sessions.crawl.rests import Resting
from scrapy_sessions.crawl.routing import UNRESOLVED, SessionRouter, is_login, is_own
from scrapy_sessions.crawl.scrapy_internals import (
    Decoder,
    HeldBack,
    debug_received,
    debug_sent,
    disable_http_cache,
    format_cookies,
    header_values,
    is_proxy_failure,
)
from scrapy_sessions.crawl.verdicts import PAUSES, pause_of
from scrapy_sessions.exceptions import ConfigFailed, CrawlClosing, RequestNotSent
from scrapy_sessions.sessions.browser_session import view_of

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http.request import VerboseCookie
    from scrapy.settings import BaseSettings

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["SessionCookiesMiddleware", "SessionMiddleware", "SessionVerdictMiddleware"]

logger = logging.getLogger(__name__)

# Methods that Scrapy alone calls are coroutine functions, also where they hardly ever wait: Scrapy makes a coroutine of
# what a plain method returns, which takes twice as long.

_SEEDED = "_session_seeded"
"""The meta key that holds a digest of the ``cookies`` of a request that are in the jar already. A retry or a redirect
must not set them again: it would overwrite what the site has changed since."""


class SessionMiddleware:
    """At 75: finds the session of a request, waits for its login and its turn, and applies its identity.

    Before robots.txt (100), which then applies the rules for the agent that is really sent, and before the default
    headers (400, 500), which don't replace what is set: an explicit header of the request wins, a project default
    loses.
    """

    def __init__(self, router: SessionRouter) -> None:
        self._router = router

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(SessionRouter.of(crawler))

    async def process_request(self, request: Request) -> Request | None:
        meta = request.meta
        if APPLIED in meta:
            remove_leftovers(request)
        if "redirect_urls" in meta and is_login(request):
            from scrapy_sessions.crawl.login_redirects import check_redirect  # noqa: PLC0415  # for few requests

            check_redirect(request, self._router.configs.of(meta["redirect_urls"][0]))
        try:
            routed = self._router.begin(request)
            if routed is None:
                return None
            inflight = routed if isinstance(routed, InFlight) else await routed
        except RequestNotSent as e:
            self._log(request, e)
            raise
        if not isinstance(inflight, InFlight):
            return inflight
        inflight.apply_identity(request)
        if inflight.config.changes_requests:
            self._call_config(request, inflight)
        return None

    def _log(self, request: Request, error: RequestNotSent) -> None:
        level = logging.WARNING
        if isinstance(error, CrawlClosing | ConfigFailed):
            level = logging.DEBUG if isinstance(error, CrawlClosing) else logging.ERROR
        elif isinstance(error, Resting) and not self._router.in_shell:  # it is sent later, or the command says so
            level = logging.DEBUG
        extra = {"spider": self._router.crawler.spider}
        logger.log(level, "%s was not sent: %s", safe_request(request), error, extra=extra)

    def _call_config(self, request: Request, inflight: InFlight) -> None:
        error: Exception | None = None
        with inflight.track_changes(request):
            try:
                inflight.config.process_request(request, view_of(inflight.session))
            except Exception as e:  # noqa: BLE001  # the spider's own code
                error = self._router.user_code.replacement_of(e, "process_request")
        if error is not None:
            if isinstance(error, RequestNotSent):
                self._log(request, error)
            raise error


class SessionVerdictMiddleware:
    """At 950: records each response, gets its verdict, and removes the session's identity from the request.

    Only the cookies are nearer to the wire. So the HTTP cache (900), retry (550) and redirect (600) copy a request
    without an identity, and see no response that is followed by another try: a redirect to the login form is an
    expiry, not a page, and a 401 is never stored.
    """

    process_request: Callable[[Request], Coroutine[Any, Any, Request | None]]
    """Only without :class:`SessionCookiesMiddleware`, which otherwise is the last to see a request."""

    def __init__(self, router: SessionRouter) -> None:
        self._router = router
        self._in_flight = router.in_flight
        self._caching = router.crawler.settings.getbool("HTTPCACHE_ENABLED")
        self._decoder = Decoder(router.crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        middleware = cls(SessionRouter.of(crawler))
        if not _has_cookies(crawler.settings):
            middleware.process_request = middleware._mark_sent
        return middleware

    async def _mark_sent(self, request: Request) -> Request | None:
        if self._router.exclusive is not None and (back := _held_back(request, self._router)) is not None:
            return back
        inflight = self._in_flight.get(request)
        if inflight is not None:
            inflight.mark_sent(time.time())
        return None

    async def process_response(self, request: Request, response: Response) -> Request | Response:
        inflight = self._in_flight.get(request)
        if inflight is None:
            return response
        inflight.remove_identity(request)
        if "cached" in response.flags or not inflight.was_sent:  # not from the site
            inflight.end()
            return response
        status = response.status
        if status in PAUSES:
            pause = pause_of(response, request)
            if pause is not None:
                replay = self._router.verdicts.handle_pause(inflight.session, request, pause)
                if replay is not None and is_login(request) and not self._router.logins.paused(inflight.session, pause):
                    replay = None
                return self._close(inflight, request, response, replay, question=is_question(request))
        if is_own(request):
            question = not is_login(request)
            if not question:
                self._router.logins.visited(inflight.session, urlparse_cached(request).hostname or "")
            return self._close(inflight, request, response, None, question=question)
        config = inflight.config
        if config.reads_body:
            decoded = self._decoded(request, response)
            if decoded is None:
                return await self._apply(inflight, SessionConfig.check(config, response, request), request, response)
            response = decoded  # handed on as it is: the body is decompressed once
        elif status not in config.remarkable_statuses and not config.was_redirected_to_login(response, request):
            return self._accept(inflight, request, response)
        verdict = self._check(config, request, response)
        if not isinstance(verdict, Verdict):
            verdict = await self._awaited(inflight, verdict, request)
        return await self._apply(inflight, verdict, request, response)

    async def process_exception(self, request: Request, exception: Exception) -> Request | None:
        inflight = self._in_flight.get(request)
        if inflight is None:
            return None
        if isinstance(exception, HeldBack):
            return _taken_back(request, inflight)
        inflight.remove_identity(request)
        inflight.record_failure()
        inflight.end()
        if not inflight.by_proxy or not is_proxy_failure(exception) or is_own(request):
            return None
        return await self._router.verdicts.refused(Verdict.SUSPECT, inflight, request)

    def _decoded(self, request: Request, response: Response) -> Response | None:
        """Return *response* decompressed, ``None`` for a body that can't be: a bad one, or beyond DOWNLOAD_MAXSIZE."""
        try:
            return self._decoder.decode(request, response)
        except Exception:  # noqa: BLE001  # HttpCompressionMiddleware raises it again, for the request's errback
            return None

    def _check(self, config: SessionConfig, request: Request, response: Response) -> Verdict | Awaitable[Verdict]:
        try:
            return config.check(response, request)
        except Exception as e:  # noqa: BLE001  # the spider's own code: logged and counted
            self._router.user_code.check_raised(e, request)
            return Verdict.OK

    async def _awaited(self, inflight: InFlight, check: Any, request: Request) -> Verdict:
        """Return the verdict of *check*, which the user's ``check()`` has returned in place of one."""
        inflight.end()  # a check that fetches something in this session must not wait for the place of what it checks
        try:
            verdict = await check if isawaitable(check) else check
        except Exception as e:  # noqa: BLE001  # as above
            self._router.user_code.check_raised(e, request)
            return Verdict.OK
        if not isinstance(verdict, Verdict):
            self._router.user_code.check_returned(verdict, request)
            return Verdict.OK
        return verdict

    def _accept(self, inflight: InFlight, request: Request, response: Response) -> Response:
        self._router.verdicts.good(inflight, request, response)
        inflight.record_response(request, response, time.time(), page=True)
        inflight.end()
        return response

    async def _apply(
        self, inflight: InFlight, verdict: Verdict, request: Request, response: Response
    ) -> Request | Response:
        if verdict is Verdict.OK:
            return self._accept(inflight, request, response)
        lost = inflight.session.closed and self._router.exclusive is not None  # another process may use it
        if inflight.is_stale or lost:
            replay = self._router.verdicts.send_again(inflight, request)  # nothing follows for the session
            return self._close(inflight, request, response, replay)
        inflight.end()  # a question in this session must not wait for the place of what it is about
        verdicts = self._router.verdicts
        inquiry = verdicts.refused(verdict, inflight, request, status=response.status)
        if inflight.deferrable and not verdicts.is_last_try(request):
            replay = await self._router.deferral.wait(request, inquiry, None)
        else:
            replay = await inquiry
        if replay is not None and is_deferred(replay):
            replay.meta[UNRESOLVED] = True
            verdicts.note_unresolved(inflight, replay)
        return self._close(inflight, request, response, replay)

    def _close(
        self, inflight: InFlight, request: Request, response: Response, replay: Request | None, question: bool = False
    ) -> Request | Response:
        """Record *response*, which the HTTP cache must not store, and return it, or *replay*."""
        if self._caching:
            disable_http_cache(request)
        inflight.record_response(request, response, time.time(), page=replay is None, question=question)
        inflight.end()
        return response if replay is None else replay


def _held_back(request: Request, router: SessionRouter) -> Request | None:
    """Return the request to schedule instead if the process has lost the session of *request*, of an exclusive pool.

    A process that was paused goes on with requests that have got their session before: those that are here, and those
    that wait in a download slot, which are held back when they leave it.
    """
    inflight = router.in_flight.get(request)
    return None if inflight is None or router.may_send(request) else _taken_back(request, inflight)


def _taken_back(request: Request, inflight: InFlight) -> Request:
    inflight.remove_identity(request)
    inflight.end()
    back: Request = request.replace(dont_filter=True)
    return back


def _has_cookies(settings: BaseSettings) -> bool:
    """Whether a crawl with *settings* has a :class:`SessionCookiesMiddleware`."""
    listed = map(load_object, build_component_list(settings.getdict("DOWNLOADER_MIDDLEWARES")))
    return settings.getbool("COOKIES_ENABLED") and any(
        isinstance(each, type) and issubclass(each, SessionCookiesMiddleware) for each in listed
    )


class SessionCookiesMiddleware(CookiesMiddleware):
    """At 960, in place of Scrapy's at 700: cookies, nothing else.

    Nearest the wire, it sees every redirect hop and every failed try; what comes from the HTTP cache needs no cookie.
    """

    def __init__(self, debug: bool, router: SessionRouter) -> None:
        super().__init__(debug)
        self._router = router
        self._in_flight = router.in_flight
        self._jars: SessionJars | None = None
        self._warned = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self | CookiesMiddleware:  # type: ignore[override]
        if not crawler.settings.getbool("COOKIES_ENABLED"):
            raise NotConfigured
        try:
            router = SessionRouter.of(crawler)
        except NotConfigured:  # sessions are off: cookies work as ever
            return CookiesMiddleware.from_crawler(crawler)
        middleware = cls(crawler.settings.getbool("COOKIES_DEBUG"), router)
        if router.exclusive is not None:
            middleware.process_request = middleware._process_claimed  # type: ignore[method-assign, assignment]
        middleware.crawler = crawler
        return middleware

    # Plain methods, as in Scrapy's middleware: other code may call them directly.

    def process_request(self, request: Request) -> Coroutine[Any, Any, None] | None:  # type: ignore[override]
        """Return a coroutine only if a page of the session is open in a browser, whose cookies are read first."""
        inflight = self._in_flight.get(request) or self._router.begin_now(request)
        if inflight is not None:
            inflight.mark_sent(time.time())
            browser = self._router.browser
            if browser is not None and not request.meta.get("playwright"):
                reading = browser.before_http(inflight.session)
                if reading is not None:
                    return self._apply_after(reading, request, inflight)
        self._apply(request, inflight)
        return None

    async def _apply_after(self, reading: Coroutine[Any, Any, None], request: Request, inflight: InFlight) -> None:
        await reading
        self._apply(request, inflight)

    def _apply(self, request: Request, inflight: InFlight | None) -> None:
        if inflight is None or request.meta.get("dont_merge_cookies", False):
            if request.cookies and inflight is None and not self._warned:
                self._warned = True
                logger.warning(
                    "The cookies of %s are not sent: its session_id is None, so there is no session to keep them. Name "
                    "a session, or set a Cookie header",
                    safe_request(request),
                    extra={"spider": self._router.crawler.spider},
                )
            return
        if request.cookies:
            self._seed(request, inflight.session)
        inflight.apply_cookies(request)
        if self._jars is not None:
            inflight.name_cookiejar(request)
        if self.debug:
            debug_sent(self, request)

    def _process_claimed(self, request: Request) -> Request | Coroutine[Any, Any, None] | None:
        """As :meth:`process_request`, in a crawl with exclusive pools."""
        back = _held_back(request, self._router)
        return SessionCookiesMiddleware.process_request(self, request) if back is None else back

    def process_response(self, request: Request, response: Response) -> Response:  # type: ignore[override]
        if "cached" in response.flags or request.meta.get("dont_merge_cookies", False):
            return response
        inflight = self._in_flight.get(request) or self._router.begin_now(request)
        if inflight is not None:
            headers = header_values(response.headers, b"Set-Cookie")
            if headers and not inflight.is_stale and not inflight.shares_cookies:
                if request.meta.get("playwright"):  # which joins several
                    headers = [line for header in headers for line in header.split(b"\n")]
                inflight.session.jar.store(headers, urlparse_cached(request))
                if self._router.browser is not None:
                    self._router.browser.http_changed(inflight.session)
            if self.debug:
                debug_received(self, response)
        return response

    @property  # type: ignore[override]  # there an attribute
    def jars(self) -> SessionJars:
        """The cookies of the sessions, for plug-ins that look for Scrapy's jars. From the first access on, the meta key
        ``cookiejar`` of each request that is sent names its session, so that they find its jar."""
        if self._jars is None:
            self._jars = SessionJars(self._router.registry)
        return self._jars

    @jars.setter
    def jars(self, value: object) -> None:
        """Scrapy's middleware sets its own when it is created."""

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
        session.jar.store(format_cookies(self, cookies, request), url, explicit=True)
