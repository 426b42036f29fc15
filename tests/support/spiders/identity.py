"""A spider with many sessions that all look different."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request

from tests.support.spiders.base import SiteSpider

__all__ = ["Crowd"]


class Crowd(SiteSpider):
    """Sends ``rounds`` requests in each of its sessions, with ``urls`` of which each holds ``{who}`` and ``{n}``."""

    name = "crowd"
    sessions_wanted: int
    rounds: int
    urls: Any

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    async def start(self) -> AsyncIterator[Any]:
        for n in range(self.rounds):
            for number in range(self.sessions_wanted):
                who = f"{self.name}-{number}"
                url = self.urls[(n + number) % len(self.urls)]
                meta = {"session_id": who, "session_profile": who}
                yield Request(url.replace("WHO", who).replace("NNN", f"{who}-{n}"), meta=meta)

    def parse(self, response: Any, **kwargs: Any) -> Any:
        """Count what came in another session than it left in."""
        if response.url.partition("X-Expect=")[2].partition("&")[0] != response.meta["session_id"]:
            self.crawler.stats.inc_value("crowd/strangers")
        self.crawler.stats.inc_value("crowd/pages")
