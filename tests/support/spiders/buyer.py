"""The spiders of these tests: in a file, as Scrapy reads the source of their callbacks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.http import Response
from twisted.python.failure import Failure

from scrapy_sessions import SessionConfig
from scrapy_sessions.crawl.facade import SpiderSessions
from tests.support.spiders.base import SiteSpider

__all__ = ["Buyer"]


class Buyer(SiteSpider):
    """Sends *requests*, keywords of ``Request``, to the shop at *base*, and yields what came of each.

    *then* are such requests, too: the first page's callback yields them. *stop*: a path whose response makes its
    callback raise ``CloseSpider``.
    """

    name = "buyer"
    sessions: SpiderSessions
    session_config: type[SessionConfig] | SessionConfig | str | None = None
    stop = ""

    def __init__(
        self,
        base: str = "",
        requests: Sequence[Mapping[str, Any]] = (),
        then: Sequence[Mapping[str, Any]] = (),
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.base = base
        self.requests = requests
        self.then = list(then)
        self.stopped_at = 0.0
        self.responses: list[Response] = []
        self.failures: list[Failure] = []

    async def start(self) -> AsyncIterator[Any]:
        for request in self.requests:
            yield self.request(**request)

    def request(self, path: str, *, tagged: bool = True, **keywords: Any) -> Request:
        """A request in alice's session, unless its meta says otherwise, or it is not *tagged* at all."""
        meta = {"session_id": "alice", **keywords.pop("meta", {})}
        if "session_pool" in meta or not tagged:
            del meta["session_id"]
        url = path if path.startswith("http") else self.base + path
        return Request(url, self.parse, **{"errback": self.failed, "dont_filter": True, "meta": meta, **keywords})

    def parse(self, response: Response, **kwargs: Any) -> Any:
        self.responses.append(response)
        if self.stop and self.stop in response.url:
            self.stopped_at = time.monotonic()
            raise CloseSpider("enough")
        item = next(iter(super().parse(response)))
        yield {**item, "given": kwargs, "text": response.text[:60]}
        later, self.then = self.then, []
        for request in later:
            yield self.request(**request)

    def failed(self, failure: Failure) -> Any:
        self.failures.append(failure)
        yield {"failed": type(failure.value).__name__, "message": str(failure.value)}
