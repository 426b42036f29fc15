"""The spiders of these tests: in a file, as Scrapy reads the source of their callbacks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from scrapy import Request, Spider
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from twisted.python.failure import Failure

from scrapy_sessions import BrowserSession, SessionConfig, Verdict
from scrapy_sessions.config import Fetch
from scrapy_sessions.crawl.facade import SpiderSessions

__all__ = [
    "Accounts",
    "Answering",
    "Asking",
    "Habits",
    "Ignoring",
    "Inquiring",
    "Listing",
    "Replacing",
    "Returning",
    "Slots",
    "Suspended",
    "SuspendedTwice",
    "Turns",
]


class Asking(Spider):
    """Sends the requests of *steps*, each step once the one before is done, and notes how each ended by its number."""

    name = "asking"
    handle_httpstatus_all = True
    sessions: SpiderSessions

    def __init__(self, steps: Sequence[Sequence[tuple[str, dict[str, Any]]]] = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.steps = steps
        self.answers: dict[int, tuple[int, str]] = {}
        self.failures: dict[int, BaseException] = {}
        self.left = 0
        self.done = asyncio.Event()

    async def start(self) -> AsyncIterator[Any]:
        number = 0
        for step in self.steps:
            self.left = len(step)
            self.done.clear()
            for url, meta in step:
                yield Request(
                    url,
                    self.parse,
                    errback=self.failed,
                    meta={"handle_httpstatus_all": True, **meta},
                    cb_kwargs={"number": number},
                    dont_filter=True,
                )
                number += 1
            await self.done.wait()

    def parse(self, response: Response, **kwargs: Any) -> Any:
        number = kwargs["number"]
        assert number not in self.answers, "a request was answered twice"
        self.answers[number] = response.status, response.meta.get("session_id", "(none)")
        self.finished_one()

    def failed(self, failure: Failure) -> Any:
        assert failure.value is not None
        self.failures[failure.request.cb_kwargs["number"]] = failure.value  # type: ignore[attr-defined]
        self.finished_one()

    def finished_one(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


class Listing(Asking):
    """Asks for its requests out of a callback: Scrapy then takes the newest first, so a replay before all others."""

    async def start(self) -> AsyncIterator[Any]:
        self.listed = super().start()
        url, meta = self.steps[0][0]
        yield Request(url, self.list, meta=meta, dont_filter=True)

    async def list(self, response: Response) -> AsyncIterator[Any]:
        async for request in self.listed:
            yield request


class Accounts(SessionConfig):
    """Logs in with a page of the site's; what goes to ``/shop/`` draws from the pool ``shop``."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        session.cookies.clear()  # the site takes whoever has none for somebody new
        base = self.crawler.settings["SITE"]
        await fetch(Request(f"{base}login/{session.id}"))

    def pool(self, request: Request) -> str | None:
        return "shop" if "/shop/" in request.url else None


class Suspended(SessionConfig):
    """Holds whoever is shown a page ``/suspended…`` for suspended."""

    def check(self, response: Response, request: Request) -> Any:
        return Verdict.BLOCKED if "/suspended" in response.url else super().check(response, request)


class SuspendedTwice(SessionConfig):
    """Holds the first two that are shown a page ``/suspended…`` for suspended."""

    seen = 0

    def check(self, response: Response, request: Request) -> Any:
        if "/suspended" not in response.url:
            return super().check(response, request)
        self.seen += 1
        return Verdict.BLOCKED if self.seen <= 2 else Verdict.OK


class Inquiring(SessionConfig):
    """Asks the site about each page, in the session that got it, before it is held for good."""

    async def check(self, response: Response, request: Request) -> Verdict:
        if "/who" not in request.url:
            spider = self.crawler.spider
            assert isinstance(spider, Asking)
            session = await spider.sessions.get(request.meta["session_id"])
            await session.fetch(Request(response.urljoin("/who"), dont_filter=True))
        return Verdict.OK


class Turns(SessionConfig):
    """Notes when each request of a session may go (``time.monotonic()``), in the stat ``turns``."""

    def delay(self, session: BrowserSession) -> float:
        assert self.crawler.stats is not None
        turns: dict[str, list[float]] = self.crawler.stats.get_value("turns", {})
        turns.setdefault(session.id, []).append(time.monotonic())
        self.crawler.stats.set_value("turns", turns)
        return super().delay(session)


class Habits(Turns):
    """Gives bob no pause, the others one that grows by 0.1 s with every request."""

    def delay(self, session: BrowserSession) -> float:
        super().delay(session)
        if session.id == "bob":
            return 0
        steps = session.data.setdefault("steps", 0)
        assert isinstance(steps, int)
        session.data["steps"] = steps + 1
        return 0.1 * (steps + 1)


class Slots(Asking):
    """Notes which download slots there are."""

    name = "slots"

    def parse(self, response: Response, **kwargs: Any) -> Any:
        assert self.crawler.engine is not None
        self.slots = set(self.crawler.engine.downloader.slots)
        super().parse(response, **kwargs)


class Ignoring:
    """Ignores every other request."""

    def process_request(self, request: Request) -> None:
        if int(request.url[-1]) % 2:
            raise IgnoreRequest("by the test")


class Replacing:
    """Replaces each request once."""

    def process_request(self, request: Request) -> Request | None:
        return (
            None
            if request.meta.get("replaced")
            else request.replace(meta={**request.meta, "replaced": True}, dont_filter=True)
        )


class Returning:
    """Sends each request once more on its way, as it is."""

    def process_request(self, request: Request) -> Request | None:
        if request.meta.get("returned"):
            return None
        request.meta["returned"] = True
        return request


class Answering:
    """Answers in place of the site."""

    def process_request(self, request: Request) -> Response:
        return Response(request.url, request=request)


class Remembering(Asking):
    """Notes the path of each page in its session's data, in place."""

    name = "remembering"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.seen: dict[str, list[Any]] = {}

    def parse(self, response: Response, **kwargs: Any) -> Any:
        session = self.sessions.of(response)
        paths = session.data.setdefault("paths", [])
        assert isinstance(paths, list)
        self.seen[session.id] = list(paths)
        paths.append(f"/{session.id}")
        super().parse(response, **kwargs)


class Counting(Asking):
    """Counts in the shared data: each page, and *times* before the first."""

    name = "counting"

    def __init__(self, times: int = 0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.times = times

    @staticmethod
    def count(data: dict[str, Any]) -> None:
        data["count"] = data.get("count", 0) + 1

    async def start(self) -> AsyncIterator[Any]:
        assert self.crawler.stats is not None
        for _ in range(self.times):
            self.crawler.stats.set_value("counted", (await self.sessions.shared.update(self.count))["count"])
        async for request in super().start():
            yield request

    async def parse(self, response: Response, **kwargs: Any) -> Any:
        await self.sessions.shared.update(self.count)
        super().parse(response, **kwargs)
