"""Spiders whose sessions look different."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from tests.support.spiders.base import SiteSpider

__all__ = ["Crowd", "Resent"]


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


class Prefixed(SessionConfig):
    """Replaces the session's user agent by one that is made of it."""

    def process_request(self, request: Request, session: BrowserSession) -> None:
        request.headers["User-Agent"] = b"Mobile " + (request.headers["User-Agent"] or b"")


class Resent(SiteSpider):
    """Sends a request in the session alice and, after its response, a copy of it in the session bob."""

    name = "resent"
    session_config = Prefixed
    url: str

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.url, meta={"session_id": "alice", "session_profile": "alice"})

    def parse(self, response: Response, **kwargs: Any) -> Any:
        if response.meta["session_id"] == "alice":
            assert response.request is not None
            yield response.request.replace(meta={"session_id": "bob", "session_profile": "bob"}, dont_filter=True)
