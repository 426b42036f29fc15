"""Questions to the site: a GET that tells whether a session still gets a page, or an anonymous visitor does."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK

from scrapy_sessions.analytics.redaction import describe_fault, safe_url
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.crawl.blame import Answer
from scrapy_sessions.crawl.scrapy_internals import is_proxy_failure
from scrapy_sessions.exceptions import CrawlClosing
from scrapy_sessions.models import EVERYWHERE

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
        request = Request(url, callback=NO_CALLBACK, dont_filter=True, meta=dict(_META))
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
                return Answer.REFUSED
            logger.debug("No answer to the question for %s: %s", safe_url(url), describe_fault(e))
            return Answer.NOTHING
        try:
            verdict = config.check(response, request)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except CrawlClosing:
            raise
        except Exception as e:  # noqa: BLE001  # the spider's own code: it says nothing
            self._user_code.check_raised(e, request)
            return Answer.NOTHING
        if not isinstance(verdict, Verdict):
            self._user_code.check_returned(verdict, request)
            return Answer.NOTHING
        if verdict is not Verdict.OK:
            return Answer.REFUSED
        if response.status in {404, 410}:
            return Answer.GONE
        return Answer.GOOD if response.status < 300 else Answer.NOTHING


def _identify(request: Request, session: SessionRuntime) -> None:
    """Give *request* the identity of *session*, but none of its cookies and secret headers."""
    request.meta["session_id"] = None
    request.meta["dont_merge_cookies"] = True
    for name, value in session.bound_headers.dump().get(EVERYWHERE, {}).items():
        request.headers[name] = value
    if session.user_agent:
        request.headers["User-Agent"] = session.user_agent
    if session.language:
        request.headers["Accept-Language"] = session.language
    if session.proxy is not None:
        request.meta["proxy"] = session.proxy


def is_question(request: Request) -> bool:
    """Whether *request* is a question of ours."""
    return QUESTION in request.meta
