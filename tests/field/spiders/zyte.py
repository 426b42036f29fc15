"""Requests by Zyte API, one after the other: each session logs in, and then asks who it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response

__all__ = ["ByZyteAPI"]


class ByZyteAPI(Spider):
    """Yields, for each session, the cookies that its second page was asked for with, and its meta afterwards."""

    name = "by_zyte_api"
    metas: list[dict[str, Any]] = [  # noqa: RUF012  # read only
        {"session_id": "alice"},
        {"session_id": "bob"},
        {"cookiejar": 1},
        {"cookiejar": "carol"},
        {"session_pool": "shop"},
        {},
        {"session_id": None},
    ]

    async def start(self) -> AsyncIterator[Request]:
        for number, meta in enumerate(self.metas):
            yield Request(f"http://shop.test/login/{number}", meta=meta, cb_kwargs={"number": number}, priority=-number)

    def parse(self, response: Response, number: int) -> Iterator[Request]:
        url = f"http://shop.test/page/{number}"
        yield Request(url, self.parse_page, meta=self.metas[number], cb_kwargs={"number": number}, priority=-100)

    def parse_page(self, response: Response, number: int) -> Iterator[dict[str, Any]]:
        yield {"number": number, "cookies": json.loads(response.body), "cookiejar": response.meta.get("cookiejar")}
