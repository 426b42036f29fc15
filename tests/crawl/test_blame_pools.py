"""Real crawls of anonymous pools: pages closed to everybody, bans of everybody, flows that must not mix."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from twisted.python.failure import Failure

from scrapy_sessions import SessionLost
from scrapy_sessions.crawl import blame_anonymous
from tests.support.bans import BanningSite, ask
from tests.support.crawl import crawl, session_stats
from tests.support.spiders.base import SiteSpider

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

POOL = {"session_pool": "shop"}


async def test_five_of_two_hundred_pages_are_closed_to_all(bans: BanningSite) -> None:
    """A pool of 25: each closed page is tried a few times, and no session is retired."""
    urls = [bans.url(f"/p/{number}") for number in range(200)]
    for number in (10, 50, 90, 130, 170):
        urls[number] = bans.url(f"/closed/{number}")
    asked = await ask(*((url, POOL) for url in urls), SESSIONS_POOLS={"shop": {"size": 25}})
    tries = Counter(seen.path for seen in bans.journal("/closed"))
    assert asked.statuses == {200: 195, 403: 5}
    assert max(tries.values()) <= 8
    assert asked.stats.get("retired", 0) == 0


async def test_a_site_that_is_closed_to_all(
    bans: BanningSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool of 8: sessions and requests are bounded, one ERROR says so, one trial a minute (here 0.4 s) is made."""
    monkeypatch.setattr(blame_anonymous, "_MINUTE", 0.4)
    with caplog.at_level(logging.ERROR):
        asked = await ask(
            *((bans.url(f"/closed/{number}"), POOL) for number in range(60)), SESSIONS_POOLS={"shop": {"size": 8}}
        )
    assert asked.statuses == {403: 60}
    (error,) = [record for record in caplog.records if "turns away every session" in record.message]
    assert error.levelname == "ERROR"
    assert asked.stats["created"] <= 8 + 8 + 5
    assert len(bans.journal("/closed")) <= 60 + 3 * 16 + 20


class Flow(SiteSpider):
    """Three steps that depend on each other, the second with the status *status* for the first *times* requests."""

    name = "flow"
    site = ""
    second = ""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.steps: list[tuple[int, int, str]] = []
        self.lost: list[BaseException | None] = []

    async def start(self) -> AsyncIterator[Any]:
        for number in range(4):
            yield self.step(1, "/p/1", number, POOL)

    def step(self, step: int, path: str, number: int, meta: dict[str, Any]) -> Request:
        return Request(
            f"{self.site}{path}?flow={number}",
            self.parse,
            errback=self.failed,
            cb_kwargs={"step": step, "number": number},
            meta={**meta, "handle_httpstatus_all": True},
            dont_filter=True,
        )

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request]:
        step, number = kwargs["step"], kwargs["number"]
        self.steps.append((number, step, response.meta["session_id"]))
        if step == 1:
            yield self.step(2, self.second, number, {})
        elif step == 2:
            yield self.step(3, "/p/3", number, {})

    def failed(self, failure: Failure) -> None:
        self.lost.append(failure.value)


async def flow(bans: BanningSite, second: str, **settings: Any) -> Flow:
    given = {"SESSIONS_STORE": "memory://", "SESSIONS_POOLS": {"shop": {"size": 4, "sticky": True}}, **settings}
    crawler = await crawl(Flow, given, site=bans.url("").rstrip("/"), second=second)
    assert isinstance(crawler.spider, Flow)
    assert session_stats(crawler)
    return crawler.spider


async def test_a_sticky_flow_with_a_403_in_its_second_step(bans: BanningSite) -> None:
    """The page is closed: each flow goes on in its own session."""
    spider = await flow(bans, "/closed/2")
    assert (len(spider.steps), spider.lost) == (12, [])
    for number in range(4):
        assert len({session_id for flow, _, session_id in spider.steps if flow == number}) == 1


async def test_a_sticky_flow_whose_session_is_retired(bans: BanningSite) -> None:
    """Its session can't go on: the request fails with SessionLost, and continues in no other visitor's flow."""
    bans.reset(limit=1)
    spider = await flow(bans, "/p/2")
    assert {step for _, step, _ in spider.steps} == {1}
    assert [type(error) for error in spider.lost] == [SessionLost] * 4
    assert "start the flow again" in str(spider.lost[0])
