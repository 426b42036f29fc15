"""A spider whose requests are in one queue of scrapy-redis, for all processes that run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from tests.support.spiders.base import SiteSpider

__all__ = ["Queued"]


class Queued(SiteSpider):
    """Asks for each of *early*, then each of *late*, once in each of *sessions*; prints what has come."""

    name = "queued"

    def __init__(self, early: list[str], late: list[str], sessions: list[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.urls = [*((url, 1) for url in early), *((url, 0) for url in late)]
        self.names = sessions

    async def start(self) -> AsyncIterator[Any]:
        for url, priority in self.urls:
            for name in self.names:
                yield Request(url, priority=priority, cookies={"who": name}, meta={"session_id": name})

    def parse(self, response: Response, **kwargs: Any) -> Any:
        for item in super().parse(response):
            print(item["path"], item["session"], flush=True)
            yield item
