"""A spider written for Scrapy's cookiejars, as there are many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from tests.support.spiders.base import SiteSpider

__all__ = ["OldStyle"]


class OldStyle(SiteSpider):
    """Copies ``response.meta`` from request to request; uses an object as the key of a jar."""

    name = "old-style"
    url: str

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.url, self.old, meta={"cookiejar": "old-a"}, cb_kwargs={"step": "first"})
        yield self.request({"cookiejar": object()}, self.keyed, "first")
        yield self.request({}, self.copied, "untagged")

    def request(self, meta: Any, callback: Any, step: str) -> Request:
        return Request(self.url, callback, meta=meta, cb_kwargs={"step": step}, dont_filter=True)

    def old(self, response: Response, step: str) -> Any:
        yield self.sent("old", response, step)
        if step == "first":
            yield self.request({**response.meta, "cookiejar": "old-b"}, self.old, "other")
        elif step == "other":
            yield self.request({**response.meta, "cookiejar": "old-a"}, self.old, "back")

    def keyed(self, response: Response, step: str) -> Any:
        self.sessions.of(response).data["seen"] = step
        yield self.sent("object", response, step)
        if step == "first":
            yield self.request({"cookiejar": response.meta["cookiejar"]}, self.keyed, "second")
            yield self.request({"cookiejar": object()}, self.keyed, "another")

    def copied(self, response: Response, step: str) -> Any:
        request = self.request({**response.meta, "session_id": "zoe"}, self.named, "named")
        request.cb_kwargs["fingerprint"] = self.fingerprint(request)
        yield request

    def named(self, response: Response, step: str, fingerprint: str) -> Any:
        yield {
            "key": "copied",
            "session": response.meta["session_id"],
            "pools": [response.meta.get("session_pool"), self.sessions.of(response).pool],
            "fingerprint": fingerprint,
            "named": self.fingerprint(Request(self.url, meta={"session_id": "zoe"})),
            "untagged": self.fingerprint(Request(self.url)),
        }

    def fingerprint(self, request: Request) -> str:
        assert self.crawler.request_fingerprinter is not None
        return self.crawler.request_fingerprinter.fingerprint(request).hex()

    @staticmethod
    def sent(key: str, response: Response, step: str) -> dict[str, Any]:
        cookies = json.loads(response.body)["cookies"]
        return {"key": key, "step": step, "jar": cookies.get("jar")}
