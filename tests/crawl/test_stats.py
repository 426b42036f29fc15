"""What a crawl counts under ``sessions/`` in Scrapy's stats."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionManager, StoreError
from scrapy_sessions.storage import MemoryStore, Outcome, SessionStore
from tests.support.crawl import crawl, session_stats, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Idling, Pages
from tests.support.waiting import HANG


@dataclass
class Rigid:
    """An item without a field for its session."""

    __slots__ = ("url",)
    url: str


async def stats_of(store: Path | type[SessionStore], urls: list[tuple[str, Any]], **settings: Any) -> dict[str, Any]:
    given = {"SESSIONS_STORE": sqlite_url(store) if isinstance(store, Path) else store, **settings}
    return session_stats(await crawl(Pages, given, urls=urls))


async def test_created_restored_saved(tmp_path: Path, site: Site) -> None:
    """A run counts the sessions it made, those it found, and each write."""
    urls = [(site.url("/answer"), {"session_id": name}) for name in ("alice", "bob", "alice")]
    assert await stats_of(tmp_path / "s.db", urls, SESSIONS_SAVE_INTERVAL=3600) == {"created": 2, "saved": 2}
    urls.append((site.url("/answer"), {"session_id": "carol"}))
    stats = await stats_of(tmp_path / "s.db", urls, SESSIONS_SAVE_INTERVAL=3600)
    assert stats == {"created": 1, "restored": 2, "saved": 3}


async def test_expired_by_limit(tmp_path: Path, site: Site) -> None:
    """Sessions that expired at start are counted, in all and by the limit."""
    async with SessionManager(tmp_path / "s.db", namespace="pages", clock=lambda: 1000.0) as manager:
        for name, pool in (("a", None), ("b", None), ("c", "old")):
            session = BrowserSession(name, pool=pool, clock=lambda: 1000.0)
            await manager.save_session(name, session)
    old = {"sessions": ["c"], "idle_timeout": 0, "max_age": 2000}
    stats = await stats_of(tmp_path / "s.db", [], SESSIONS_POOLS={"old": old})
    assert stats == {"expired": 3, "expired/idle_timeout": 2, "expired/max_age": 1}


async def test_deleted(tmp_path: Path, site: Site) -> None:
    """A session that the manager deletes is counted, one that wasn't there isn't."""
    counts: dict[str, int] = {}
    async with SessionManager(tmp_path, namespace="pages", on_event=counts.__setitem__) as manager:
        await manager.save_session("alice", BrowserSession("alice"))
        counts.clear()
        await manager.delete_session("alice")
        await manager.delete_session("alice")
    assert counts == {"deleted": 1}


async def test_switched(tmp_path: Path, site: Site) -> None:
    """A request that goes on in another session than it came in is counted."""

    class Switching(Pages):
        name = "switching"

        def parse(self, response: Response, **kwargs: Any) -> Any:
            assert response.request is not None
            if response.meta["session_pool"] == "one":
                meta = {**response.meta, "session_pool": "one", "session_id": "bob"}
                return response.request.replace(meta={**meta, "session_pool": "two"}, dont_filter=True)
            return None

    pools = {"one": {"sessions": ["alice"]}, "two": {"sessions": ["bob"]}}
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_POOLS": pools}
    crawler = await crawl(Switching, settings, urls=[(site.url("/answer"), {"session_pool": "one"})])
    assert session_stats(crawler)["switched"] == 1


async def test_staying_is_no_switch(tmp_path: Path, site: Site) -> None:
    """Redirects and retries that stay in their session are no switches."""
    urls = [(site.url("/chain/3"), {}), (site.url("/fail"), {"session_id": "alice"})]
    stats = await stats_of(tmp_path / "s.db", urls, RETRY_ENABLED=True)
    assert "switched" not in stats


async def test_refused_cookies_by_reason(tmp_path: Path, site: Site) -> None:
    """Cookies that the jar refused are counted, in all and by reason."""
    cookies = ["a=1; Domain=other.example", "__Host-b=1; Path=/", "__Secure-c=1", "fine=1"]
    stats = await stats_of(tmp_path / "s.db", [(site.url("/answer", set=cookies), {})])
    by_reason = {name: n for name, n in stats.items() if name.startswith("cookies/refused/")}
    assert stats["cookies/refused"] == sum(by_reason.values()) == 3
    assert len(by_reason) == 2


async def test_save_errors(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A save that fails is counted; the crawl goes on, and says at its end what is lost."""

    class Broken(MemoryStore):
        async def save(self, rows: Any) -> list[Outcome]:
            raise StoreError("The test's disk is full")

    crawler = await crawl(
        Pages,
        {"SESSIONS_STORE": Broken, "SESSIONS_SAVE_INTERVAL": 3600},
        urls=[(site.url("/answer"), {}), (site.url("/answer"), {})],
    )
    assert len(crawler.spider.responses) == 2  # type: ignore[union-attr]
    assert session_stats(crawler) == {"created": 1, "save_errors": 2}  # at spider_closed, and at engine_stopped
    assert "their last changes are lost: The test's disk is full" in caplog.text


