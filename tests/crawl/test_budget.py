"""SESSIONS_BUDGET: a session that has used its budget up rests, and everything else goes on."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.crawler import Crawler

from scrapy_sessions import BrowserSession, SessionConfig, SessionManager
from scrapy_sessions.config import Fetch
from scrapy_sessions.crawl import throttle
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.bans import Asked, BanningSite, ask
from tests.support.clock import Clock
from tests.support.crawl import sqlite_url
from tests.support.shop import Shop, buy, pages, stat
from tests.support.site import Site
from tests.support.spiders.asking import Asking
from tests.support.waiting import slowness, until

HOUR = 3900.0  # and the five minutes of a slot


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(throttle, "_LONGEST", 0.05)  # who waits looks at the clock that often
    return clock


def limits(n: int, **others: int) -> dict[str, Any]:
    return {"per_hour": n, **others}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged when nothing else was left to do."""
    return [record.getMessage() for record in caplog.records if record.name == "scrapy_sessions.crawl.rests"]


async def test_one_of_three_rests(bans: BanningSite) -> None:
    """The requests of a pool go to the two others; those before it count, also the ones that named the session."""
    pinned = {"session_pool": "p", "session_id": "p#1"}
    first = [(bans.url(f"/first/{n}"), pinned) for n in range(4)]
    then = [(bans.url(f"/then/{n}"), {"session_pool": "p"}) for n in range(8)]
    asked = await ask(steps=[first, then], SESSIONS_POOLS={"p": {"size": 3, "budget": limits(4)}})
    assert asked.statuses == {200: 12}
    assert {name: len(numbers) for name, numbers in asked.groups().items()} == {"p#1": 4, "p#2": 4, "p#3": 4}
    assert asked.stats["budget_rests"] == 3


async def test_a_large_pool(bans: BanningSite) -> None:
    """Of forty sessions thirty rest: the next request goes to one of the other ten, however many are looked at."""
    steps = [[(bans.url(f"/{n}"), {"session_pool": "p"}) for n in range(number)] for number in (30, 10)]
    asked = await ask(steps=steps, SESSIONS_POOLS={"p": {"size": 40, "budget": limits(1)}})
    assert set(map(len, asked.groups().values())) == {1}
    assert len(asked.groups()) == 40


@pytest.mark.parametrize("meta", [{"session_id": "alice"}, {"session_pool": "p"}], ids=["named", "pooled"])
async def test_it_waits_for_the_hour(
    bans: BanningSite, clock: Clock, caplog: pytest.LogCaptureFixture, meta: dict[str, Any]
) -> None:
    """At its limit it sends nothing until its requests are an hour old, which is logged once; then it goes on."""
    caplog.set_level(logging.INFO)
    crawling = asyncio.ensure_future(
        ask(
            *((bans.url(f"/{n}"), meta) for n in range(8)),
            SESSIONS_BUDGET=limits(3),
            SESSIONS_POOLS={"p": {}},
            LOG_LEVEL="INFO",
        )
    )
    await until(lambda: said(caplog))
    assert len(bans.journal()) == 3
    assert "5 requests wait for sessions whose budget (SESSIONS_BUDGET) is used up" in said(caplog)[0]
    clock.ahead += 3600 - 60  # not yet: the oldest may be a minute old
    await asyncio.sleep(0.5)
    assert len(bans.journal()) == 3
    clock.ahead += HOUR - 3600 + 60
    await until(lambda: len(bans.journal()) == 6 and len(said(caplog)) == 2)
    clock.ahead += HOUR
    asked: Asked = await crawling
    assert asked.statuses == {200: 8}
    assert asked.stats["created"] == 1  # it isn't idle meanwhile
    assert asked.stats["budget_rests"] == 2
    assert len(said(caplog)) == 2


async def test_others_go_on(bans: BanningSite, clock: Clock) -> None:
    """Requests that wait for a session hold no place of the others, though there are only two."""
    requests = [(bans.url(f"/alice/{n}"), {"session_id": "alice"}) for n in range(10)]
    requests += [(bans.url(f"/other/{n}"), {"session_pool": "free"}) for n in range(20)]
    settings: dict[str, Any] = {"SESSIONS_BUDGET": limits(2), "SESSIONS_POOLS": {"free": {"budget": {}}}}
    crawling = asyncio.ensure_future(ask(*requests, concurrency=2, **settings))
    await until(lambda: len(bans.journal("/other")) == 20)
    assert len(bans.journal("/alice")) == 2
    for _ in range(4):
        sent = len(bans.journal("/alice"))
        clock.ahead += HOUR
        await until(lambda: len(bans.journal("/alice")) == sent + 2)  # noqa: B023  # awaited here
    assert (await crawling).statuses == {200: 30}


