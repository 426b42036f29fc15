"""Expiry in crawls: by idle time, age and uses, of the settings and of pools, and what is said and counted of it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from scrapy import signals
from scrapy.crawler import Crawler

from scrapy_sessions import BrowserSession, PersistentSession, SessionManager
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.sessions.browser_session import runtime_of
from tests.support.crawl import crawl, session_stats, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Idling, Pages
from tests.support.waiting import HANG

DAY = 86_400.0


async def visit(path: Path, site: Site, metas: list[dict[str, Any]], **settings: Any) -> Crawler:
    """Crawl one page for each of *metas*, all at once, with the store at *path*."""
    urls = [(site.url(f"/answer/{number}"), meta) for number, meta in enumerate(metas)]
    given = {"SESSIONS_STORE": sqlite_url(path), "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    return await crawl(Pages, {**given, **settings}, urls=urls)


async def age(path: Path, seconds: float) -> None:
    """Let all stored sessions be *seconds* older."""
    async with SessionManager(path, namespace="pages") as manager:
        for info in await manager.list_sessions():
            session = BrowserSession(info["session_id"])
            record = await manager.load_session(session.id)
            assert record is not None
            await manager.delete_session(session.id)
            record.start_time -= seconds
            record.last_activity -= seconds
            record.revision = 0
            runtime_of(session).restore(record)
            assert await manager.save_session(session.id, session)


async def stored(path: Path) -> dict[str, PersistentSession]:
    """The stored records by id."""
    async with SessionManager(path, namespace="pages") as manager:
        records = [await manager.load_session(info["session_id"]) for info in await manager.list_sessions()]
    return {record.session_id: record for record in records if record is not None}


@pytest.mark.parametrize(
    ("settings", "seconds", "lasts"),
    [
        ({}, 1700, True),
        ({}, 1900, False),
        ({"SESSIONS_IDLE_TIMEOUT": 60}, 50, True),
        ({"SESSIONS_IDLE_TIMEOUT": 60}, 70, False),
        ({"SESSIONS_IDLE_TIMEOUT": 0}, 365 * DAY, True),
        ({"SESSIONS_IDLE_TIMEOUT": 0, "SESSIONS_MAX_AGE": 60}, 50, True),
        ({"SESSIONS_IDLE_TIMEOUT": 0, "SESSIONS_MAX_AGE": 60}, 70, False),
        ({"SESSIONS_IDLE_TIMEOUT": 0, "SESSIONS_MAX_AGE": 0}, 365 * DAY, True),
    ],
)
async def test_by_time(tmp_path: Path, site: Site, settings: dict[str, Any], seconds: float, lasts: bool) -> None:
    """A session lasts as long as IDLE_TIMEOUT (half an hour by default) and MAX_AGE let it; 0 is for ever."""
    path = tmp_path / "s.db"
    await visit(path, site, [{"session_id": "alice"}], **settings)
    await age(path, seconds)
    stats = session_stats(await visit(path, site, [{"session_id": "alice"}], **settings))
    assert stats.get("restored", 0) == lasts
    assert stats.get("expired", 0) == (not lasts)
    assert (await stored(path))["alice"].pages_visited == 1 + lasts


@pytest.mark.parametrize(
    ("options", "seconds", "lasts"),
    [
        ({"idle_timeout": 60}, 70, False),
        ({"idle_timeout": 0}, 365 * DAY, True),
        ({"idle_timeout": 0, "max_age": 60}, 70, False),
        ({"idle_timeout": 7200}, 7000, True),
    ],
)
async def test_by_time_per_pool(
    tmp_path: Path, site: Site, options: dict[str, Any], seconds: float, lasts: bool
) -> None:
    """A pool's own limits go before the settings, in both directions."""
    path = tmp_path / "s.db"
    settings = {"SESSIONS_POOLS": {"shop": {"size": 1, **options}}}
    await visit(path, site, [{"session_pool": "shop"}], **settings)
    await age(path, seconds)
    stats = session_stats(await visit(path, site, [{"session_pool": "shop"}], **settings))
    assert stats.get("restored", 0) == lasts


