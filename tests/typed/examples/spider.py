"""A spider with annotations: what it does with ``self.sessions``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response, TextResponse
from typing_extensions import assert_type

from scrapy_sessions import BrowserSession, SessionInfo, SpiderSessions


class Orders(Spider):
    name = "orders"
    sessions: SpiderSessions  # the extension sets it

    async def start(self) -> AsyncIterator[Request]:
        yield Request("https://shop.example/orders", meta={"session_id": "alice"})

    def parse(self, response: Response) -> Iterator[dict[str, Any]]:
        session = assert_type(self.sessions.of(response), BrowserSession)
        session.data["last_order"] = response.css(".order::text").get()
        session.record("read the last order")
        yield {"agent": session.user_agent, "language": session.language, "sid": session.cookies["sid"]}

    async def parse_login(self, response: TextResponse) -> Request:
        session = self.sessions.of(response)
        session.headers.set("Authorization", f"Bearer {response.json()['token']}", url=response.url)
        other = await self.sessions.get("bob")
        self.logger.info("%s has seen %d pages", other.id, other.pages_visited)
        for info in assert_type(await self.sessions.pool("readers"), list[SessionInfo]):
            await self.sessions.retire(info["session_id"], "the account was closed")
        return response.follow("/orders", self.parse)