@pytest.mark.alone
async def test_a_crawl_that_waits_can_be_stopped(bans: BanningSite, caplog: pytest.LogCaptureFixture) -> None:
    """A crawl of which all requests wait for hours ends within two seconds."""
    caplog.set_level(logging.INFO)
    crawlers: list[Crawler] = []

    class Stopped(Asking):
        @classmethod
        def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Any:
            crawlers.append(crawler)
            return super().from_crawler(crawler, *args, **kwargs)

    requests = [(bans.url(f"/{n}"), {"session_pool": "p"}) for n in range(40)]
    settings = {"SESSIONS_POOLS": {"p": {"size": 2, "budget": {"per_day": 2}}}}
    crawling = asyncio.ensure_future(ask(*requests, spider=Stopped, LOG_LEVEL="INFO", **settings))
    await until(lambda: said(caplog))
    assert crawlers[0].engine is not None
    began = time.monotonic()
    await crawlers[0].engine.close_spider_async(reason="stopped")
    await crawling
    assert time.monotonic() - began < 2 * slowness()
    assert len(bans.journal()) == 4


async def test_what_counts(site: Site, tmp_path: Path) -> None:
    """Each request that is sent counts: redirects, retries, failed downloads. A page from the HTTP cache is none."""
    store = sqlite_url(tmp_path / "s.db")
    settings = {
        "SESSIONS_STORE": store,
        "SESSIONS_BUDGET": limits(100),
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_DIR": str(tmp_path / "cache"),
        "HTTPCACHE_IGNORE_HTTP_CODES": [503],
        "RETRY_ENABLED": True,
        "RETRY_TIMES": 2,
    }
    urls = [site.url("/chain/3"), site.url("/answer", status=503), site.url("/drop", times=1), site.url("/page/1")]
    for sent in (4 + 3 + 2 + 1, 4 + 3 + 2 + 1 + 3):
        await ask(*((url, {"session_id": "alice", "handle_httpstatus_all": False}) for url in urls), **settings)
        assert len(site.journal()) == sent
        async with SessionManager(store=store, namespace="asking") as manager:
            record = await manager.load_session("alice")
        assert record is not None
        assert record.budget == {"per_hour": 100}
        assert record.budget_used is not None
        assert [sum(slots.values()) for slots in record.budget_used.values()] == [sent, sent]


async def test_pages_from_the_cache_use_nothing(bans: BanningSite, tmp_path: Path) -> None:
    """Twenty pages of the HTTP cache need no budget: each gives its place back, also to those that wait already."""
    requests = [(bans.url(f"/{n}"), {"session_id": "alice"}) for n in range(20)]
    cache = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path)}
    await ask(*requests, **cache)
    asked = await ask(*requests, SESSIONS_BUDGET=limits(2), **cache)
    assert asked.statuses == {200: 20}
    assert len(bans.journal()) == 20
    assert "budget_rests" not in asked.stats


