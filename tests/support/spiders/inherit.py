"""Spiders that yield requests in every way there is, to see which session they end up in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import HtmlResponse, Response
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule

from tests.support.spiders.base import SiteSpider

__all__ = ["Family", "Ruled"]


class Family(SiteSpider):
    """For each of ``metas``, by name, fetches a parent at ``url``, and from it a child by each kind of callback."""

    name = "family"
    url: str
    metas: Any

    async def start(self) -> AsyncIterator[Any]:
        for name, meta in self.metas.items():
            for kind in ("generator", "follow", "coroutine", "async_generator"):
                callback = getattr(self, kind)
                given = {"name": name, "kind": kind}
                yield Request(self.url, callback, meta=dict(meta), cb_kwargs=given, dont_filter=True)

    def child(self, response: Response, name: str, kind: str) -> Any:
        request = Request(self.url, self.note, cb_kwargs={"name": name, "kind": kind}, dont_filter=True)
        request.cb_kwargs["parent"] = response.meta["session_id"]
        return request

    def generator(self, response: Response, name: str, kind: str) -> Any:
        yield self.child(response, name, kind)

    def follow(self, response: HtmlResponse, name: str, kind: str) -> Any:
        given = {"name": name, "kind": kind, "parent": response.meta["session_id"]}
        return response.follow(self.url, self.note, cb_kwargs=given, dont_filter=True)

    async def coroutine(self, response: Response, name: str, kind: str) -> Any:
        await self.sessions.get("bystander")
        return [self.child(response, name, kind)]

    async def async_generator(self, response: Response, name: str, kind: str) -> Any:
        await self.sessions.get("bystander")
        yield self.child(response, name, kind)

    def note(self, response: Response, name: str, kind: str, parent: str | None) -> Any:
        """Yield the sessions of parent and child, and the child's pool."""
        meta = response.meta
        found = {"session": meta["session_id"], "pool": meta.get("session_pool")}
        yield {"name": name, "kind": kind, "parent": parent, **found}


class Ruled(CrawlSpider):
    """Follows links by rules, over three generations of pages, from one start in each session."""

    name = "ruled"
    url: str
    rules = (Rule(LinkExtractor(allow=r"/page/"), callback="note", follow=True),)

    async def start(self) -> AsyncIterator[Any]:
        for who in ("alice", "bob"):
            yield Request(self.url, meta={"session_id": who}, cb_kwargs={}, headers={"X-Who": who})

    def note(self, response: Response) -> Any:
        yield {"url": response.url, "session": response.meta["session_id"]}
