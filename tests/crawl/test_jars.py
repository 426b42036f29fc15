"""``CookiesMiddleware.jars``, where other plug-ins look for cookies: those of the sessions, each its own."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookiejar import Cookie
from typing import Any

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http import Response
from scrapy.http.cookies import CookieJar

from tests.support.shop import Shop, buy, spider_of
from tests.support.spiders.buyer import Buyer

SET = "/page?set=user%3D{}%3B+Path%3D/%3B+HttpOnly%3B+SameSite%3DLax"


class Looks(Buyer):
    """Keeps what the jars hold when its callback is called, and the ``cookiejar`` of each request that is sent."""

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Looks:
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.sent = []
        crawler.signals.connect(spider.note, signals.request_reached_downloader)
        return spider

    def note(self, request: Request) -> None:
        self.sent.append(request.meta.get("cookiejar"))

    def parse(self, response: Response, **kwargs: Any) -> Any:
        self.jars: Any = next(
            middleware.jars
            for middleware in self.crawler.engine.downloader.middleware.middlewares  # type: ignore[union-attr]
            if isinstance(middleware, CookiesMiddleware)
        )
        self.held = {key: values(self.jars[key]) for key in ("alice", "bob", 1, "1", b"raw", None, "nobody")}
        self.keys = list(self.jars)
        self.cookie = next(iter(self.jars["alice"].jar), None)
        self.jars["bob"].set_cookie(self.cookie)
        self.bob = values(self.jars["bob"])
        self.known = ["alice" in self.jars, 1 in self.jars, "nobody" in self.jars]
        yield from super().parse(response)  # the other requests


def values(jar: CookieJar) -> list[str | None]:
    return [cookie.value for cookie in jar.jar]


def requests() -> Iterator[dict[str, Any]]:
    metas: list[dict[str, Any]] = [
        {"session_id": "alice"},
        {"session_id": "bob"},
        {"cookiejar": 1},
        {"cookiejar": "1"},
        {"cookiejar": b"raw"},
    ]
    for number, meta in enumerate(metas):
        yield {"path": SET.format(number), "meta": meta, "tagged": "session_id" in meta, "priority": -number}


async def looked(shop: Shop) -> Looks:
    first, *then = requests()
    found = spider_of(await buy(shop, {"CONCURRENT_REQUESTS": 1}, [first], None, spider=Looks, then=then))
    assert isinstance(found, Looks)
    return found


async def test_they_are_keyed_as_in_scrapy_and_by_session_id(shop: Shop) -> None:
    """A key that isn't known has an empty jar, and so has None: it names no session."""
    spider = await looked(shop)
    assert spider.held == {"alice": ["0"], "bob": ["1"], 1: ["2"], "1": ["3"], b"raw": ["4"], None: [], "nobody": []}
    assert spider.known == [True, True, False]
    assert {"alice", "bob"} <= set(spider.keys)
    assert len(spider.keys) == 5


async def test_nothing_that_a_plug_in_puts_there_reaches_a_session(shop: Shop) -> None:
    """Each jar is a copy: what a plug-in learned of alice can't be sent for bob."""
    spider = await looked(shop)
    assert spider.bob == ["1"]


async def test_a_cookie_keeps_its_attributes(shop: Shop) -> None:
    """It is one of the standard library, as in Scrapy's jars."""
    cookie = (await looked(shop)).cookie
    assert isinstance(cookie, Cookie)
    assert (cookie.name, cookie.value, cookie.domain, cookie.path) == ("user", "0", "127.0.0.1", "/")
    assert (cookie.domain_specified, cookie.secure, cookie.expires, cookie.discard) == (False, False, None, True)
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"


async def test_a_request_on_its_way_names_its_session(shop: Shop) -> None:
    """From the first look on, the meta key ``cookiejar`` leads a download handler to the jar; then it is as before."""
    spider = await looked(shop)
    metas = [response.meta for response in spider.responses]
    assert [meta.get("cookiejar") for meta in metas] == [None, None, 1, "1", b"raw"]
    assert spider.sent[1:] == ["bob", "cookiejar:int:1", "1", "cookiejar:bytes:b'raw'"]
