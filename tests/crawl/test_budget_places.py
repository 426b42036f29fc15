"""Requests that wait for long hold all places: what could go gets one of these, wherever it is queued."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from scrapy.crawler import Crawler
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from scrapy_sessions.crawl import throttle
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.crawl.scrapy_internals import queued_requests
from scrapy_sessions.exceptions import LoginRejected
from tests.support.bans import Asked, BanningSite, ask
from tests.support.clock import Clock
from tests.support.spiders.asking import Asking
from tests.support.waiting import until

HOUR = 3900.0  # and the five minutes of a slot
DAY = 25 * 3600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(throttle, "_LONGEST", 0.05)  # who waits looks at the clock that often
    return clock


class Watched(Asking):
    """Moves the clock by *step* seconds after each page."""

    crawlers: list[Crawler]
    clock: Clock
    step = 0.0

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Any:
        cls.crawlers.append(crawler)
        return super().from_crawler(crawler, *args, **kwargs)

    def parse(self, response: Response, **kwargs: Any) -> None:
        self.clock.ahead += self.step
        super().parse(response, **kwargs)


class Crawl:
    """A crawl of *steps*, with two places, that goes on meanwhile."""

    def __init__(
        self, clock: Clock, *steps: list[tuple[str, dict[str, Any]]], step: float = 0, **settings: Any
    ) -> None:
        self.crawlers: list[Crawler] = []
        members = {"crawlers": self.crawlers, "clock": clock, "step": step}
        spider = type("Watched", (Watched,), {**members, "session_config": settings.pop("config", None)})
        self.end = asyncio.ensure_future(ask(steps=steps, spider=spider, concurrency=2, **settings))

    async def waits(self, queued: int) -> None:
        """Wait until both places are held by requests that wait, and *queued* others were deferred."""

        def is_so() -> bool:
            if not self.crawlers or self.crawlers[0].engine is None:
                return False
            downloader = self.crawlers[0].engine.downloader
            sent = any(slot.active for slot in downloader.slots.values())
            deferred = SessionRouter.of(self.crawlers[0]).deferral._deferred
            return not sent and len(downloader.active) == 2 and queued_requests(self.crawlers[0]) == deferred == queued

        await until(is_so)

    async def stop(self) -> Asked:
        assert self.crawlers[0].engine is not None
        await self.crawlers[0].engine.close_spider_async(reason="seen")
        return await self.end


def requests(bans: BanningSite, session_id: str, number: int = 1, **meta: str) -> list[tuple[str, dict[str, Any]]]:
    return [(bans.url(f"/{session_id}/{n}"), {"session_id": session_id, **meta}) for n in range(number)]


async def test_a_session_that_is_ready_before_its_end(bans: BanningSite, clock: Clock) -> None:
    """Its requests are in the middle of those of others, and all rest for a day. It is deleted, so that it begins anew:
    a request of it is sent, and one of the others is not."""
    used = [requests(bans, session_id) for session_id in ("first", "early", "last")]
    then = [*requests(bans, "first", 5), *requests(bans, "early", 3), *requests(bans, "last", 5)]
    crawl = Crawl(clock, *used, then, step=2 * 3600, SESSIONS_BUDGET={"per_day": 1})
    await crawl.waits(11)
    assert [len(bans.journal(f"/{each}")) for each in ("first", "early", "last")] == [1, 1, 1]
    spider = crawl.crawlers[0].spider
    assert isinstance(spider, Watched)
    await spider.sessions.delete("early")
    await until(lambda: len(bans.journal("/early")) == 2)
    await crawl.waits(10)
    await crawl.stop()
    assert [len(bans.journal(f"/{each}")) for each in ("first", "early", "last")] == [1, 2, 1]


async def test_a_rest_that_is_over(bans: BanningSite, clock: Clock) -> None:
    """Requests of a session that waits for a person hold the places, and others of it are queued before that of a
    session that rests for an hour. It is sent when the hour is over."""

    class Paused(SessionConfig):
        async def login(self, session: BrowserSession, fetch: Fetch) -> None:
            if session.id == "paused":
                raise LoginRejected("by the test")

    day = requests(bans, "day", 5, session_pool="d")
    then = [*requests(bans, "paused", 5), *requests(bans, "hour", 3), *day]
    pools = {"d": {"sessions": ["day"], "budget": {"per_day": 1}}}
    settings: dict[str, Any] = {
        "SESSIONS_ON_LOGIN_FAILED": "pause",
        "SESSIONS_LOGIN_ATTEMPTS": 1,
        "LOG_LEVEL": "CRITICAL",
    }
    settings |= {"SESSIONS_BUDGET": {"per_hour": 1}, "SESSIONS_POOLS": pools, "config": Paused}
    crawl = Crawl(clock, [*requests(bans, "hour"), day[0]], then, **settings)
    await crawl.waits(11)
    for number in (2, 3):
        clock.ahead += HOUR
        await until(lambda: len(bans.journal("/hour")) == number)  # noqa: B023  # awaited here
    await crawl.stop()
    assert len(bans.journal("/paused")) == 0
    assert len(bans.journal("/day")) == 1


@pytest.mark.parametrize("concurrent", [2, 5])
async def test_all_that_is_ready_gets_places(bans: BanningSite, clock: Clock, concurrent: int) -> None:
    """Of a pool of three two rest for a day: when the third has a budget again, its requests are sent, and then all."""
    pinned = [(bans.url(f"/p{n}"), {"session_id": f"p#{n}", "session_pool": "p"}) for n in (1, 2, 3)]
    pooled = [(bans.url(f"/pooled/{n}"), {"session_pool": "p"}) for n in range(3 * concurrent)]
    named = [*requests(bans, "day", 1), *requests(bans, "day", 1)]
    pools = {"p": {"size": 3, "budget": {"per_hour": concurrent}}}
    crawl = Crawl(clock, pinned, [*named, *pooled], SESSIONS_BUDGET={"per_day": 1}, SESSIONS_POOLS=pools)
    await until(lambda: len(bans.journal("/p")) == 3 * concurrent)
    await crawl.waits(2)
    clock.ahead += HOUR
    await until(lambda: len(bans.journal("/p")) == 3 * concurrent + 3)
    clock.ahead += DAY
    assert (await crawl.end).statuses == {200: 5 + 3 * concurrent}
