"""Exceptions of the user's code, the methods of a :class:`~scrapy_sessions.SessionConfig`.

Their messages may contain passwords, tokens and pages, so they are neither logged nor stored nor passed on:
:func:`~scrapy_sessions.analytics.redaction.describe_fault` says what is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from scrapy.exceptions import CloseSpider, IgnoreRequest

from scrapy_sessions.analytics.redaction import describe_fault, safe_request
from scrapy_sessions.exceptions import ConfigFailed, CrawlClosing, SessionError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)


class UserCode:
    """What follows from faults in the user's code. ``CloseSpider`` closes the spider, whichever method raises it."""

    def __init__(self, crawler: Crawler, close_spider: Callable[[str], None], count: Callable[[str], None]) -> None:
        self._crawler = crawler
        self._close_spider = close_spider
        self._count = count

    def replacement_of(self, error: Exception, method: str) -> Exception:
        """Return what is raised in place of *error*, which *method* raised before its request was sent.

        Raise it outside of ``except``, so that *error* isn't its context. ``IgnoreRequest`` keeps its meaning.
        """
        if isinstance(error, IgnoreRequest | SessionError):
            return error
        if isinstance(error, CloseSpider):
            self._close_spider(error.reason)
            return CrawlClosing(f"{method}() closed the spider")
        self._count("config_errors")
        return ConfigFailed(f"{method}() raised {describe_fault(error)}")

    def check_raised(self, error: Exception, request: Request) -> None:
        """``check()`` raised *error* for the response to *request*."""
        if isinstance(error, CloseSpider):
            self._close_spider(error.reason)
        else:
            self._report_check(f"raised {describe_fault(error)}", request)

    def check_returned(self, value: object, request: Request) -> None:
        """``check()`` returned *value*, which is no verdict, for the response to *request*."""
        self._report_check(f"returned {type(value).__name__}, not a Verdict,", request)

    def _report_check(self, what: str, request: Request) -> None:
        self._count("check_errors")
        extra = {"spider": self._crawler.spider}
        logger.error("check() %s for %s, which counts as OK", what, safe_request(request), extra=extra)
