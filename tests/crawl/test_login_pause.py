"""With SESSIONS_ON_LOGIN_FAILED = "pause", requests of a session wait until a person has logged it in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from scrapy import signals
from scrapy.crawler import Crawler

from scrapy_sessions import BrowserSession, SessionConfig, SessionManager, Verdict
from scrapy_sessions.config import Fetch
from scrapy_sessions.crawl import pauses
from scrapy_sessions.exceptions import LoginImpossible
from scrapy_sessions.sessions.attended import save_login
from scrapy_sessions.sessions.manager import registry_of
from tests.support.clock import Clock
from tests.support.login_configs import LogsIn
from tests.support.redis_server import RedisServer
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat
from tests.support.waiting import until

FEW = [{"path": f"/secret/{number}"} for number in range(4)]
PAUSE = {"SESSIONS_ON_LOGIN_FAILED": "pause", "SESSIONS_LOGIN_ATTEMPTS": 2}


class NotAlice(LogsIn):
    """Logs in everybody but alice."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> Any:
        if session.id == "alice":
            raise ValueError("hunter2 is no password")
        return await super().login(session, fetch)


class Nobody(SessionConfig):
    """Logs nobody in: the site asks for what only a person can give."""

    answer: Any = LoginImpossible("a CAPTCHA is shown")

    async def login(self, session: BrowserSession, fetch: Fetch) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Refused(Nobody):
    answer = Verdict.BLOCKED


async def person(shop: Shop, store: str, session_id: str = "alice") -> None:
    """Log *session_id* in at the shop, and save it as the command does."""
    order = Request(shop.url("/token"), data=json.dumps({"user": session_id}).encode())
    answer = await asyncio.to_thread(build_opener(ProxyHandler({})).open, order)
    token = json.loads(answer.read())["token"]
    async with SessionManager(store=store, namespace="buyer") as manager:
        session = await registry_of(manager).detached(session_id, "buyer")
        session.jar.set("auth", token, domain="127.0.0.1")
        await save_login(registry_of(manager), session, hosts=["127.0.0.1"], site=None, waiting=lambda: None)


async def buy_and(
    act: Callable[[Crawler], Awaitable[None]], shop: Shop, settings: Any, requests: Any, config: Any, **arguments: Any
) -> Crawler:
    """As :func:`buy`, and *act* as soon as a session waits."""
    opened: list[Crawler] = []

    def prepare(crawler: Crawler) -> None:
        crawler.signals.connect(lambda: opened.append(crawler), signal=signals.spider_opened, weak=False)

    crawling = asyncio.ensure_future(buy(shop, {**PAUSE, **settings}, requests, config, prepare=prepare, **arguments))
    await until(lambda: crawling.done() or (opened and stat(opened[0], "login_pauses")))
    if not crawling.done():
        await act(opened[0])
    return await crawling


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_the_crawl_waits_for_a_person(
    shop: Shop, tmp_path: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Other sessions go on; when somebody has logged alice in, her requests are sent, and nothing has failed."""
    store = f"sqlite:///{tmp_path / 's.db'}" if kind == "sqlite" else redis_server.url
    bob = [{**each, "meta": {"session_id": "bob"}} for each in FEW]

    async def act(crawler: Crawler) -> None:
        await until(lambda: len(pages(crawler)) == len(bob))
        assert {text for _, text in pages(crawler)} == {"Hello, bob"}
        await person(shop, store)

    settings = {"SESSIONS_STORE": store, "CONCURRENT_REQUESTS": 2}
    crawler = await buy_and(act, shop, settings, [*FEW, *bob], NotAlice)
    assert sorted(text for _, text in pages(crawler)) == ["Hello, alice"] * 4 + ["Hello, bob"] * 4
    assert failures(crawler) == []
    assert (stat(crawler, "login_pauses"), stat(crawler, "logins_given_up")) == (1, None)
    (line,) = (each.getMessage() for each in caplog.records if "Type: " in each.getMessage())
    assert line.endswith("Type: scrapy sessions login alice --namespace buyer")
    assert "hunter2" not in line


async def test_the_login_of_a_person_wins_over_attempts(shop: Shop, tmp_path: Path) -> None:
    """It is taken over, however many attempts the crawl made since it last saved the session at its own time."""
    store = f"sqlite:///{tmp_path / 's.db'}"

    async def act(crawler: Crawler) -> None:
        await person(shop, store)
        async with SessionManager(store=store, namespace="buyer") as manager:
            stored = await manager.load_session("alice")
        alice = await spider_of(crawler).sessions.get("alice")
        if stored is None or stored.generation < alice.generation:
            await crawler.stop_async()  # it would wait without end

    settings = {"SESSIONS_STORE": store, "SESSIONS_LOGIN_ATTEMPTS": 4, "SESSIONS_SAVE_INTERVAL": 60}
    crawler = await buy_and(act, shop, settings, FEW, NotAlice)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)


@pytest.mark.parametrize("config", [Nobody, Refused])
async def test_a_login_that_only_a_person_can_do(shop: Shop, tmp_path: Path, config: type[SessionConfig]) -> None:
    """LoginImpossible, and BLOCKED, pause the session at once; it isn't retired."""
    store = f"sqlite:///{tmp_path / 's.db'}"

    async def act(crawler: Crawler) -> None:
        assert stat(crawler, "login_failures") == 1
        await person(shop, store)

    crawler = await buy_and(act, shop, {"SESSIONS_STORE": store}, FEW, config)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)
    assert stat(crawler, "retired") is None


