"""An exclusive pool: several processes take pages from one queue, and each account is used by one of them at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response

from shop.items import PriceList
from shop.spiders.accounts import ShopSession

__all__ = ["PricesSpider"]

BUYERS = {f"buyer{number}": f"purchase{number}" for number in range(10)}


class PricesSpider(Spider):
    """Reads the price lists of many weeks. Start it as often as you like, with one server for queue and sessions:

    ``scrapy crawl prices -s REDIS_URL=redis://127.0.0.1:6379/0 -s SESSIONS_STORE=redis://127.0.0.1:6379/0``.
    """

    name = "prices"
    session_config = ShopSession
    custom_settings = {  # noqa: RUF012  # as Scrapy has it
        "SESSIONS_POOLS": {"buyers": {"sessions": list(BUYERS), "exclusive": True}},
        "SHOP_PASSWORDS": BUYERS,
        # The queue, the duplicate filter and the items of all processes are on the server at REDIS_URL.
        "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
        "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
        "SCHEDULER_PERSIST": True,
        "ITEM_PIPELINES": {"scrapy_redis.pipelines.RedisPipeline": 300},
    }
    weeks = 52

    async def start(self) -> AsyncIterator[Request]:
        # Each process asks for this page; all but the first are told by the duplicate filter that it was seen.
        yield Request(f"{self.settings['SHOP_SITE']}/prices?weeks={self.weeks}", meta={"session_pool": "buyers"})

    def parse(self, response: Response) -> Iterator[Request]:
        # They stay in the pool, and whichever process takes one from the queue picks among the accounts that it holds.
        yield from response.follow_all(response.css("a.week"), self.parse_week)

    def parse_week(self, response: Response) -> Iterator[Any]:
        rows = response.css("#prices tbody tr")
        yield PriceList(
            week=int(response.url.rpartition("/")[2]),
            prices={row.css("td::text").get(""): row.css("td + td::text").get("") for row in rows},
        )
