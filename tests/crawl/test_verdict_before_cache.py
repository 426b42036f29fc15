"""The verdict falls before the HTTP cache sees the response: nothing bad is stored, or replayed from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import SessionConfig, Verdict
from tests.support.crawl import sqlite_url
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, pages, spider_of, stat


@pytest.fixture
def cached(tmp_path: Path) -> dict[str, Any]:
    """A cache that stores everything, beside a lasting store of sessions."""
    folder = str(tmp_path / "cache")
    return {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": folder, "SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}


async def again(shop: Shop, cached: dict[str, Any], path: str) -> bool:
    """Whether the cache has *path* for alice."""
    crawler = await buy(shop, cached, [{"path": path}], None)
    return "cached" in spider_of(crawler).responses[0].flags


@pytest.mark.parametrize("denial", ["401", "redirect"])
async def test_an_expiry_is_neither_stored_nor_replayed(shop: Shop, cached: dict[str, Any], denial: str) -> None:
    """The 401, or the redirect to the login form, is answered by a login; what the cache then has is the page."""
    shop.rules(denial=denial)
    await buy(shop, cached, [{"path": "/secret/first"}])
    shop.expire()
    crawler = await buy(shop, cached, [{"path": "/secret/1"}])
    assert pages(crawler) == [(200, "Hello, alice")]
    assert shop.logins == 2
    stored = await buy(shop, cached, [{"path": "/secret/1"}])
    assert spider_of(stored).responses[0].flags == ["cached"]
    assert pages(stored) == [(200, "Hello, alice")]


@pytest.mark.parametrize("query", ["status=401", "status=403", "status=429&after=0", "status=503&after=0"])
async def test_what_goes_on_after_the_last_try_is_not_stored(shop: Shop, cached: dict[str, Any], query: str) -> None:
    """A bad response that reaches the spider as it is doesn't reach the cache."""
    path = f"/page?{query}"
    crawler = await buy(shop, {**cached, "SESSIONS_RETRY_TIMES": 1}, [{"path": path}], None)
    assert pages(crawler)[0][0] == int(query[7:10])
    assert not await again(shop, cached, path)


async def test_nor_if_check_is_awaited(shop: Shop, cached: dict[str, Any]) -> None:
    """The same for a verdict that an async check() gives."""

    class Slowly(SessionConfig):
        async def check(self, response: Response, request: Request) -> Verdict:
            return Verdict.SUSPECT

    crawler = await buy(shop, {**cached, "SESSIONS_RETRY_TIMES": 0}, [{"path": "/page"}], Slowly)
    assert pages(crawler) == [(200, "A page")]
    assert not await again(shop, cached, "/page")


async def test_a_good_response_is_stored(shop: Shop, cached: dict[str, Any]) -> None:
    """What drew the verdict OK is stored as ever: the other tests rest on it."""
    await buy(shop, cached, [{"path": "/page"}], None)
    assert await again(shop, cached, "/page")


async def test_a_cached_response_draws_no_verdict(shop: Shop, cached: dict[str, Any]) -> None:
    """What comes from the cache is not judged, whatever its status: nobody logs in for it."""
    await buy(shop, {**cached, "SESSIONS_EXPIRED_STATUSES": []}, [{"path": "/page?status=401"}], None)
    shop.forget()
    await buy(shop, cached, [{"path": "/secret/first"}])
    crawler = await buy(shop, cached, [{"path": "/page?status=401"}])
    assert pages(crawler) == [(401, "Not today")]
    assert shop.came("/page") == []
    assert stat(crawler, "verdicts/expired") is None
    assert shop.logins == 1


async def test_a_replay_carries_nothing_of_the_cache(shop: Shop, cached: dict[str, Any]) -> None:
    """A stale page is asked for again and met by a 401: the replay, which may go to a disk queue, takes no cached
    response along."""
    policy = {"HTTPCACHE_POLICY": "scrapy.extensions.httpcache.RFC2616Policy"}
    await buy(shop, {**cached, **policy}, [{"path": "/secret/1"}])
    shop.expire()
    seen: list[Any] = []

    class Notes(LogsIn):
        def process_request(self, request: Request, session: Any) -> None:
            if request.meta.get("_session_refused_in"):
                seen.append(request.meta.get("cached_response"))

    crawler = await buy(shop, {**cached, **policy}, [{"path": "/secret/1"}], Notes)
    assert pages(crawler) == [(200, "Hello, alice")]
    assert seen == [None]
