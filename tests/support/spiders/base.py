"""What the tests' spiders have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response

from scrapy_sessions import SpiderSessions

__all__ = ["Listed", "SiteSpider"]


class SiteSpider(Spider):
    """A spider with the facade declared, as type checkers want it. Every status reaches its callback."""

    name = "site"
    sessions: SpiderSessions
    custom_settings: dict[Any, Any] | None = {"HTTPERROR_ALLOW_ALL": True}  # noqa: RUF012  # Scrapy's declaration

    def parse(self, response: Response, **kwargs: Any) -> Any:
        """Yield where the response came from, and in which session."""
        yield {
            "url": response.url,
            "path": response.url.partition("?")[0].split("/", 3)[-1],
            "status": response.status,
            "cached": "cached" in response.flags,
            "session": response.meta.get("session_id", "(no key)"),
        }


class Listed(SiteSpider):
    """Sends the requests that the argument ``requests`` lists: keywords of ``Request``, one after the other.

    With ``steps``, lists of such: each list once the one before it is done.
    """

    name = "listed"

    def __init__(self, requests: Any = None, steps: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps: list[list[dict[str, Any]]] = steps if steps is not None else [requests]

    async def start(self) -> AsyncIterator[Any]:
        for step in self.steps:
            self.left = len(step)
            self.done = asyncio.Event()
            for request in step:
                yield Request(**{"dont_filter": True, "errback": self.failed, **request})
            await self.done.wait()

    def parse(self, response: Response, **kwargs: Any) -> Any:
        yield from super().parse(response)
        self.finished_one()

    def failed(self, failure: Any) -> Any:
        """Yield what failed, and why."""
        yield {"failed": type(failure.value).__name__, "message": str(failure.value), "url": failure.request.url}
        self.finished_one()

    def finished_one(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()
