"""A pool of sessions: four visitors share the catalogue, and each fills a basket of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import FormRequest, Request, Spider
from scrapy.http import Response

from shop.items import Basket

__all__ = ["CatalogueSpider"]


class CatalogueSpider(Spider):
    """Puts every product into a basket: ``scrapy crawl catalogue -s SHOP_SITE=http://127.0.0.1:8080``."""

    name = "catalogue"
    site: str | None = None
    pages = 4

    async def start(self) -> AsyncIterator[Request]:
        # Any session of the pool will do: they are drawn in turn, one page of the catalogue for each. None sends its
        # second request before its first is answered, so that the shop gives no visitor two cookies.
        for page in range(1, self.pages + 1):
            yield Request(f"{self.settings['SHOP_SITE']}/catalogue?page={page}", meta={"session_pool": "shoppers"})

    def parse(self, response: Response) -> Iterator[Request]:
        products = response.css("a.product::attr(href)").getall()
        yield from response.follow_all(products, self.parse_product, meta=self.same_visitor(response))

    def parse_product(self, response: Response) -> Request:
        form = response.css("form#add")
        return FormRequest(
            response.urljoin(form.attrib["action"]),
            self.parse_basket,
            formdata={
                "csrf": form.css("[name=csrf]::attr(value)").get(""),
                "product": form.css("[name=product]::attr(value)").get(""),
            },
            meta=self.same_visitor(response),
            # The shop redirects to the basket each time, which is one page to the duplicate filter.
            dont_filter=True,
        )

    def parse_basket(self, response: Response) -> Basket:
        return Basket(
            products=response.css("#lines tbody a::text").getall(),
            total=response.css("#basket .total::text").get(""),
        )

    @staticmethod
    def same_visitor(response: Response) -> dict[str, Any]:
        # Without this the next request would draw another session of the pool. But the token in the form is this
        # visitor's, and so is the basket. The pool's option "sticky" does the same for all of its requests.
        return {"session_pool": "shoppers", "session_id": response.meta["session_id"]}
