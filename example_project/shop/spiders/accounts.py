"""Named sessions: each customer is one, logged in once, and still logged in when the spider runs again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import FormRequest, Request, Spider
from scrapy.http import Response

from shop.items import Account, Order, Profile

__all__ = ["AccountsSpider"]


class AccountsSpider(Spider):
    """Reads the accounts of all customers at once: ``scrapy crawl accounts -a site=http://127.0.0.1:8080``."""

    name = "accounts"
    site: str | None = None

    async def start(self) -> AsyncIterator[Request]:
        site = self.site or self.settings["SHOP_SITE"]
        for user in self.settings.getdict("SHOP_PASSWORDS"):
            # "session_id" says who asks; the same page for alice and for bob is two requests. The profile is used when
            # the session is new: one that was saved keeps what it was born with.
            yield Request(f"{site}/account", self.parse_account, meta={"session_id": user, "session_profile": user})

    def parse_account(self, response: Response, tried: bool = False) -> Iterator[Any]:
        user = response.meta["session_id"]
        if response.css("form#login"):
            # The shop doesn't know this session (yet, or any more), and led us to its login form.
            if tried:
                self.logger.error("The shop doesn't accept the password of %s", user)
            else:
                yield self.log_in(response, user)
            return
        yield Account(
            user=response.css("#account .user::text").get(""),
            language=self.language(response),
            greeting=response.css("h1::text").get(""),
            orders=int(response.css("#account .orders::text").get("0")),
        )
        # No meta here: what a callback yields stays in the session of its response.
        yield from response.follow_all(response.css("a.orders::attr(href)").getall(), callback=self.parse_orders)
        yield from response.follow_all(response.css("a.profile::attr(href)").getall(), callback=self.parse_profile)

    def log_in(self, response: Response, user: str) -> Request:
        assert self.crawler.stats is not None
        self.crawler.stats.inc_value("accounts/logins")
        form = response.css("form#login")
        return FormRequest(
            response.urljoin(form.attrib["action"]),
            self.parse_account,
            formdata={
                "csrf": form.css("[name=csrf]::attr(value)").get(""),  # the shop made it for this session only
                "user": user,
                "password": self.settings.getdict("SHOP_PASSWORDS")[user],
            },
            cb_kwargs={"tried": True},
            # The shop redirects to the page we came from, which the duplicate filter has seen.
            dont_filter=True,
        )

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
