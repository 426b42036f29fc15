"""Faults that touched several parts at once, each as the behaviour that is right."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from scrapy import Request
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.misc import load_object
from scrapy.utils.test import get_crawler

from scrapy_sessions import (
    CorruptRecord,
    InvalidSessionId,
    PersistentSession,
    Profile,
    SessionConfig,
    SessionConfigurationError,
    SessionManager,
    SessionRetired,
    SessionsAddon,
    Verdict,
)
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.middlewares import SessionCookiesMiddleware
from scrapy_sessions.pools.claim import Claim, cookiejar_id
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore
from scrapy_sessions.storage.codec import decode, encode
from tests.support.blame import Handler
from tests.support.crawl import crawl
from tests.support.site import Site
from tests.support.spiders.pages import Pages
from tests.support.waiting import until

ADDON: dict[str, Any] = {"ADDONS": {SessionsAddon: 300}, "SESSIONS_STORE": "memory://"}


def test_a_project_without_cookies_stays_without(site: Site) -> None:
    """Where the project has switched the cookie middleware off, the add-on switches none on."""
    path = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"
    crawler = get_crawler(settings_dict={**ADDON, "DOWNLOADER_MIDDLEWARES": {path: None}})
    settings = crawler.settings
    merged = getattr(settings, "get_component_priority_dict_with_base", settings.getwithbase)  # Scrapy 2.14
    middlewares = merged("DOWNLOADER_MIDDLEWARES")
    on = {load_object(name) for name, place in middlewares.items() if place is not None}
    assert not on & {CookiesMiddleware, SessionCookiesMiddleware}


async def test_an_agent_with_a_line_break_is_stripped(site: Site) -> None:
    """A USER_AGENT that was read from a file is sent without its line break, as by Scrapy."""
    await crawl(Pages, {**ADDON, "USER_AGENT": "Me/1\n"}, urls=[(site.url("/answer"), {})])
    assert [arrival.header("User-Agent") for arrival in site.journal("/answer")] == ["Me/1"]


async def test_an_agent_that_cannot_be_sent_stops_the_crawl(site: Site) -> None:
    """A USER_AGENT with a control character inside stops the crawl before its first request, and is named."""
    with pytest.raises(SessionConfigurationError, match="USER_AGENT"):
        await crawl(Pages, {**ADDON, "USER_AGENT": "a\x00b"}, urls=[(site.url("/answer"), {})])
    assert site.journal("/answer") == []


async def test_a_spider_name_that_is_no_namespace_stops_the_crawl(site: Site) -> None:
    """A spider's name that is too long stops the crawl, and the message names SESSIONS_NAMESPACE."""
    with pytest.raises(SessionConfigurationError, match="SESSIONS_NAMESPACE"):
        await crawl(Pages, ADDON, urls=[(site.url("/answer"), {})], name="x" * 256)


@pytest.mark.parametrize("spoil", ["record", "retire", "agent", "status"])
async def test_one_bad_value_does_not_cost_the_cookies(spoil: str) -> None:
    """What can't be stored is written out or left out; the session's cookies are saved."""
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop") as manager:
        alice = await manager.get("alice")
        alice.cookies.set("sid", "1", domain="shop.example")
        if spoil == "record":
            alice.record("x \ud83d")
        elif spoil == "retire":
            alice.retire("x \ud83d")
        elif spoil == "agent":
            runtime_of(alice).user_agent = 5  # type: ignore[assignment]
        else:
            runtime_of(alice).status = "weird"  # type: ignore[assignment]
        await manager.flush()
    row = await store.load(Key("shop", "alice"))
    assert row is not None
    assert [cookie.value for cookie in decode(row).cookies] == ["1"]


async def test_a_session_with_a_request_under_way_is_not_idle() -> None:
    """However long an answer takes, its session isn't replaced meanwhile for being idle."""
    now = [1000.0]
    settings = SessionsSettings(idle_timeout=3)
    async with SessionManager(
        store=MemoryStore(), namespace="shop", settings=settings, clock=lambda: now[0]
    ) as manager:
        alice = await manager.get("alice")
        runtime_of(alice).in_flight += 1
        now[0] += 5
        assert await manager.get("alice") is alice
        runtime_of(alice).in_flight -= 1
        assert await manager.get("alice") is not alice


def test_a_redirected_robots_fetch_uses_no_session() -> None:
    """A robots.txt that redirects elsewhere is still Scrapy's own fetch."""
    crawler = get_crawler(settings_dict=ADDON)
    meta = {"dont_obey_robotstxt": True, "redirect_urls": ["http://shop.example/robots.txt"]}
    request = Request("http://shop.example/robots", callback=NO_CALLBACK, meta=meta)
    assert SessionRouter.of(crawler).begin(request) is None


