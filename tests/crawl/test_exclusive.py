"""Exclusive pools: a process takes their sessions, waits for them, and gives them back."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession, Fetch, SessionConfig
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.pools.claim import PICKED
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Claim, Claims, SQLiteStore
from tests.support.crawl import ADDON, crawl, session_stats, sqlite_url
from tests.support.site import Site
from tests.support.spiders.worker import LosesFirst, Worker
from tests.support.stores import Chaotic
from tests.support.waiting import until

TTL = 60.0
ALL = ["alice", "bob"]


def pools(sessions: list[str] = ALL, **options: Any) -> dict[str, Any]:
    return {"staff": {"sessions": sessions, "exclusive": True, **options}}


class Other:
    """Another process that shares the file *path*."""

    def __init__(self, path: Path) -> None:
        self.store = SQLiteStore(path)
        self.held: list[Claim] = []

    async def take(self, count: int, sessions: list[str] = ALL) -> list[str]:
        """Use the pool with *sessions*, and hold up to *count* of them."""
        await self.store.open()
        await self.store.enrol("worker", "staff", "other", sessions, TTL)
        self.held = (await self.store.claim("worker", "staff", "other", self.held, count, TTL)).held
        return sorted(claim.session_id for claim in self.held)

    async def give_back(self) -> None:
        """Give back all that is held, and use the pool no more."""
        await self.store.give_back("worker", "staff", self.held)
        self.held = []
        await self.store.claim("worker", "staff", "other", [], 0, TTL)


@asynccontextmanager
async def other_process(path: Path) -> AsyncIterator[Other]:
    other = Other(path)
    try:
        yield other
    finally:
        await other.store.close()


async def work(site: Site, path: Path, spider: type[Worker] = Worker, **arguments: Any) -> tuple[Crawler, list[Any]]:
    """Crawl with the pool, and return the crawler and the items."""
    settings: dict[str, Any] = {
        "SESSIONS_STORE": sqlite_url(path),
        "SESSIONS_LEASE_TTL": TTL,
        "SESSIONS_POOLS": pools(),
        **arguments.pop("settings", {}),
    }
    items: list[Any] = []

    def prepare(crawler: Crawler) -> None:
        def collect(item: Any) -> None:
            items.append(item)

        crawler.signals.connect(collect, signal=signals.item_scraped, weak=False)

    crawler = await crawl(spider, settings, prepare=prepare, base=site.url(""), **arguments)
    return crawler, items


async def test_a_crawl_uses_all_and_gives_them_back(site: Site, tmp_path: Path) -> None:
    """A crawl alone with its pool uses all sessions in turn. At its end they are saved, and free at once."""
    _, items = await work(site, tmp_path / "s.db", pages=4)
    assert sorted(item["session"] for item in items) == ["alice", "alice", "bob", "bob"]
    async with other_process(tmp_path / "s.db") as other:
        assert await other.take(2) == ALL
        assert {info["session_id"] for info in await other.store.list(now=0.0)} == set(ALL)


async def test_it_picks_among_those_that_it_holds(site: Site, tmp_path: Path) -> None:
    """What another process holds is left alone."""
    async with other_process(tmp_path / "s.db") as other:
        (taken,) = await other.take(1)
        _, items = await work(site, tmp_path / "s.db", pages=4)
    assert [item["session"] for item in items] == [session_id for session_id in ALL if session_id != taken] * 4


async def test_it_waits_in_line_for_one_that_is_given_back(site: Site, tmp_path: Path) -> None:
    """A process that holds none waits until another gives one back."""
    async with other_process(tmp_path / "s.db") as other:
        assert await other.take(2) == ALL
        crawling = asyncio.ensure_future(work(site, tmp_path / "s.db", pages=2))
        while not (await other.store.claim("worker", "staff", "other", other.held, 2, TTL)).waiting:
            await asyncio.sleep(0.01)
        assert not site.journal("/page/")
        await other.give_back()
        _, items = await crawling
    assert len(items) == 2


async def test_a_wait_is_bounded(site: Site, tmp_path: Path) -> None:
    """A request that waits for longer than SESSIONS_CLAIM_TIMEOUT fails with PoolBusy, which its errback gets."""
    async with other_process(tmp_path / "s.db") as other:
        await other.take(2)
        _, items = await work(site, tmp_path / "s.db", pages=2, settings={"SESSIONS_CLAIM_TIMEOUT": 0.2})
    assert [item["failed"] for item in items] == ["PoolBusy", "PoolBusy"]
    assert "SESSIONS_CLAIM_TIMEOUT" in items[0]["message"]


async def test_a_request_that_another_process_put_back_is_picked_anew(site: Site, tmp_path: Path) -> None:
    """A request of a shared queue that was picked for a session which is held elsewhere goes to another one."""
    async with other_process(tmp_path / "s.db") as other:
        (taken,) = await other.take(1)
        metas = [{"session_id": taken, PICKED: taken}]
        _, items = await work(site, tmp_path / "s.db", pages=1, metas=metas)
    assert [item["session"] for item in items] != [taken]


@pytest.mark.parametrize("meta", [{"session_pool": "staff"}, {"session_pool": None}], ids=["of the pool", "alone"])
async def test_a_named_one_is_waited_for(site: Site, tmp_path: Path, meta: dict[str, Any]) -> None:
    """A request that names its session waits for this one, though the process holds another. The name of the pool makes
    no difference."""
    async with other_process(tmp_path / "s.db") as other:
        (taken,) = await other.take(1)
        metas = [{**meta, "session_id": taken}]
        _, items = await work(site, tmp_path / "s.db", pages=2, metas=metas, settings={"SESSIONS_CLAIM_TIMEOUT": 0.5})
    assert sorted(item.get("failed", "sent") for item in items) == ["PoolBusy", "sent"]


async def test_processes_that_need_each_others_sessions_change_them(site: Site, tmp_path: Path) -> None:
    """A process that has its share, but requests for a session that another holds, gets it."""
    ttl = 0.9

    async def use(other: Other) -> None:  # as a process does that needs any
        await until(lambda: site.journal("/page/"))  # the crawl has the other one
        while True:
            answer = await other.store.claim("worker", "staff", "other", other.held, 2, ttl)
            other.held = answer.held
            if answer.waiting and len(answer.held) > answer.share:
                await other.store.give_back("worker", "staff", [other.held.pop(0)])
            await asyncio.sleep(ttl / 4)

    async with other_process(tmp_path / "s.db") as other:
        (taken,) = await other.take(1)
        using = asyncio.ensure_future(use(other))
        settings = {"SESSIONS_LEASE_TTL": ttl, "SESSIONS_CLAIM_TIMEOUT": 60}
        _, items = await work(site, tmp_path / "s.db", pages=2, metas=[{"session_id": taken}], settings=settings)
        using.cancel()
        await asyncio.gather(using, return_exceptions=True)
    assert taken in [item.get("session") for item in items]
    assert len(items) == 2


async def test_sessions_of_both_settings_are_used(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two processes whose settings name different accounts use all of them, and one WARNING names the difference."""
    async with other_process(tmp_path / "s.db") as other:
        await other.take(1, ["carol", "dora"])
        with caplog.at_level(logging.WARNING):
            _, items = await work(site, tmp_path / "s.db", pages=6)
    assert {item["session"] for item in items} == {"alice", "bob", "dora"}
    warnings = [record.getMessage() for record in caplog.records if "carol" in record.getMessage()]
    assert len(warnings) == 1
    assert "carol, dora" in warnings[0]