async def test_a_raised_limit_keeps_sessions(tmp_path: Path, site: Site) -> None:
    """The limits in force are those of the crawl. They are stored, also of a session that isn't asked for."""
    path = tmp_path / "s.db"
    metas: list[dict[str, Any]] = [{"session_id": "alice"}, {"session_id": "bob"}]
    await visit(path, site, metas, SESSIONS_IDLE_TIMEOUT=60)
    await age(path, 70)
    stats = session_stats(await visit(path, site, metas[:1], SESSIONS_IDLE_TIMEOUT=DAY))
    assert (stats["restored"], stats.get("expired/idle_timeout", 0)) == (1, 0)
    records = await stored(path)
    assert {name: record.idle_timeout for name, record in records.items()} == {"alice": DAY, "bob": DAY}
    assert records["alice"].metrics.requests == 2 * records["bob"].metrics.requests


async def test_a_lowered_limit_drops_sessions(tmp_path: Path, site: Site) -> None:
    """A session that was created under a longer limit expires by the shorter one."""
    path = tmp_path / "s.db"
    await visit(path, site, [{"session_id": "alice"}], SESSIONS_IDLE_TIMEOUT=DAY)
    await age(path, 70)
    stats = session_stats(await visit(path, site, [{"session_id": "alice"}], SESSIONS_IDLE_TIMEOUT=60))
    assert (stats.get("restored", 0), stats["expired/idle_timeout"]) == (0, 1)


async def test_a_pools_limits_in_force_are_those_of_its_present_options(tmp_path: Path, site: Site) -> None:
    """A pool's own limit, raised, keeps its sessions, whatever the setting for others."""
    path = tmp_path / "s.db"
    pool: dict[str, Any] = {"size": 1, "idle_timeout": 60}
    await visit(path, site, [{"session_pool": "shop"}], SESSIONS_POOLS={"shop": pool})
    await age(path, 70)
    settings = {"SESSIONS_POOLS": {"shop": {**pool, "idle_timeout": 0}}, "SESSIONS_IDLE_TIMEOUT": 1}
    stats = session_stats(await visit(path, site, [{"session_pool": "shop"}], **settings))
    assert stats["restored"] == 1


async def test_tools_go_by_the_limits_of_the_records(tmp_path: Path, site: Site) -> None:
    """A manager outside of a crawl knows no settings: it deletes by the limits that were last in force."""
    path = tmp_path / "s.db"
    await visit(path, site, [{"session_id": "alice"}], SESSIONS_IDLE_TIMEOUT=60)
    await age(path, 70)
    async with SessionManager(path, namespace="pages") as manager:
        assert await manager.cleanup_expired_sessions() == 1


@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("robots", [False, True])
@pytest.mark.parametrize(
    ("meta", "settings"),
    [
        ({"session_id": "alice"}, {"SESSIONS_MAX_USES": 3}),
        ({"session_pool": "shop"}, {"SESSIONS_POOLS": {"shop": {"size": 1, "max_uses": 3}}}),
    ],
)
async def test_by_uses(
    tmp_path: Path, site: Site, meta: dict[str, Any], settings: dict[str, Any], robots: bool, concurrency: int
) -> None:
    """A session sends exactly MAX_USES requests, then another takes its id, also when they all come at once."""
    urls = [(site.url("/identity/x"), meta)] * 9
    given = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "CONCURRENT_REQUESTS_PER_DOMAIN": concurrency}
    created: list[BrowserSession] = []

    def watch(crawler: Crawler) -> None:
        def note(request: Any) -> None:
            extension = crawler.get_extension(SessionsExtension)
            assert extension is not None
            visit = extension.router.in_flight.get(request)  # a robots.txt fetch has none
            if visit is not None and visit.session not in created:
                created.append(visit.session)

        crawler.signals.connect(note, signals.request_reached_downloader, weak=False)

    crawler = await crawl(Pages, {**given, **settings, "ROBOTSTXT_OBEY": robots}, urls=urls, prepare=watch)
    assert len(crawler.spider.responses) == 9  # type: ignore[union-attr]
    assert [session.requests for session in created] == [3, 3, 3]
    stats = session_stats(crawler)
    assert stats["created"] == 3
    assert stats["expired/max_uses"] == 2