async def test_fetch_goes_out_in_no_other_session() -> None:
    """fetch() of a retired session of a pool raises, where a substitute would be another visitor."""
    crawler = get_crawler(settings_dict={**ADDON, "SESSIONS_POOLS": {"p": {"size": 2}}})
    session = await SessionRouter.of(crawler).manager.get("p#1", pool="p")
    session.retire("banned")
    with pytest.raises(SessionRetired):
        await session.fetch(Request("http://shop.example/"))


def test_a_pool_of_accounts_takes_no_stranger() -> None:
    """A session_id that isn't of the pool beside it is refused, and the pool's are named."""
    settings = SessionsSettings.from_settings({"SESSIONS_POOLS": {"staff": {"sessions": ["alice", "bob"]}}})
    manager = SessionManager(store=MemoryStore(), namespace="shop", settings=settings)
    with pytest.raises(InvalidSessionId, match="it has alice, bob"):
        registry_of(manager).settle(Claim("mallory", "staff"))


@pytest.mark.parametrize(
    "fields",
    [
        {"proxy": "::::bad"},
        {"proxy": "http://[::1"},
        {"proxy": "not a url"},
        {"proxy": "http://u:s3cret@host:port"},
        {"user_agent": "\ud800"},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"Host": "evil.example"}},
    ],
)
def test_a_profile_that_cannot_be_sent_is_refused(fields: dict[str, Any]) -> None:
    """A profile whose proxy, agent or headers no request could carry is refused, without quoting it."""
    with pytest.raises(ValidationError) as caught:
        Profile(**fields)
    assert "s3cret" not in str(caught.value)


def test_a_record_with_a_bad_metric_is_corrupt() -> None:
    """A stored record whose statuses aren't numbers is set aside, and doesn't break its first request."""
    row = encode(PersistentSession(session_id="alice"))
    body = row.body.replace(b'"responses":{}', b'"responses":{"abc":1}')
    assert body != row.body
    with pytest.raises(CorruptRecord):
        decode(row._replace(body=body))


def test_none_inside_a_cookiejar_key_is_no_string() -> None:
    """The keys ("a", None) and ("a", "None") are two jars, as in Scrapy."""
    assert cookiejar_id(("a", None)) != cookiejar_id(("a", "None"))


async def test_held_data_is_watched_for_as_long_as_it_is_held() -> None:
    """A change in place is saved within the interval, however late it comes."""
    store = MemoryStore()
    settings = SessionsSettings(save_interval=0.01)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        alice = await manager.get("alice")
        held = alice.data
        alice.record("saved once")
        await until(lambda: runtime_of(alice).revision == 1)
        await asyncio.sleep(0.05)  # several intervals in which nothing changes
        held["late"] = True
        await until(lambda: runtime_of(alice).revision == 2)
    row = await store.load(Key("shop", "alice"))
    assert row is not None
    assert decode(row).data == {"late": True}


async def test_a_session_of_a_pool_that_is_gone_is_handlerd_by_itself(site: Site) -> None:
    """A session whose pool the settings don't declare any more still gets its verdicts when it is named."""
    settings = SessionsSettings.from_settings({"SESSIONS_POOLS": {"gone": {"size": 2}}})
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        assert await manager.save_session("gone#1", await manager.get("gone#1", pool="gone"))
    async with SessionManager(store=store, namespace="shop") as manager:
        session = await registry_of(manager).get("gone#1")
        config = SessionConfig(get_crawler(settings_dict=ADDON))
        handler = Handler(manager)
        request = Request("http://shop.example/", meta={"session_id": "gone#1"})
        replay = await handler.handle(Verdict.SUSPECT, session, request, config)
        assert replay is not None
        assert replay.meta["session_id"] == "gone#1"


async def test_a_request_that_names_its_session_moves_to_no_other(site: Site) -> None:
    """A request with a session_id and no pool isn't sent in another session when that one is blocked."""
    settings = SessionsSettings.from_settings(
        {"SESSIONS_POOLS": {"p": {"size": 2}}, "SESSIONS_BLOCKED_STATUSES": [451]}
    )
    async with SessionManager(store=MemoryStore(), namespace="shop", settings=settings) as manager:
        session = await registry_of(manager).get("p#1", pool="p")
        handler = Handler(manager)
        config = SessionConfig(get_crawler(settings_dict=ADDON))
        request = Request("http://shop.example/", meta={"session_id": "p#1"})
        assert await handler.handle(Verdict.BLOCKED, session, request, config, 451) is None
        assert session.status == "retired"
        assert await handler.handle(Verdict.SUSPECT, session, request, config) is None
