"""Named sessions: each customer is one, logged in once, and still logged in when the spider runs again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response

from scrapy_sessions import BrowserSession
from scrapy_sessions.logins import Credentials, FormLogin
from shop.items import Account, Order, Profile

__all__ = ["AccountsSpider", "ShopSession"]


class ShopSession(FormLogin):
    """How to log in to the shop. It redirects to its form when a login has run out, or was never made."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self.login_url = f"{crawler.settings['SHOP_SITE']}/login"

    async def credentials(self, session: BrowserSession) -> Credentials:
        return Credentials(session.id, self.crawler.settings.getdict("SHOP_PASSWORDS")[session.id])


class AccountsSpider(Spider):
    """Reads the accounts of all customers at once: ``scrapy crawl accounts -s SHOP_SITE=http://127.0.0.1:8080``."""

    name = "accounts"
    session_config = ShopSession

    async def start(self) -> AsyncIterator[Request]:
        for user in self.settings.getdict("SHOP_PASSWORDS"):
            # "session_id" says who asks; the same page for alice and for bob is two requests. The profile is used when
            # the session is new: one that was saved keeps what it was created with.
            meta = {"session_id": user, "session_profile": user}
            yield Request(f"{self.settings['SHOP_SITE']}/account", self.parse_account, meta=meta)

    def parse_account(self, response: Response) -> Iterator[Any]:
        yield Account(
            user=response.css("#account .user::text").get(""),
            language=self.language(response),
            greeting=response.css("h1::text").get(""),
            orders=int(response.css("#account .orders::text").get("0")),
        )
        # No meta here: what a callback yields stays in the session of its response.
        yield from response.follow_all(response.css("a.orders::attr(href)").getall(), callback=self.parse_orders)
        yield from response.follow_all(response.css("a.profile::attr(href)").getall(), callback=self.parse_profile)

    def parse_orders(self, response: Response) -> Iterator[Request]:
        yield from response.follow_all(response.css("a.order::attr(href)").getall(), callback=self.parse_order)

    def parse_order(self, response: Response) -> Order:
        return Order(
            user=response.meta["session_id"],
            language=self.language(response),
            number=int(response.css("#order .number::text").get("0")),
            date=response.css("#order .date::text").get(""),
            total=response.css("#order .total::text").get(""),
            products=response.css("#lines tbody a::text").getall(),
        )

    def parse_profile(self, response: Response) -> Profile:
        return Profile(
            user=response.css("#profile .user::text").get(""),
            language=self.language(response),
            email=response.css("#profile .email::text").get(""),
            user_agent=response.css("#profile .agent::text").get(""),
        )

    @staticmethod
    def language(response: Response) -> str:
        return response.css("html").attrib["lang"]
