"""A spider that works with the accounts of an exclusive pool, and says to the site which process uses which."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig, Verdict
from scrapy_sessions.crawl.routing import SessionRouter
from tests.support.spiders.base import SiteSpider

__all__ = ["Worker"]


class SaysWho(SessionConfig):
    """Sends the account and the process along."""

    def process_request(self, request: Request, session: BrowserSession) -> None:
        request.headers["X-Account"] = session.id
        request.headers["X-Worker"] = str(os.getpid())


class LosesFirst(SaysWho):
    """Blocks the first account that gets a response, just when another process has taken it."""

    lost = ""

    def check(self, response: Response, request: Request) -> Verdict:
        if self.lost:
            return Verdict.OK
        self.lost = request.meta["session_id"]
        exclusive = SessionRouter.of(self.crawler).exclusive
        assert exclusive is not None
        exclusive.holdings["staff"]._lose(self.lost)
        return Verdict.BLOCKED


class Worker(SiteSpider):
    """Gets *pages* pages of *base*, each of which takes *ms* milliseconds, in the pool ``staff``. *metas* come on top
    of the meta of the first ones. From the fortieth on, pages wait for *until*, as the site has it."""

    name = "worker"
    session_config = SaysWho

    def __init__(
        self,
        base: str = "",
        pages: int = 0,
        ms: int = 20,
        metas: Any = (),
        label: str = "page",
        until: str = "",
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.until = until
        self.base, self.pages, self.ms, self.label, self.metas = base, pages, ms, label, metas

    async def start(self) -> AsyncIterator[Any]:
        metas = [*self.metas, *({} for _ in range(self.pages - len(self.metas)))]
        for number, meta in enumerate(metas):
            url = f"{self.base}/{self.label}/{number}?ms={self.ms}"
            if self.until and number >= 40:
                url += f"&until={self.until}"
            yield Request(url, self.parse, errback=self.failed, meta={"session_pool": "staff", **meta})

    def parse(self, response: Response, **kwargs: Any) -> Any:
        yield {"url": response.url, "session": response.meta["session_id"]}

    def failed(self, failure: Any) -> Any:
        yield {"failed": type(failure.value).__name__, "message": str(failure.value)}