async def test_quarantined(tmp_path: Path, site: Site) -> None:
    """A record that can't be read is counted, and the request goes on in a new session."""
    urls = [(site.url("/answer"), {"session_id": name}) for name in ("alice", "bob")]
    await stats_of(tmp_path / "s.db", urls)
    with closing(sqlite3.connect(tmp_path / "s.db")) as file, file:
        file.execute("UPDATE sessions SET body = 'x' WHERE session_id = 'alice'")
    stats = await stats_of(tmp_path / "s.db", urls, SESSIONS_SAVE_INTERVAL=3600)
    assert stats == {"quarantined": 1, "created": 1, "restored": 1, "saved": 2}


async def test_items_without_field(tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """An item that can't take its session's id is counted each time and warned of once; it comes out as it is."""
    items: list[Any] = []

    class Items(Pages):
        name = "items"

        def parse(self, response: Response, **kwargs: Any) -> Any:
            yield {"url": response.url}
            yield Rigid(response.url)
            yield Rigid(response.url)

    def keep(item: Any) -> None:
        items.append(item)

    def collect(crawler: Crawler) -> None:
        crawler.signals.connect(keep, signals.item_scraped, weak=False)

    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_ITEM_FIELD": "session"}
    urls = [(site.url("/answer"), {"session_id": "alice"})]
    crawler = await crawl(Items, settings, urls=urls, prepare=collect)
    assert session_stats(crawler)["items_without_field"] == 2
    assert caplog.text.count("has no field 'session'") == 1
    assert [item["session"] for item in items if isinstance(item, dict)] == ["alice"]
    assert len(items) == 3


async def test_cleanup_errors(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A cleanup that fails is counted and told, and the crawl goes on."""

    class Broken(MemoryStore):
        asked = 0

        async def expired(self, *args: Any, **options: Any) -> Any:
            self.asked += 1
            if self.asked > 1:  # the first is at start
                raise StoreError("The test's disk is gone")
            return await super().expired(*args, **options)

    settings = {"SESSIONS_STORE": Broken, "SESSIONS_CLEANUP_INTERVAL": 0.01}
    crawler = await crawl(Idling, settings, urls=[(site.url("/answer"), {})], until="sessions/cleanup_errors")
    assert session_stats(crawler)["cleanup_errors"] >= 1
    assert "could not be removed: The test's disk is gone" in caplog.text


@pytest.mark.parametrize("waits", [False, True])
async def test_a_store_that_fails_at_start_closes_the_spider(
    site: Site, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    """A store that can't be opened, found out at once or later, closes the spider with a critical line."""

    class Broken(MemoryStore):
        async def open(self) -> None:
            if waits:
                await asyncio.to_thread(int)
            raise StoreError("The test's disk is gone")

    crawler = await asyncio.wait_for(crawl(Pages, {"SESSIONS_STORE": Broken}, urls=[(site.url("/answer"), {})]), HANG)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "session_store_error"
    (line,) = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert line.getMessage() == "Sessions can't be used, so the spider is closed: The test's disk is gone"
    assert "RecursionError" not in caplog.text
    assert site.journal("/answer") == []
