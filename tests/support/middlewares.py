"""Downloader middlewares that stand in the way."""

from __future__ import annotations

import asyncio

from scrapy import Request
from scrapy.exceptions import IgnoreRequest

__all__ = ["FailsReplays", "HoldsBack", "SendsElsewhere"]


class FailsReplays:
    """Drops what is sent again."""

    def process_request(self, request: Request) -> None:
        if request.meta.get("_session_refused_in"):
            raise IgnoreRequest("dropped by the test")


class HoldsBack:
    """Takes its time over a request for ``…/held``, so that others overtake it."""

    async def process_request(self, request: Request) -> None:
        if "/held" in request.url and not request.meta.get("_session_refused_in"):
            await asyncio.sleep(0.25)


class SendsElsewhere:
    """Answers a request with a copy of it that goes out in no session."""

    def process_request(self, request: Request) -> Request | None:
        if request.meta["session_id"] is None:
            return None
        return request.replace(meta={**request.meta, "session_id": None}, dont_filter=True)