class Retires(Worker):
    """Retires alice at her first page."""

    def parse(self, response: Any, **kwargs: Any) -> Any:
        if response.meta["session_id"] == "alice":
            self.sessions.of(response).retire("enough")
        yield from super().parse(response)


async def test_a_retired_session_leaves_the_pool(site: Site, tmp_path: Path) -> None:
    """Processes that use the pool don't get a session that was retired."""
    async with other_process(tmp_path / "s.db") as other:
        await other.take(0)
        await work(site, tmp_path / "s.db", Retires, pages=4)
        answer = await other.store.claim("worker", "staff", "other", [], 2, TTL)
    assert [claim.session_id for claim in answer.held] == ["bob"]


class Loses(Worker):
    """Loses an account while a response is on its way."""

    session_config = LosesFirst


async def test_nobody_is_blamed_for_a_session_that_was_lost(site: Site, tmp_path: Path) -> None:
    """What refuses a page in a session that another process has taken says nothing of the account: the page is sent in
    another one."""
    crawler, items = await work(site, tmp_path / "s.db", Loses, pages=4)
    assert len(items) == 4
    assert session_stats(crawler)["claims_lost"] == 1
    assert "retired" not in session_stats(crawler)


class Idles(Worker):
    """Keeps the crawl open after its pages until ``enough`` is set."""

    enough: asyncio.Event

    async def start(self) -> AsyncIterator[Any]:
        self.enough = asyncio.Event()
        async for request in super().start():
            yield request
        await self.enough.wait()


