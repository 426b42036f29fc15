"""URLs are stored and logged without the values of their query, which may be tokens of a login."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from scrapy.crawler import Crawler

from scrapy_sessions import BrowserSession, PersistentSession, SessionManager
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore
from tests.support.crawl import sqlite_url
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, stat

SECRET = "hunter2"
PARTS = f"/page;jsessionid={SECRET}?token={SECRET}&page=7#access_token={SECRET}"


async def crawl_secrets(shop: Shop, path: Path, **settings: Any) -> Crawler:
    """Crawl pages whose URLs contain secrets: a good one, one that loses a login, and one that ends a session."""
    secret = f"token={SECRET}"
    requests: list[dict[str, Any]] = [
        {"path": PARTS, "priority": 1},
        {"path": f"/secret/1?forget=1&{secret}"},
        {"path": f"/page?status=410&times=1&{secret}", "meta": {"session_pool": "p"}},
    ]
    then = [{"path": f"/secret/2?{secret}"}]
    settings = {
        "SESSIONS_STORE": sqlite_url(path),
        "SESSIONS_POOLS": {"p": {"size": 2}},
        "SESSIONS_BLOCKED_STATUSES": [410],
        "CONCURRENT_REQUESTS": 1,
        **settings,
    }
    return await buy(shop, settings, requests, LogsIn, then=then)


async def record_of(path: Path, session_id: str = "alice") -> PersistentSession:
    async with SessionManager(str(path), namespace="buyer") as manager:
        record = await manager.load_session(session_id)
    assert record is not None
    return record


async def test_no_value_is_written(shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the store, its events included, nor stats and our lines in the log have a value of a URL."""
    caplog.set_level(logging.DEBUG)
    crawler = await crawl_secrets(shop, tmp_path / "s.db")
    assert crawler.stats is not None
    written = repr(crawler.stats.get_stats())
    written += "".join(each.getMessage() for each in caplog.records if each.name.startswith("scrapy_sessions"))
    written += "".join(each.read_bytes().decode("latin-1") for each in tmp_path.iterdir())
    assert (stat(crawler, "logins"), "token=\u2026".encode() in (tmp_path / "s.db").read_bytes()) != (None, False)
    assert SECRET not in written


async def test_names_are_kept(shop: Shop, tmp_path: Path) -> None:
    """The history and the last URL have the path and the names of the parameters."""
    await crawl_secrets(shop, tmp_path / "s.db")
    record = await record_of(tmp_path / "s.db")
    assert f"GET {shop.url('/page?token=…&page=…')} 200" in record.actions_performed
    assert record.last_url == shop.url("/secret/2?token=…")


async def test_the_setting_keeps_the_values(shop: Shop, tmp_path: Path) -> None:
    """With SESSIONS_HISTORY_QUERY the history and the last URL have everything."""
    await crawl_secrets(shop, tmp_path / "s.db", SESSIONS_HISTORY_QUERY=True)
    record = await record_of(tmp_path / "s.db")
    assert f"GET {shop.url(PARTS)} 200" in record.actions_performed
    assert record.last_url == shop.url(f"/secret/2?token={SECRET}")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (f"paid at https://u:{SECRET}@shop.example/pay?card={SECRET}#x", "paid at https://shop.example/pay?card=…"),
        ("read the last order", "read the last order"),
        ("POST https://shop.example/login 200", "POST https://shop.example/login 200"),
    ],
)
def test_what_a_spider_records_is_stored_by_the_same_rule(text: str, stored: str) -> None:
    """A URL in a recorded text loses its values; other text is as it was."""
    session = BrowserSession("alice")
    session.record(text)
    session.retire(text)
    assert session.actions == [stored]
    assert session.retired_reason == stored


async def test_the_setting_keeps_recorded_urls_and_reasons() -> None:
    """With SESSIONS_HISTORY_QUERY what the spider records is stored as it is, after a restart of the session, too."""
    text = f"banned at https://shop.example/p?token={SECRET}"
    store, settings = MemoryStore(), SessionsSettings(history_query=True)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        (await manager.get("alice")).record(text)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        session = await manager.get("alice")
        session.record(text)
        session.retire(text)
        assert session.actions == [text, text]
        assert session.retired_reason == text
