"""A crawl whose Redis server is killed, hangs, or loses its data in the middle: no page and no count is lost.

``OUTAGE_PAGES`` is how many pages it has, ``OUTAGE_HANG`` how many seconds the server hangs: more in ``tox -e long``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import PersistentSession, SessionManager
from scrapy_sessions.exceptions import StoreError, StoreUnavailable
from scrapy_sessions.storage.redis.store import RedisStore
from tests.support.crawl import crawl, session_stats, sqlite_url
from tests.support.redis_client import open_store
from tests.support.redis_server import RedisServer
from tests.support.shop import Shop, buy, failures, pages, stat
from tests.support.site import Site
from tests.support.spiders.buyer import Buyer
from tests.support.spiders.pages import Pages
from tests.support.waiting import HANG

pytestmark = pytest.mark.heavy

FIRST, LATER = [f"s{number}" for number in range(10)], [f"t{number}" for number in range(10)]
PAGES = int(os.environ.get("OUTAGE_PAGES", "300")) // len(FIRST + LATER)
"""Of each session."""
HARM_AT = PAGES * len(FIRST + LATER) // 5
"""Pages after which the server is harmed, and the later sessions begin."""
OUTAGE = 1.0
"""Seconds."""
HANG_TIME = float(os.environ.get("OUTAGE_HANG", "6"))
"""Seconds. A call is waited for for 5."""


async def restart(server: RedisServer) -> None:
    """It crashes, and comes back with its data."""
    server.kill()
    await asyncio.sleep(OUTAGE)
    await asyncio.to_thread(server.start)


async def restart_empty(server: RedisServer) -> None:
    """It crashes, and comes back without data."""
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    await asyncio.sleep(OUTAGE)
    await asyncio.to_thread(server.start)


async def flush(server: RedisServer) -> None:
    """Somebody deletes everything."""
    server.tell("FLUSHALL")


async def go_back(server: RedisServer) -> None:
    """It crashes, and comes back as it was some pages ago."""
    shutil.copytree(server.folder / "appendonlydir", server.folder / "copy")
    await asyncio.sleep(OUTAGE)
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    (server.folder / "copy").rename(server.folder / "appendonlydir")
    await asyncio.to_thread(server.start)


async def hang(server: RedisServer) -> None:
    """It takes connections, and doesn't answer for longer than a call is waited for."""
    server.hang()
    await asyncio.sleep(HANG_TIME)
    server.go_on()


Harm = Callable[[RedisServer], Awaitable[None]]
WITH_DATA: list[Harm] = [restart, hang]
WITHOUT: list[Harm] = [restart_empty, flush, go_back]


class Harmed(Pages):
    """Goes from page to page in each of its sessions; harms the server after some pages."""

    server: RedisServer
    harm: Harm
    harming: asyncio.Task[None] | None = None

    async def parse(self, response: Response, **kwargs: Any) -> Any:
        self.responses.append(response)
        if len(self.responses) == HARM_AT:
            self.harming = asyncio.ensure_future(self.harm(self.server))
            await asyncio.sleep(0.05)
            for name in LATER:
                yield self.page(response, 1, session_id=name)
        if response.meta["page"] < PAGES:
            yield self.page(response, response.meta["page"] + 1)

    def page(self, response: Response, number: int, **meta: str) -> Request:
        assert response.request is not None
        url = f"{response.url.partition('set')[0]}set=page={number}"
        return response.request.replace(url=url, meta={**response.request.meta, "page": number, **meta})

    async def closed(self, reason: str) -> None:
        assert self.harming is not None
        await self.harming


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with RedisServer(tmp_path, appendonly="yes", appendfsync="always") as running:
        yield running


async def crawled(
    site: Site, server: RedisServer, harm: Harm
) -> tuple[Harmed, dict[str, Any], dict[str, PersistentSession]]:
    settings = {
        "SESSIONS_STORE": server.url,
        "SESSIONS_SAVE_INTERVAL": 0.1,
        "SESSIONS_IDLE_TIMEOUT": 0,
        "CONCURRENT_REQUESTS": 4,
    }
    urls = [(site.url("/answer", set="page=1"), {"session_id": name, "page": 1}) for name in FIRST]
    crawler = await crawl(Harmed, settings, urls=urls, server=server, harm=harm)
    spider = crawler.spider
    assert isinstance(spider, Harmed)
    async with open_store(server.url) as store:
        manager = SessionManager(store=store, namespace="pages")
        loaded = [await manager.load_session(name) for name in (*FIRST, *LATER)]
        hours = await store.hour_counts("pages")
    records = {record.session_id: record for record in loaded if record is not None}
    return spider, {**session_stats(crawler), "counted": sum(row.pages for row in hours)}, records


@pytest.mark.parametrize("harm", [*WITH_DATA, *WITHOUT])
async def test_nothing_is_lost(site: Site, server: RedisServer, caplog: pytest.LogCaptureFixture, harm: Harm) -> None:
    """Every page comes, no exception reaches the spider, and at the end each session has all that it did."""
    spider, stats, records = await crawled(site, server, harm)
    assert spider.failures == []
    assert len(spider.responses) == 2 * len(FIRST) * PAGES
    assert set(records) == {*FIRST, *LATER}
    for record in records.values():
        assert (record.pages_visited, record.metrics.requests, len(record.actions_performed)) == (PAGES,) * 3
        assert [cookie.value for cookie in record.cookies] == [str(PAGES)]
    assert stats["created"] == len(records)
    if harm in WITH_DATA:
        assert stats["counted"] == len(spider.responses)
        assert "store_replaced" not in stats
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len({error.partition(":")[0] for error in errors}) == len(errors) <= 3, errors  # each is logged once