async def test_uses_count_across_runs(tmp_path: Path, site: Site) -> None:
    """The requests of earlier runs count for MAX_USES."""
    path = tmp_path / "s.db"
    settings = {"SESSIONS_MAX_USES": 3}
    await visit(path, site, [{"session_id": "alice"}] * 2, **settings)
    stats = session_stats(await visit(path, site, [{"session_id": "alice"}], **settings))
    assert (stats["restored"], stats.get("expired", 0)) == (1, 0)
    stats = session_stats(await visit(path, site, [{"session_id": "alice"}], **settings))
    assert (stats.get("restored", 0), stats["expired/max_uses"]) == (0, 1)


async def test_uses_without_limit(tmp_path: Path, site: Site) -> None:
    """MAX_USES 0 is no limit."""
    stats = session_stats(await visit(tmp_path / "s.db", site, [{"session_id": "alice"}] * 20))
    assert (stats["created"], stats.get("expired", 0)) == (1, 0)


async def test_expired_at_start_is_told_once(tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """One INFO line says how many sessions had expired, why, and which setting keeps them longer."""
    path = tmp_path / "s.db"
    await visit(path, site, [{"session_id": name} for name in "abc"], SESSIONS_IDLE_TIMEOUT=60)
    aging = {"SESSIONS_POOLS": {"aging": {"sessions": ["d"], "idle_timeout": 0, "max_age": 60}}}
    await visit(path, site, [{"session_pool": "aging"}], **aging)
    await age(path, 70)
    caplog.clear()
    caplog.set_level(logging.INFO)
    await visit(path, site, [{"session_id": name} for name in "abc"], SESSIONS_IDLE_TIMEOUT=60, **aging)
    (line,) = (r for r in caplog.records if "xpired" in r.getMessage() and r.name.startswith("scrapy_sessions"))
    assert line.levelno == logging.INFO
    text = line.getMessage()
    assert "Removed 4 expired sessions of 'pages'" in text
    assert "3 by SESSIONS_IDLE_TIMEOUT, now 60" in text
    assert "1 by SESSIONS_MAX_AGE, now 0" in text
    assert "raise the setting" in text


async def test_nothing_expired_says_nothing(tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A start without expired sessions says nothing of them."""
    caplog.set_level(logging.INFO)
    for _ in range(2):
        await visit(tmp_path / "s.db", site, [{"session_id": "alice"}])
    assert [r for r in caplog.records if "xpired" in r.getMessage() and r.name.startswith("scrapy_sessions")] == []


async def test_cleanup_on_the_timer(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that expire during a crawl are removed every CLEANUP_INTERVAL seconds."""
    monkeypatch.setattr("scrapy_sessions.extension._IDLE_CLEANUP", 1e9)
    stats = await removed_while_open(tmp_path, site, SESSIONS_CLEANUP_INTERVAL=0.05)
    assert stats["expired/idle_timeout"] == 1


async def test_cleanup_on_idle(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are removed when the spider idles, too, without a timer."""
    monkeypatch.setattr("scrapy_sessions.extension._IDLE_CLEANUP", 0.0)
    stats = await removed_while_open(tmp_path, site, SESSIONS_CLEANUP_INTERVAL=0)
    assert stats["expired/idle_timeout"] == 1


async def test_cleanup_without_timer(tmp_path: Path, site: Site) -> None:
    """CLEANUP_INTERVAL 0 starts no timer."""
    timers: list[object] = []

    def watch(crawler: Crawler) -> None:
        def look() -> None:
            extension = crawler.get_extension(SessionsExtension)
            timers.append(extension._timer if extension is not None else "none")

        crawler.signals.connect(look, signals.response_received, weak=False)

    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_CLEANUP_INTERVAL": 0}
    await crawl(Pages, settings, urls=[(site.url("/answer"), {})], prepare=watch)
    assert timers == [None]


async def removed_while_open(tmp_path: Path, site: Site, **settings: Any) -> dict[str, Any]:
    """Crawl in a session that expires at once, stay open until one was removed, and return the stats."""
    given = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_IDLE_TIMEOUT": 1e-6, **settings}
    urls = [(site.url("/answer"), {"session_id": "alice"})]
    return session_stats(await asyncio.wait_for(crawl(Idling, given, urls=urls, until="sessions/expired"), HANG))