async def test_another_account_takes_the_requests_of_a_pool(shop: Shop) -> None:
    """While alice waits, bob of the same pool is used; a session that no request waits for doesn't hold up the end."""
    pooled = [{"path": f"/secret/{number}", "meta": {"session_pool": "staff"}} for number in range(8)]
    settings = {**PAUSE, "SESSIONS_POOLS": {"staff": {"sessions": ["alice", "bob"]}}}
    crawler = await buy(shop, settings, pooled, NotAlice)
    assert pages(crawler) == [(200, "Hello, bob")] * len(pooled)
    assert (stat(crawler, "login_pauses"), failures(crawler)) == (1, [])


class OnlyLast(LogsIn):
    """Logs in one account of many."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> Any:
        if session.id != "last":
            raise LoginImpossible("a CAPTCHA is shown")
        return await super().login(session, fetch)


async def test_the_one_account_that_is_left_is_found(shop: Shop) -> None:
    """However many accounts wait for a person, no request waits while another account may go."""
    pooled = [{"path": f"/secret/{number}", "meta": {"session_pool": "staff"}} for number in range(8)]
    accounts = [*(f"waits{number}" for number in range(14)), "last"]
    settings = {**PAUSE, "SESSIONS_POOLS": {"staff": {"sessions": accounts}}, "CLOSESPIDER_TIMEOUT": 60}
    crawler = await buy(shop, settings, pooled, OnlyLast)
    assert pages(crawler) == [(200, "Hello, last")] * len(pooled)
    assert failures(crawler) == []


async def test_a_pool_without_another_account_waits(shop: Shop, tmp_path: Path) -> None:
    """When all accounts of a pool wait, so do its requests, and the spider isn't closed; one account is enough."""
    store = f"sqlite:///{tmp_path / 's.db'}"
    pooled = [{"path": f"/secret/{number}", "meta": {"session_pool": "staff"}} for number in range(8)]

    async def act(crawler: Crawler) -> None:
        await until(lambda: stat(crawler, "login_pauses") == 2)
        await person(shop, store, "bob")

    settings = {"SESSIONS_STORE": store, "SESSIONS_POOLS": {"staff": {"sessions": ["alice", "bob"]}}}
    crawler = await buy_and(act, shop, settings, pooled, Nobody)
    assert pages(crawler) == [(200, "Hello, bob")] * len(pooled)
    assert failures(crawler) == []


async def test_the_default_session_waits(shop: Shop, tmp_path: Path) -> None:
    """The one session of requests without a tag is paused like another: it is neither replaced nor retired."""
    store = f"sqlite:///{tmp_path / 's.db'}"
    untagged = [{**each, "tagged": False} for each in FEW]
    crawler = await buy_and(
        lambda _: person(shop, store, "default#1"), shop, {"SESSIONS_STORE": store}, untagged, Nobody
    )
    assert pages(crawler) == [(200, "Hello, default#1")] * len(FEW)


async def test_a_crawl_that_is_stopped_keeps_the_requests(shop: Shop, tmp_path: Path) -> None:
    """Told to stop, the crawl ends at once; the requests that waited are in its JOBDIR, and the next run sends them."""
    store = f"sqlite:///{tmp_path / 's.db'}"
    settings = {"SESSIONS_STORE": store, "JOBDIR": str(tmp_path / "job"), "CONCURRENT_REQUESTS": 2}
    closed: list[float] = []

    async def act(crawler: Crawler) -> None:
        closed.append(time.monotonic())
        await crawler.stop_async()

    crawler = await buy_and(act, shop, settings, FEW, Nobody)
    assert time.monotonic() - closed[0] < 20
    assert (pages(crawler), failures(crawler)) == ([], [])
    await person(shop, store)
    crawler = await buy(shop, {**PAUSE, **settings}, [], Nobody)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)


async def test_the_log_says_every_hour_who_waits(
    shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait has no limit, so what to type is an error again after each hour, and not before."""
    store = f"sqlite:///{tmp_path / 's.db'}"
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(pauses, "_INTERVAL", 0.05)

    def errors() -> list[str]:
        return [each.getMessage() for each in caplog.records if "Type: scrapy sessions login" in each.getMessage()]

    def said(number: int) -> bool:
        return len(errors()) == number

    async def act(_: Crawler) -> None:
        for hour in (1, 2):
            clock.ahead += 3000
            await asyncio.sleep(0.3)
            assert said(hour)
            clock.ahead += 601
            await until(partial(said, hour + 1))
        await person(shop, store)

    crawler = await buy_and(act, shop, {"SESSIONS_STORE": store}, FEW, Nobody)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)
    assert len(set(errors())) == 1


async def test_login_again_ends_the_wait(shop: Shop, tmp_path: Path) -> None:
    """A spider that has found out why logins fail can begin anew, without a person."""

    async def act(crawler: Crawler) -> None:
        NotOnce.fails = False
        await spider_of(crawler).sessions.login_again("alice")

    class NotOnce(LogsIn):
        fails = True

        async def login(self, session: BrowserSession, fetch: Fetch) -> Any:
            if self.fails:
                raise LoginImpossible("not yet")
            return await super().login(session, fetch)

    crawler = await buy_and(act, shop, {}, FEW, NotOnce)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)
