"""The duplicate filter for scrapy-redis: there, too, the same URL for alice and for bob is two requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.dupefilters import BaseDupeFilter

from scrapy_sessions.exceptions import SessionConfigurationError

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler

    # typing.Self requires Python 3.11
    from typing_extensions import Self

__all__ = ["RedisDupeFilter"]


class RedisDupeFilter(BaseDupeFilter):
    """Wraps the duplicate filter of scrapy-redis, which ignores ``REQUEST_FINGERPRINTER_CLASS``.

    It stores what ``REQUEST_FINGERPRINTER_CLASS`` returns, under the key and by the settings of scrapy-redis. Raises
    :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if scrapy-redis isn't installed.
    """

    def __init__(self, wrapped: Any, crawler: Crawler) -> None:
        self._wrapped = wrapped
        self._fingerprinter = crawler.request_fingerprinter

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Return the filter of *crawler*. Called by Scrapy's scheduler: the key is a new one for each crawl."""
        return cls(_scrapy_redis_filter().from_crawler(crawler), crawler)

    @classmethod
    def from_spider(cls, spider: Spider) -> Self:
        """Return the filter that all processes with this *spider* share. Called by the scheduler of scrapy-redis."""
        return cls(_scrapy_redis_filter().from_spider(spider), spider.crawler)

    def request_seen(self, request: Request) -> bool:
        """Return whether *request* was seen before, by any process, and note that it is seen now."""
        fingerprint = self._fingerprinter.fingerprint(request).hex()
        return not self._wrapped.server.sadd(self._wrapped.key, fingerprint)

    def log(self, request: Request, spider: Spider) -> None:
        self._wrapped.log(request, spider)

    def clear(self) -> None:
        """Forget all requests."""
        self._wrapped.clear()

    def close(self, reason: str) -> None:
        self._wrapped.close(reason)


def _scrapy_redis_filter() -> Any:
    try:
        from scrapy_redis.dupefilter import RFPDupeFilter  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise SessionConfigurationError(
            "RedisDupeFilter needs scrapy-redis: pip install 'scrapy-persistent-sessions[scrapy-redis]'"
        ) from error
    return RFPDupeFilter
