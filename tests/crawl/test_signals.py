"""Signals, log lines and the closing table tell what happened to the sessions of a crawl."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from scrapy.crawler import Crawler

from scrapy_sessions import BrowserSession, LoginFailed, SessionConfig, signals
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.storage import Key, MemoryStore
from scrapy_sessions.storage.base import Row
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, failures, pages, stat

NAMES = {getattr(signals, name): name for name in signals.__all__}


class Heard:
    """Takes every signal of a crawl."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self.sessions: set[str | None] = set()

    def prepare(self, crawler: Crawler) -> None:
        for signal in NAMES:
            crawler.signals.connect(self.hear, signal=signal, weak=False)
        crawler.signals.connect(self.fail, signal=signals.session_logged_in, weak=False)

    def hear(self, signal: Any, session: BrowserSession | None, session_id: str, spider: Any, reason: str) -> None:
        assert spider.name == "buyer"
        assert session is None or session.id == session_id
        self.names[NAMES[signal]] += 1
        self.reasons[NAMES[signal]] = reason
        self.sessions.add(session_id)

    def fail(self) -> None:
        raise RuntimeError("a handler of the project's")


async def test_a_login_that_is_lost(shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    """Creation, login and loss are signalled once each, and logged in a line each; the table counts them."""
    caplog.set_level(logging.INFO)
    heard = Heard()
    requests = [{"path": "/secret/1"}, {"path": "/secret/2?forget=1"}, {"path": "/secret/3"}]
    monkeypatch.setattr("tests.support.shop.crawl", _prepared(heard))
    settings = {"CONCURRENT_REQUESTS": 1, "SESSIONS_DEFAULT_ID": "alice"}
    crawler = await buy(shop, settings, requests, LogsIn)
    assert len(pages(crawler)) == 3
    assert heard.names["session_created"] == 1
    assert heard.names["session_logged_in"] == 2
    assert heard.names["session_login_lost"] == 1
    assert heard.sessions == {"alice"}
    assert heard.reasons["session_logged_in"].endswith(" s")
    assert shop.url("/secret/") in heard.reasons["session_login_lost"]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("scrapy_sessions")]
    assert len([line for line in ours if line.startswith("alice logged in, ")]) == 2
    (lost,) = [line for line in ours if line.startswith("alice: login lost at ")]
    assert lost.endswith(" (status 401), logging in again")
    (table,) = [line for line in ours if line.startswith("What the sessions did:")]
    header, row = table.splitlines()[1:]
    assert header.split() == ["pool", "sessions", "pages", "logins", "failures", "retired", "why"]
    assert row.split() == ["(no", "pool)", "1", "7", "2", "0", "0"]  # each login has two pages


class SlowOnce(MemoryStore):
    """Takes 2.5 s to look for carol for the first time."""

    looked = 0

    async def load(self, key: Key) -> Row | None:
        if key.session_id == "carol":
            self.looked += 1
            if self.looked == 1:
                await asyncio.sleep(2.5)
        return await super().load(key)


async def test_a_session_that_left_memory_unused(shop: Shop, monkeypatch: Any) -> None:
    """The first request of a session was deferred while the session was created, and others pushed the session out of
    memory meanwhile: it is created a second time, but counted and signalled once.
    """
    heard = Heard()
    monkeypatch.setattr("tests.support.shop.crawl", _prepared(heard))
    others = [{"path": f"/slow/{n}?ms=100", "meta": {"session_id": f"s{n}"}} for n in range(60)]
    requests = [{"path": "/page", "meta": {"session_id": "carol"}, "priority": 1}, *others]
    settings = {"CONCURRENT_REQUESTS": 2, "SESSIONS_CACHE_SIZE": 1, "SESSIONS_STORE": SlowOnce}
    crawler = await buy(shop, settings, requests, None)
    assert len(pages(crawler)) == 61
    store = crawler.get_extension(SessionsExtension).store
    assert store.looked == 2
    assert (stat(crawler, "created"), stat(crawler, "restored")) == (61, None)
    assert heard.names["session_created"] == 61


async def test_a_request_that_is_not_sent_has_no_traceback(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    """LoginFailed reaches the errback, and the log in one line per request without a traceback."""

    class Never(SessionConfig):
        async def login(self, session: BrowserSession, fetch: Any) -> bool:
            return False

    heard = Heard()
    monkeypatch.setattr("tests.support.shop.crawl", _prepared(heard))
    settings = {"SESSIONS_LOGIN_ATTEMPTS": 2, "SESSIONS_DEFAULT_ID": "alice"}
    crawler = await buy(shop, settings, [{"path": f"/secret/{n}"} for n in range(3)], Never)
    assert failures(crawler) == [LoginFailed.__name__] * 3
    assert heard.names["session_login_failed"] == 2
    lines = [record for record in caplog.records if "was not sent" in record.getMessage()]
    assert len(lines) == 3
    assert not any(record.exc_info for record in lines)
    assert "Traceback" not in caplog.text


def _prepared(heard: Heard) -> Any:
    from tests.support.crawl import crawl  # noqa: PLC0415  # the one that is replaced

    async def prepared(spider: Any, settings: Any, **arguments: Any) -> Crawler:
        return await crawl(spider, settings, prepare=heard.prepare, **arguments)

    return prepared
