"""The meta key ``session``: an alias of ``session_id`` where Scrapy has sessions, the spider's own key elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.utils.request import RequestFingerprinter
from scrapy.utils.test import get_crawler

from scrapy_sessions.exceptions import InvalidSessionId
from scrapy_sessions.fingerprint import SessionFingerprinter
from scrapy_sessions.pools.claim import read_claim, take_alias
from tests.support.crawl import PLAIN
from tests.support.shop import Shop, buy, failures, spider_of

THEN = [{"path": "/then", "tagged": False}]


@pytest.fixture
def with_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapy as its proposal has it: ``crawler.sessions`` exists."""
    monkeypatch.setattr(Crawler, "sessions", None, raising=False)


async def used(shop: Shop, meta: dict[str, Any], **arguments: Any) -> list[str]:
    """The sessions in which the pages of an untagged request with *meta*, and of what follows, arrived."""
    crawler = await buy(shop, {}, [{"path": "/page", "tagged": False, "meta": meta}], None, **arguments)
    assert failures(crawler) == []
    return [response.meta["session_id"] for response in spider_of(crawler).responses]


@pytest.mark.usefixtures("with_sessions")
async def test_it_names_the_session(shop: Shop) -> None:
    """What its callback yields inherits the session."""
    assert await used(shop, {"session": "alice"}, then=THEN) == ["alice", "alice"]


@pytest.mark.usefixtures("with_sessions")
async def test_a_callback_may_name_another(shop: Shop) -> None:
    """A request with ``session`` of its own inherits nothing; meta copied from a response names the new one."""
    then = [{"path": "/then", "tagged": False, "meta": {"session": "bob"}}]
    assert await used(shop, {"session": "alice"}, then=then) == ["alice", "bob"]
    meta: dict[str, Any] = {"session": "alice"}
    take_alias(meta)
    copied = {**meta, "session": "bob"}
    take_alias(copied)
    claim = read_claim(copied)
    assert claim is not None
    assert claim.session_id == "bob"


@pytest.mark.usefixtures("with_sessions")
async def test_none_is_no_session(shop: Shop) -> None:
    """As ``session_id: None``."""
    crawler = await buy(shop, {}, [{"path": "/page", "tagged": False, "meta": {"session": None}}], None)
    assert spider_of(crawler).responses[0].meta["session_id"] is None


@pytest.mark.usefixtures("with_sessions")
async def test_both_keys_must_agree(shop: Shop) -> None:
    """Two names for one request are an error, which its errback gets."""
    metas = [{"session": "alice", "session_id": "bob"}, {"session": "alice", "session_id": "alice"}]
    crawler = await buy(shop, {}, [{"path": "/page", "meta": meta} for meta in metas], None)
    assert failures(crawler) == ["InvalidSessionId"]
    assert len(spider_of(crawler).responses) == 1
    with pytest.raises(InvalidSessionId, match="'alice' and 'bob'"):
        take_alias(dict(metas[0]))


async def test_without_sessions_in_scrapy_it_is_the_spiders_own(shop: Shop) -> None:
    """It is left alone, and names nothing."""
    crawler = await buy(shop, {}, [{"path": "/page", "tagged": False, "meta": {"session": "alice"}}], None)
    (response,) = spider_of(crawler).responses
    assert response.meta["session"] == "alice"
    assert response.meta["session_id"] == "default#1"


def fingerprint(meta: dict[str, Any]) -> bytes:
    crawler = get_crawler(settings_dict={**PLAIN, "SESSIONS_STORE": "memory://"})
    return SessionFingerprinter.from_crawler(crawler).fingerprint(Request("http://shop.test/", meta=meta))


@pytest.mark.usefixtures("with_sessions")
def test_it_counts_in_the_fingerprint() -> None:
    """The same URL in two sessions is two requests, whichever key names them; keys that differ raise nothing here."""
    assert fingerprint({"session": "alice"}) == fingerprint({"session_id": "alice"}) != fingerprint({"session": "bob"})
    assert fingerprint({"session": "alice", "session_id": "bob"})


def test_without_sessions_in_scrapy_it_does_not() -> None:
    """The fingerprint is that of Scrapy."""
    assert fingerprint({"session": "alice"}) == RequestFingerprinter().fingerprint(Request("http://shop.test/"))