async def stay_away(server: RedisServer) -> None:
    """It crashes, and doesn't come back."""
    server.kill()


async def test_waits_are_bounded(site: Site, server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Without a server, requests in known sessions go on; others fail after SESSIONS_CLAIM_TIMEOUT, with the reason."""
    urls = [(site.url("/answer", set="page=1"), {"session_id": name, "page": 1}) for name in FIRST]
    settings = {"SESSIONS_STORE": server.url, "SESSIONS_CLAIM_TIMEOUT": 2, "CONCURRENT_REQUESTS": 4}
    crawler = await crawl(Harmed, settings, urls=urls, server=server, harm=stay_away)
    spider = crawler.spider
    assert isinstance(spider, Harmed)
    assert len(spider.responses) == len(FIRST) * PAGES
    assert [type(failure) for failure in spider.failures] == [StoreUnavailable] * len(LATER)
    assert session_stats(crawler)["store_outages"] == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in warnings if "others wait, for up to 2 s" in text]) == 1


class Stopped(Harmed):
    """Is told to stop while requests wait for the server."""

    def page(self, response: Response, number: int, **meta: str) -> Request:
        if meta.get("session_id") == LATER[-1]:
            assert self.crawler.engine is not None
            self.closing = asyncio.ensure_future(self.crawler.engine.close_spider_async(reason="enough"))
        return super().page(response, number, **meta)


async def test_a_crawl_that_is_told_to_stop(site: Site, server: RedisServer) -> None:
    """It doesn't wait for the server, however long it might."""
    urls = [(site.url("/answer", set="page=1"), {"session_id": name, "page": 1}) for name in FIRST]
    settings = {"SESSIONS_STORE": server.url, "SESSIONS_CLAIM_TIMEOUT": 2 * HANG, "CONCURRENT_REQUESTS": 4}
    crawler = await crawl(Stopped, settings, urls=urls, server=server, harm=stay_away)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "enough"


async def test_no_server_at_the_start(site: Site) -> None:
    """The crawl doesn't start, and the error says what to check."""
    with pytest.raises(StoreUnavailable, match="can't be reached: check that the server runs"):
        await crawl(Pages, {"SESSIONS_STORE": "redis://localhost:1"})


async def test_fallback(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With SESSIONS_STORE_FALLBACK the crawl uses that store, with a warning, and counts it."""
    fallback = sqlite_url(tmp_path / "s.db")
    settings = {"SESSIONS_STORE": "redis://localhost:1", "SESSIONS_STORE_FALLBACK": fallback}
    crawler = await crawl(Pages, settings, urls=[(site.url("/answer", set="page=1"), {"session_id": "alice"})])
    assert session_stats(crawler)["store_fallbacks"] == 1
    assert f"Sessions of this crawl are stored in {tmp_path / 's.db'}" in caplog.text
    async with SessionManager(tmp_path / "s.db", namespace="pages") as manager:
        assert await manager.load_session("alice") is not None


async def test_fallback_from_a_client_of_ones_own(site: Site, tmp_path: Path) -> None:
    """It is the same with a class that has another client, of Sentinel for example; without a fallback, an error."""
    redis = pytest.importorskip("redis.asyncio")

    class Own(RedisStore):
        def __init__(self) -> None:
            super().__init__(redis.Redis(port=1, socket_timeout=5))

    with pytest.raises(StoreUnavailable, match="can't be reached: check that the server runs"):
        await crawl(Pages, {"SESSIONS_STORE": Own})
    settings = {"SESSIONS_STORE": Own, "SESSIONS_STORE_FALLBACK": sqlite_url(tmp_path / "s.db")}
    crawler = await crawl(Pages, settings, urls=[(site.url("/answer", set="page=1"), {"session_id": "alice"})])
    assert session_stats(crawler)["store_fallbacks"] == 1
    async with SessionManager(tmp_path / "s.db", namespace="pages") as manager:
        assert await manager.load_session("alice") is not None


async def test_the_fallback_is_for_outages_only(server: RedisServer, tmp_path: Path) -> None:
    """A server that works is used; one that refuses us, by its policy for example, is an error all the same."""
    settings = {"SESSIONS_STORE": server.url, "SESSIONS_STORE_FALLBACK": sqlite_url(tmp_path / "s.db")}
    crawler = await crawl(Pages, settings)
    assert "store_fallbacks" not in session_stats(crawler)
    server.tell("CONFIG SET maxmemory-policy allkeys-lru")
    with pytest.raises(StoreError, match="allkeys-lru"):
        await crawl(Pages, settings)
    assert not (tmp_path / "s.db").exists()


class BeginsInAnOutage(Buyer):
    """The server crashes before its first request, and comes back."""

    server: RedisServer

    async def start(self) -> AsyncIterator[Any]:
        self.restarting = asyncio.ensure_future(restart(self.server))
        await asyncio.sleep(0.05)
        async for request in super().start():
            yield request

    async def closed(self, reason: str) -> None:
        await self.restarting


async def test_a_login_waits_for_the_server(shop: Shop, server: RedisServer) -> None:
    """Sessions that have to log in while the server is down log in when it is back, once each."""
    requests = [{"path": f"/secret/{number}", "meta": {"session_id": "ab"[number % 2]}} for number in range(6)]
    settings = {"SESSIONS_STORE": server.url}
    crawler = await buy(shop, settings, requests, spider=BeginsInAnOutage, server=server)
    assert failures(crawler) == []
    assert [status for status, _ in pages(crawler)] == [200] * 6
    assert shop.logins == stat(crawler, "logins") == 2