async def test_an_idle_crawl_gives_them_back(site: Site, tmp_path: Path) -> None:
    """When no request of the pool has come for the length of a lease, all sessions are saved and given back."""
    crawlers: list[Crawler] = []

    def prepare(crawler: Crawler) -> None:
        crawlers.append(crawler)

    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_LEASE_TTL": 0.6, "SESSIONS_POOLS": pools()}
    crawling = asyncio.ensure_future(crawl(Idles, settings, prepare=prepare, base=site.url(""), pages=2))
    await until(lambda: len(site.journal("/page/")) == 2)
    async with other_process(tmp_path / "s.db") as other:
        await other.store.open()
        while len(await other.take(2)) < 2:
            await asyncio.sleep(0.05)
        rows = await other.store.list(now=0.0)
    spider = crawlers[0].spider
    assert isinstance(spider, Idles)
    spider.enough.set()
    crawler = await crawling
    assert sorted(info["session_id"] for info in rows) == ALL
    assert "claims_lost" not in session_stats(crawler)


class SaysLabel(SessionConfig):
    """Sends the account along."""

    def process_request(self, request: Request, session: BrowserSession) -> None:
        request.headers["X-Account"] = session.id


class Labelled(Worker):
    """A crawl among others of the same process: its *label* says which."""

    session_config = SaysLabel


@pytest.mark.heavy
async def test_while_the_store_fails_nobody_else_uses_a_session(site: Site) -> None:
    """Three crawls with four accounts, whose store fails by chance, before a call and after it: no account has requests
    of two of them at a time, and each page comes but for those whose session can't be loaded."""
    shared = Chaotic(random.Random(5))

    class Store(Chaotic):
        def __init__(self) -> None:
            self.__dict__ = shared.__dict__

    begun: set[object] = set()

    def begin(spider: Labelled) -> None:
        begun.add(spider)
        shared.rate = 0.3 if len(begun) == 3 else 0.0  # a fault at the start would end the crawl

    def prepare(crawler: Crawler) -> None:
        crawler.signals.connect(begin, signals.request_scheduled, weak=False)

    accounts = [f"account {number}" for number in range(4)]
    settings = {
        "SESSIONS_STORE": Store,
        "SESSIONS_LEASE_TTL": 9,  # long enough for several failures in a row
        "SESSIONS_POOLS": pools(accounts),
        "LOG_LEVEL": "CRITICAL",
    }
    arguments = {"base": site.url(""), "pages": 120, "ms": 30}
    crawlers = await asyncio.gather(
        *(crawl(Labelled, settings, prepare=prepare, label=f"crawl{n}", **arguments) for n in range(3))
    )
    uses = sorted((arrival.header("X-Account"), arrival.time, arrival.path) for arrival in site.journal("/crawl"))
    both = [
        (one, two)
        for one, two in itertools.pairwise(uses)
        if one[0] == two[0] and one[2].split("/")[1] != two[2].split("/")[1] and two[1] < one[1] + 0.02
    ]
    assert both == []
    assert sum(count for call, count in shared.faults.items() if call.startswith(("claim", "give_back")))
    for crawler in crawlers:
        assert crawler.stats is not None
        assert crawler.stats.get_value("finish_reason") == "finished"
        assert crawler.stats.get_value("item_scraped_count") == 120  # pages, and those that have failed


