"""Questions to the site: a GET that shows whether a session, or an anonymous visitor, still gets a page."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin

from scrapy import Request
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK

from scrapy_sessions.analytics.redaction import describe_fault, safe_url
from scrapy_sessions.config import PROXY_REFUSES, SessionConfig, Verdict
from scrapy_sessions.crawl.blame import Answer
from scrapy_sessions.crawl.identity import apply_proxy, unbound_identity_of
from scrapy_sessions.crawl.scrapy_internals import is_proxy_failure, is_robots_refusal
from scrapy_sessions.exceptions import CrawlClosing, SessionError
from scrapy_sessions.safe_repr import safe_repr

if TYPE_CHECKING:
    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.crawl.user_code import UserCode
    from scrapy_sessions.sessions.runtime import SessionRuntime

logger = logging.getLogger(__name__)

QUESTION = "_session_question"
"""The meta key of our own questions."""

_META: dict[str, Any] = {
    QUESTION: True,
    "dont_cache": True,
    "dont_retry": True,
    "dont_redirect": True,
    "allow_offsite": True,
}


class Reply(NamedTuple):
    """What came back, also in words: ``"status 503"``. Only a refusal that is ``proved`` says that a login is lost:
    the verdict EXPIRED. One that isn't may be a ban, or the fault of the session's proxy."""

    answer: Answer
    words: str
    proved: bool = False

    def __repr__(self) -> str:
        return safe_repr(self)


class Questions:
    """Asks: past every cache, without retries, redirects and callback. The answers count as no page.

    :param download: downloads a request through the downloader middlewares
    :param user_code: gets the faults of ``check()``, whose answer then says nothing
    """

    def __init__(
        self, download: Callable[[Request], Awaitable[Response]], closing: ShutdownGuard, user_code: UserCode
    ) -> None:
        self._download = download
        self._closing = closing
        self._user_code = user_code

    async def ask(self, session: SessionRuntime, url: str, config: SessionConfig, *, anonymous: bool) -> Answer:
        """Ask for *url* in *session*, or with its identity alone. Raises CrawlClosing."""
        return (await self.look(session, url, config, anonymous=anonymous)).answer

    async def look(self, session: SessionRuntime, url: str, config: SessionConfig, *, anonymous: bool) -> Reply:
        """As :meth:`ask`, with what came back. A session that has ended isn't asked: its successor would answer."""
        if not anonymous and (session.closed or session.expired(time.time()) is not None):
            return Reply(Answer.NOTHING, "the session has ended")
        try:
            request = Request(url, callback=NO_CALLBACK, dont_filter=True, meta=dict(_META))
        except ValueError:  # a relative probe_url, and no login_url that says where
            return Reply(Answer.NOTHING, "it is no URL with a scheme and a host")
        if anonymous:
            _identify(request, session)
        else:
            request.meta["session_id"] = session.id
            if session.pool is not None:
                request.meta["session_pool"] = session.pool
        try:
            response = await self._closing.wait(self._download(request))
        except CrawlClosing:
            raise
        except Exception as e:  # noqa: BLE001  # whatever the download raises
            if session.proxy is not None and is_proxy_failure(e) and not config.can_log_in:
                return Reply(Answer.REFUSED, "its proxy refuses the connection")
            logger.debug("No answer to the question for %s: %s", safe_url(url), describe_fault(e))
            return Reply(Answer.NOTHING, _failure(e))
        if session.closed and not anonymous:
            return Reply(Answer.NOTHING, "the session has ended")
        try:
            verdict = config.check(response, request)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except CrawlClosing:
            raise
        except Exception as e:  # noqa: BLE001  # the spider's own code: it says nothing
            self._user_code.check_raised(e, request)
            return Reply(Answer.NOTHING, f"check() raised {type(e).__name__}")
        if not isinstance(verdict, Verdict):
            self._user_code.check_returned(verdict, request)
            return Reply(Answer.NOTHING, "check() returned no Verdict")
        status = f"status {response.status}{_where_to(response)}"
        if verdict is Verdict.SUSPECT and response.status == PROXY_REFUSES and config.can_log_in:
            return Reply(Answer.NOTHING, status)  # that proves nothing of a login
        if verdict is not Verdict.OK:
            return Reply(Answer.REFUSED, status, proved=verdict is Verdict.EXPIRED)
        if response.status in {404, 410}:
            return Reply(Answer.GONE, status)
        return Reply(Answer.GOOD if response.status < 300 else Answer.NOTHING, status)


def probe_of(config: SessionConfig) -> str | None:
    """Return the ``probe_url`` of *config*, which may be relative to its ``login_url``; ``None``: it has none."""
    return urljoin(config.login_url, config.probe_url) if config.probe_url else None


def _where_to(response: Response) -> str:
    location = response.headers.get("Location")
    if location is None:
        return ""
    try:
        return f", a redirect to {safe_url(urljoin(response.url, location.decode('latin-1').strip()))}"
    except ValueError:
        return ""


def _failure(error: Exception) -> str:
    """Return why there was no response, without the message of an exception that isn't ours."""
    if isinstance(error, SessionError):
        return str(error)
    return "robots.txt forbids it" if is_robots_refusal(error) else f"no response ({type(error).__name__})"


def _identify(request: Request, session: SessionRuntime) -> None:
    """Give *request* the identity of *session*, but none of its cookies and secret headers."""
    request.meta["session_id"] = None
    request.meta["dont_merge_cookies"] = True
    identity = unbound_identity_of(session)
    identity.apply_headers(request.headers)
    identity.apply_meta(request.meta)
    proxy = session.current_proxy()
    if proxy is not None:
        apply_proxy(request.meta, proxy)


def is_question(request: Request) -> bool:
    """Whether *request* is a question of ours."""
    return QUESTION in request.meta
