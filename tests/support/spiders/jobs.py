"""A spider that is stopped while requests wait in its queue on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.http import Response

from tests.support.spiders.base import SiteSpider

__all__ = ["Resumed", "Waiting"]


class Resumed(SiteSpider):
    """In its first run it queues ``urls`` for each session and pool, and stops; in the next one it has nothing new."""

    name = "resumed"
    first: str
    urls: Any
    metas: Any

    async def start(self) -> AsyncIterator[Any]:
        if self.first:
            yield Request(self.first, self.fill, meta={"session_id": "alice"})

    def fill(self, response: Response) -> Any:
        for url in self.urls:
            for meta in self.metas:
                yield Request(url, meta=dict(meta), dont_filter=True, cb_kwargs={"asked": meta})
        raise CloseSpider("enough")

    def parse(self, response: Response, asked: Any = None, **kwargs: Any) -> Any:
        """Yield which session was asked for, and which one it was."""
        meta = response.meta
        yield {"asked": asked, "session": meta["session_id"], "pool": meta.get("session_pool")}


class Waiting(Resumed):
    """As :class:`Resumed`, but doesn't stop by itself; what it queues goes to the session or pool of the first."""

    name = "waiting"

    async def start(self) -> AsyncIterator[Any]:
        if self.first:
            for url in (self.first, *self.urls):
                yield Request(url, meta=dict(self.metas[0]), dont_filter=True)
