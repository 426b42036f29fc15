"""The duplicate filter for scrapy-redis: it is set by the add-on, and tells named sessions apart."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler
from scrapy_redis.dupefilter import RFPDupeFilter

from scrapy_sessions import SessionsAddon
from scrapy_sessions.dupefilter import RedisDupeFilter
from scrapy_sessions.exceptions import SessionConfigurationError
from tests.support.crawl import ADDON
from tests.support.redis_server import RedisServer

THEIRS = "scrapy_redis.dupefilter.RFPDupeFilter"
OURS = "scrapy_sessions.dupefilter.RedisDupeFilter"


class Own(RFPDupeFilter):  # type: ignore[misc]  # scrapy-redis has no types
    """A project's own."""


def spider(server: RedisServer, **settings: Any) -> Spider:
    settings = {"SESSIONS_STORE": "memory://", "ADDONS": ADDON, "REDIS_URL": server.url, **settings}
    crawler = get_crawler(settings_dict=settings)
    return Spider.from_crawler(crawler, "shop")


@pytest.mark.parametrize("theirs", [THEIRS, RFPDupeFilter])
def test_the_addon_sets_it(theirs: Any) -> None:
    """In place of that of scrapy-redis, at the priority which that had."""
    settings = Settings()
    settings.set("DUPEFILTER_CLASS", theirs, priority="spider")
    SessionsAddon().update_settings(settings)
    assert settings["DUPEFILTER_CLASS"] == OURS
    assert settings.getpriority("DUPEFILTER_CLASS") == settings.maxpriority()


@pytest.mark.parametrize("other", ["scrapy.dupefilters.RFPDupeFilter", "scrapy.dupefilters.BaseDupeFilter", Own])
def test_the_addon_leaves_others(other: Any) -> None:
    """Scrapy's follows the fingerprinter, and that of a project may."""
    settings = Settings({"DUPEFILTER_CLASS": other})
    SessionsAddon().update_settings(settings)
    assert settings["DUPEFILTER_CLASS"] == other


def test_off_leaves_it() -> None:
    """With SESSIONS_ENABLED=False the filter is that of scrapy-redis."""
    settings = Settings({"DUPEFILTER_CLASS": THEIRS, "SESSIONS_ENABLED": False})
    SessionsAddon().update_settings(settings)
    assert settings["DUPEFILTER_CLASS"] == THEIRS


def test_processes_share_what_was_seen(redis_server: RedisServer) -> None:
    """What one process has seen of a session, another has too, under the key of scrapy-redis, until it is cleared."""
    first, second = (RedisDupeFilter.from_spider(spider(redis_server)) for _ in range(2))
    url = "https://shop.example/"
    requests = [Request(url, meta={"session_id": "alice"}), Request(url, meta={"session_id": "bob"}), Request(url)]
    assert [first.request_seen(request) for request in requests] == [False] * 3
    assert [second.request_seen(request) for request in requests] == [True] * 3
    assert redis_server.tell("SCARD shop:dupefilter") == ":3\r\n"
    second.clear()
    assert not first.request_seen(requests[0])


def test_with_scrapys_scheduler(redis_server: RedisServer) -> None:
    """Scrapy's scheduler makes it too; then its key lasts as long as the crawl."""
    dupefilter = RedisDupeFilter.from_crawler(spider(redis_server).crawler)
    request = Request("https://shop.example/", meta={"session_id": "alice"})
    assert [dupefilter.request_seen(request) for _ in range(2)] == [False, True]
    dupefilter.close("finished")
    assert redis_server.tell("DBSIZE") == ":0\r\n"


def test_a_duplicate_is_logged(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """As scrapy-redis does: each one with DUPEFILTER_DEBUG."""
    caplog.set_level("DEBUG", "scrapy_redis")
    shop = spider(redis_server, DUPEFILTER_DEBUG=True)
    dupefilter = RedisDupeFilter.from_spider(shop)
    for _ in range(2):
        dupefilter.log(Request("https://shop.example/1"), shop)
    assert [record.getMessage() for record in caplog.records] == [
        "Filtered duplicate request: <GET https://shop.example/1>"
    ] * 2


def test_scrapy_redis_is_needed(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scrapy-redis the message has the line that installs it."""
    monkeypatch.setitem(sys.modules, "scrapy_redis.dupefilter", None)
    with pytest.raises(SessionConfigurationError, match=r"pip install 'scrapy-persistent-sessions\[scrapy-redis\]'"):
        RedisDupeFilter.from_spider(spider(redis_server))
