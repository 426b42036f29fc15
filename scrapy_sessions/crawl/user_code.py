"""Exceptions of the user's code, the methods of a :class:`~scrapy_sessions.SessionConfig`.

Their messages may contain passwords, tokens and pages, so they are neither logged nor stored nor passed on:
:func:`~scrapy_sessions.analytics.redaction.describe_fault` says what is.
"""

from __future__ import annotations

from collections.abc import Callable

from scrapy.exceptions import CloseSpider, IgnoreRequest

from scrapy_sessions.analytics.redaction import describe_fault
from scrapy_sessions.exceptions import ConfigFailed, CrawlClosing, SessionError

__all__ = ["replacement_of"]


def replacement_of(
    error: Exception, method: str, *, close_spider: Callable[[str], None], count: Callable[[str], None]
) -> Exception:
    """Return what is raised in place of *error*, which *method* of a config raised before its request was sent.

    Raise it outside of ``except``, so that *error* isn't its context. Exceptions of Scrapy and of this package keep
    their meaning: ``CloseSpider`` closes the spider, ``IgnoreRequest`` drops the request.
    """
    if isinstance(error, IgnoreRequest | SessionError):
        return error
    if isinstance(error, CloseSpider):
        close_spider(error.reason)
        return CrawlClosing(f"{method}() closed the spider")
    count("config_errors")
    return ConfigFailed(f"{method}() raised {describe_fault(error)}")