class LogsInSlowly(SessionConfig):
    """Waits between the two requests of a login, as for a code by mail."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        spider = self.crawler.spider
        assert isinstance(spider, Worker)
        await fetch(Request(f"{spider.base}/login/form"))
        await asyncio.sleep(1.5)
        await fetch(Request(f"{spider.base}/login/code"))


class Members(Worker):
    session_config = LogsInSlowly


async def test_a_login_may_take_longer_than_a_lease(site: Site, tmp_path: Path) -> None:
    """The session is renewed while nothing is in flight in it but its login."""
    settings = {"SESSIONS_LEASE_TTL": 0.4, "SESSIONS_POOLS": pools(["alice"])}
    crawler, items = await work(site, tmp_path / "s.db", Members, pages=2, settings=settings)
    assert [item["session"] for item in items] == ["alice"] * 2
    assert [arrival.path for arrival in site.journal("/login")] == ["/login/form", "/login/code"]
    assert "claims_lost" not in session_stats(crawler)


async def test_a_pause_may_take_longer_than_a_lease(site: Site, tmp_path: Path) -> None:
    """A session that the site has asked to pause isn't given back, and the pause isn't forgotten."""
    settings = {"SESSIONS_LEASE_TTL": 0.4, "SESSIONS_POOLS": pools(["alice"])}
    label = "page/0?fail=429&header=Retry-After:+2&times=1&key=pause&rest="
    _, items = await work(site, tmp_path / "s.db", pages=1, settings=settings, label=label)
    assert [item["session"] for item in items] == ["alice"]
    first, second = site.journal("/page")
    assert second.time - first.time > 1.9


@pytest.mark.parametrize("now", ["exclusive", "plain", "named"])
async def test_a_session_that_was_in_another_pool(site: Site, tmp_path: Path, now: str) -> None:
    """The settings say which pool a session is of, not the record: that pool may have other sessions by now."""
    await work(site, tmp_path / "s.db", pages=1, settings={"SESSIONS_POOLS": pools(["alice"])})
    others = {"staff": {"sessions": ["bob"], "exclusive": True}}
    if now != "named":
        others["guests"] = {"sessions": ["alice"], "exclusive": now == "exclusive"}
    meta = {"session_pool": None, "session_id": "alice"} if now == "named" else {"session_pool": "guests"}
    _, items = await work(site, tmp_path / "s.db", pages=2, settings={"SESSIONS_POOLS": others}, metas=[meta] * 2)
    assert [item["session"] for item in items] == ["alice"] * 2


class Pauses(Worker):
    """Its process is paused for longer than a lease, while a page is on its way and others are in the download slot."""

    journal: Callable[[str], list[Any]]
    sent: int | None = None
    """How many pages have been sent when the claim is renewed, some time after the pause."""

    async def start(self) -> AsyncIterator[Any]:
        exclusive = SessionRouter.of(self.crawler).exclusive
        assert exclusive is not None
        self.holdings = exclusive.holdings["staff"]
        self.crawler.signals.connect(self.pause, signals.response_downloaded)
        async for request in super().start():
            yield request

    def pause(self) -> None:
        self.crawler.signals.disconnect(self.pause, signals.response_downloaded)
        claim = self.holdings._claim

        async def later() -> Claims:
            await asyncio.sleep(0.5)
            self.sent = len(self.journal("/page/"))
            self.holdings._claim = claim  # type: ignore[method-assign]
            return await claim()

        self.holdings._claim = later  # type: ignore[method-assign]
        self.holdings._clock = lambda: time.monotonic() + TTL
        self.holdings._poked.set()  # as it would wake by itself


@pytest.mark.alone  # what is sent before the pause depends on the pace of others
async def test_what_waits_in_a_download_slot_is_not_sent_after_a_pause(site: Site, tmp_path: Path) -> None:
    """It is sent when the claim is renewed, and no page is lost."""
    settings = {"DOWNLOAD_DELAY": 0.2, "SESSIONS_POOLS": pools(["alice"])}
    crawler, items = await work(site, tmp_path / "s.db", Pauses, pages=6, settings=settings, journal=site.journal)
    spider = crawler.spider
    assert isinstance(spider, Pauses)
    assert spider.sent == 1
    assert [item["session"] for item in items] == ["alice"] * 6
    assert "claims_lost" not in session_stats(crawler)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pools": {"staff": {"size": 2, "exclusive": True}}}, "needs 'sessions'"),
        ({"pools": pools(), "store_fallback": "sqlite://"}, "unset SESSIONS_STORE_FALLBACK"),
        ({"pools": {**pools(), "rest": {"sessions": ["bob"]}}}, "'bob' of the exclusive pool 'staff' is in the pool"),
    ],
    ids=["size", "fallback", "two pools"],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    """Settings that would let two processes use one session are refused."""
    with pytest.raises(SessionConfigurationError, match=message):
        SessionsSettings.from_settings({f"SESSIONS_{name.upper()}": value for name, value in given.items()})


def test_a_store_that_has_no_claims_is_refused() -> None:
    """An exclusive pool with a store that can't give a session to one process at a time stops the crawl's start."""
    settings = {"ADDONS": ADDON, "SESSIONS_STORE": "tests.support.plain_store.PlainStore", "SESSIONS_POOLS": pools()}
    with pytest.raises(SessionConfigurationError, match="PlainStore is no ClaimStore, and the exclusive pool 'staff'"):
        get_crawler(settings_dict=settings)


async def test_it_counts_nothing_unusual(site: Site, tmp_path: Path) -> None:
    """A crawl that is never paused loses no claim, and all its saves are accepted."""
    crawler, _ = await work(site, tmp_path / "s.db", pages=8)
    assert not {"fenced", "claims_lost", "save_errors"} & set(session_stats(crawler))
