"""A spider that looks at fingerprints before and after a download."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from tests.support.spiders.base import SiteSpider

__all__ = ["Twice"]


class Twice(SiteSpider):
    """Yields each of ``requests`` twice, through the dupefilter."""

    name = "twice"
    requests: Any

    async def start(self) -> AsyncIterator[Any]:
        for keywords in [*self.requests, *self.requests]:
            request = Request(**{**keywords, "meta": dict(keywords["meta"])})
            request.cb_kwargs["before"] = self.fingerprint(request)
            yield request

    def parse(self, response: Response, before: str = "", **kwargs: Any) -> Any:
        """Yield where the response came from, and both fingerprints."""
        assert response.request is not None
        after = self.fingerprint(response.request.copy())
        for item in super().parse(response):
            yield {**item, "before": before, "after": after}

    def fingerprint(self, request: Request) -> str:
        assert self.crawler.request_fingerprinter is not None
        return self.crawler.request_fingerprinter.fingerprint(request).hex()