async def test_a_login_waits_too(shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A session at its limit isn't logged in before its rest is over; then it is, at once, and not taken for failed."""
    caplog.set_level(logging.INFO)
    settings = {"SESSIONS_BUDGET": limits(3), "SESSIONS_LOGIN_TIMEOUT": 1, "LOG_LEVEL": "INFO"}
    requests = [{"path": f"/secret/{n}"} for n in range(2)]
    crawling = asyncio.ensure_future(buy(shop, settings, requests, then=[{"path": "/secret/next"}]))
    await until(lambda: said(caplog))
    sent = len(shop.arrivals)
    assert sent == 3
    await asyncio.sleep(1.2)  # longer than a login may take
    for _ in range(3):
        clock.ahead += HOUR
        await asyncio.sleep(0.3)
    crawler = await crawling
    assert [status for status, _ in pages(crawler)] == [200, 200, 200]
    assert stat(crawler, "login_failures") is None


_RETRIES = {"RETRY_ENABLED": True, "RETRY_PRIORITY_ADJUST": 5}


@pytest.mark.parametrize(
    ("path", "meta"),
    [("/chain/1", {}), ("/drop?times=1", {"session_key": "user"})],
    ids=["redirect", "retry of a key"],
)
async def test_what_stays_with_its_session(
    site: Site, clock: Clock, caplog: pytest.LogCaptureFixture, path: str, meta: dict[str, Any]
) -> None:
    """A redirect, and the retry of a request with a key, wait for their session, though another one is free."""
    caplog.set_level(logging.INFO)
    pools = {"p": {"size": 2, "budget": limits(1)}}
    request = (site.url(path), {"session_pool": "p", "handle_httpstatus_all": False, **meta})
    crawling = asyncio.ensure_future(ask(request, SESSIONS_POOLS=pools, LOG_LEVEL="INFO", **_RETRIES))
    await until(lambda: said(caplog))
    assert len(site.journal()) == 1
    clock.ahead += HOUR
    asked = await crawling
    assert len(site.journal()) == 2
    assert asked.stats["created"] == 1


async def test_a_retry_takes_another_session(site: Site) -> None:
    """The retry of a request whose session rests is sent before the requests behind it, in another session."""
    pooled = {"session_pool": "p", "handle_httpstatus_all": False}
    requests = [(url, pooled) for url in (site.url("/drop", times=1), *(site.url(f"/page/{n}") for n in range(20)))]
    asked = await ask(*requests, concurrency=1, SESSIONS_POOLS={"p": {"size": 40, "budget": limits(1)}}, **_RETRIES)
    assert asked.statuses == {200: 21}
    paths = [arrival.path for arrival in site.journal()]
    assert max(number for number, path in enumerate(paths) if path.startswith("/drop")) < 10


class LongLogin(SessionConfig):
    """Logs alice in with six requests, one after the other or by redirects, others with one."""

    path = "/whoami"

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        for _ in range(6 if session.id == "alice" and self.path == "/whoami" else 1):
            await fetch(Request(self.crawler.settings["SITE"] + (self.path if session.id == "alice" else "/whoami")))


class ByRedirects(LongLogin):
    path = "/chain/5"


def account(config: type[SessionConfig]) -> type[Asking]:
    return type("Buyer", (Asking,), {"session_config": config})


@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("config", [LongLogin, ByRedirects])
async def test_a_login_that_uses_it_up(site: Site, config: type[SessionConfig], concurrency: int) -> None:
    """Requests that wait for the login of one account go to another one when the first rests halfway. It holds no
    place meanwhile, and nobody waits for it: the crawl ends."""
    requests = [(site.url(f"/page/{n}"), {"session_pool": "p"}) for n in (2, 3)]
    pools = {"p": {"sessions": ["alice", "bob"], "budget": limits(4)}}
    settings: dict[str, Any] = {"SESSIONS_POOLS": pools, "SITE": site.url("")}
    asked = await ask(*requests, spider=account(config), concurrency=concurrency, **settings)
    assert asked.sessions == ["bob", "bob"]
    assert asked.crawler.stats is not None
    assert asked.crawler.stats.get_value("finish_reason") == "finished"
    assert asked.crawler.stats.get_value("log_count/ERROR") is None
    assert len(site.journal()) == 4 + 1 + 2
    assert "login_failures" not in asked.stats


@pytest.mark.parametrize("config", [LongLogin, ByRedirects])
async def test_a_login_goes_on_after_its_rest(
    site: Site, clock: Clock, caplog: pytest.LogCaptureFixture, config: type[SessionConfig]
) -> None:
    """A request waits for the login that rests halfway: then it is continued, at the same redirect."""
    caplog.set_level(logging.INFO)
    settings: dict[str, Any] = {"SESSIONS_BUDGET": limits(4), "SITE": site.url(""), "LOG_LEVEL": "INFO"}
    request = (site.url("/page/2"), {"session_id": "alice"})
    crawling = asyncio.ensure_future(ask(request, spider=account(config), SESSIONS_LOGIN_TIMEOUT=1, **settings))
    await until(lambda: said(caplog))
    assert len(site.journal()) == 4
    clock.ahead += HOUR
    asked = await crawling
    assert asked.statuses == {200: 1}
    assert len(site.journal()) == 7
    assert "login_failures" not in asked.stats


async def test_one_that_waits_first_holds_no_others() -> None:
    """Behind a request that waits for the whole rest, one that may go to another session doesn't wait for it."""
    guard = ShutdownGuard(lambda: False)
    session = SessionRuntime("p#1", pool="p", budget=limits(2), concurrency=1)
    assert session.budget is not None
    session.budget.reserve()
    session.in_flight = 1
    named = [asyncio.ensure_future(throttle.wait_turn(session, guard)) for _ in range(2)]
    pooled = [asyncio.ensure_future(throttle.wait_turn(session, guard, until_rest=True)) for _ in range(2)]
    await asyncio.sleep(0)
    session.budget.reserve()  # the last of its budget
    session.wake_first()
    await asyncio.wait_for(asyncio.gather(*pooled), 5)
    assert not any(task.done() for task in named)
    assert session.queue is not None
    assert len(session.queue) == 2
    for task in named:
        task.cancel()
    await asyncio.gather(*named, return_exceptions=True)
    await guard.close()
