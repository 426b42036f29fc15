"""The counters that a crawl stores are those of the site itself."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import SessionConfig, Verdict
from scrapy_sessions.analytics.model import FOLDED, Event, HourCounts, summed
from scrapy_sessions.storage import SQLiteStore
from tests.support.crawl import crawl, session_stats, sqlite_url, start
from tests.support.login_configs import Fails
from tests.support.shop import Shop, buy
from tests.support.site import Site
from tests.support.spiders.pages import Pages, Steady
from tests.support.waiting import HANG


async def kept(path: Path) -> tuple[list[HourCounts], list[Event]]:
    """The rows of the store at *path*, and the events of its sessions, oldest first."""
    store = SQLiteStore(path)
    await store.open()
    try:
        events = [event for event in await store.events(None) if event.session_id != FOLDED]
        return await store.hour_counts(None), events[::-1]
    finally:
        await store.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_store_counts_what_the_site_received(tmp_path: Path, site: Site) -> None:
    """Requests, statuses, pages and bytes of each session are those of the site's own journal, redirects included."""
    site.reset()
    jar = object()
    urls: list[tuple[str, dict[str, Any]]] = [
        (site.url("/answer", who=who, n=n, body="x" * n, encoding="identity"), {"session_id": who})
        for who, times in (("alice", 5), ("bob", 2))
        for n in range(1, times + 1)
    ]
    urls += [(site.url("/answer", who="pool", n=n), {"session_pool": "shop"}) for n in range(4)]
    urls += [(site.url("/answer", who="alice", status=404), {"session_id": "alice"})]
    urls += [(site.url("/answer", who="jar", n=n), {"cookiejar": jar}) for n in range(3)]
    urls += [
        (site.url("/chain/3", then=site.url("/answer")), {"session_id": "hop"}),
        (f"http://127.0.0.1:{free_port()}/", {"session_id": "down"}),
    ]
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_POOLS": {"shop": {"size": 2}}}
    await crawl(Pages, {**settings, "USER_AGENT": "counts/1"}, urls=urls)
    rows, events = await kept(tmp_path / "s.db")
    by_session = summed(rows, lambda row: (row.pool, "any" if row.pool else row.session_id))
    assert {name: (row.requests, row.responses, row.pages, row.failures) for name, row in by_session.items()} == {
        (None, "alice"): (6, {200: 5, 404: 1}, 6, 0),
        (None, "bob"): (2, {200: 2}, 2, 0),
        (None, "hop"): (5, {302: 4, 200: 1}, 1, 0),
        (None, "down"): (1, {}, 0, 1),
        (None, FOLDED): (3, {200: 3}, 3, 0),  # a jar lives for one crawl: its session has no name that lasts
        ("shop", "any"): (4, {200: 4}, 4, 0),
    }
    ours = [seen for seen in site.journal() if seen.header("User-Agent") == "counts/1"]  # the site serves all tests
    assert sum(row.requests for row in rows) == len(ours) + 1  # one found nobody there
    assert by_session[None, "bob"].bytes == 3
    assert 0 < by_session[None, "alice"].latency < 30
    assert Counter(event.kind for event in events) == {"created": 6}
    assert {event.session_id: event.pool for event in events}["shop#1"] == "shop"


async def test_a_second_run_adds_its_counts(tmp_path: Path, site: Site) -> None:
    """A restored session counts from its stored numbers: they are not counted again, and there is no event."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    for times in (3, 2):
        await crawl(Pages, settings, urls=[(site.url("/answer"), {"session_id": "alice"})] * times)
    rows, events = await kept(tmp_path / "s.db")
    assert [(row.requests, row.pages, row.responses) for row in summed(rows, lambda row: row.pool).values()] == [
        (5, 5, {200: 5})
    ]
    assert [event.kind for event in events] == ["created"]


async def test_two_processes_add_up(tmp_path: Path, site: Site) -> None:
    """Two simultaneous crawls that share their sessions count together what the site received from both."""
    site.reset()
    path = tmp_path / "s.db"
    settings = {"SESSIONS_STORE": sqlite_url(path), "SESSIONS_SAVE_INTERVAL": 0.05, "LOG_LEVEL": "ERROR"}
    arguments = {"site": site.url(""), "sessions_used": ["alice", "bob"], "pages": 60}
    crawls = [start(Steady, settings, arguments) for _ in range(2)]
    await asyncio.to_thread(lambda: [each.communicate(timeout=HANG) for each in crawls])
    assert [each.returncode for each in crawls] == [0, 0]
    rows, events = await kept(path)
    by_session = summed(rows, lambda row: row.session_id)
    seen = len(site.journal("/answer"))
    assert seen == 240
    assert {name: (row.requests, row.pages, row.responses) for name, row in by_session.items()} == {
        name: (120, 120, {200: 120}) for name in ("alice", "bob")
    }
    assert sorted(event.session_id for event in events) == ["alice", "bob"]


async def test_logins_and_expiries(tmp_path: Path, shop: Shop) -> None:
    """A login is an event with its duration; several responses without the login are one event."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    await buy(shop, settings, [{"path": "/secret/1"}])
    shop.expire()
    await buy(shop, settings, [{"path": f"/secret/{n}?token=hunter2"} for n in range(5)])
    rows, events = await kept(tmp_path / "s.db")
    total = summed(rows, lambda row: row.namespace)["buyer"]
    assert (total.logins, total.login_failures) == (2, 0)
    assert 0 < total.login_seconds < 30
    assert [event.kind for event in events] == ["created", "login", "expired_login", "login"]
    assert all(re.fullmatch(r"\d+\.\d s", event.detail) for event in events if event.kind == "login")
    assert (events[2].url or "").startswith(shop.url("/secret/"))
    assert (events[2].url or "").endswith("?token=…")
    assert total.requests == len(shop.arrivals)


async def test_logins_that_fail(tmp_path: Path, shop: Shop) -> None:
    """Each failed login is an event with its reason, but without the message of the exception."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_LOGIN_ATTEMPTS": 2}
    await buy(shop, settings, [{"path": "/secret/1", "meta": {"session_id": "alice"}}], Fails)
    rows, events = await kept(tmp_path / "s.db")
    failed = [event.detail for event in events if event.kind == "login_failed"]
    assert len(failed) == 2
    assert all(detail.startswith("ValueError at ") and "hunter2" not in detail for detail in failed)
    assert [(row.logins, row.login_failures) for row in rows] == [(0, 2)]
    (given_up,) = [event for event in events if event.kind == "given_up"]
    assert (given_up.session_id, given_up.detail.partition(";")[0]) == (
        "alice",
        "could not be logged in, in 2 attempts",
    )


class Forbids(SessionConfig):
    """A page with 403 is a block."""

    def check(self, response: Response, request: Request) -> Verdict:
        return {403: Verdict.BLOCKED, 418: Verdict.SUSPECT}.get(response.status, Verdict.OK)


async def test_blocks(tmp_path: Path, site: Site) -> None:
    """A block is counted and recorded with its URL, then the end of the session; a suspect is counted."""
    pool = {"session_pool": "shop"}
    urls = [(site.url("/fail", times=1, key="a", fail=403, password="hunter2"), pool)]
    urls += [(site.url("/answer", status=418), {"session_id": "alice"})]
    settings = {
        "SESSIONS_STORE": sqlite_url(tmp_path / "s.db"),
        "SESSIONS_POOLS": {"shop": {"size": 1}},
        "SESSIONS_CONFIG": Forbids,
        "SESSIONS_RETRY_TIMES": 1,
    }
    site.reset()
    crawler = await crawl(Pages, settings, urls=urls)
    rows, events = await kept(tmp_path / "s.db")
    by_pool = summed(rows, lambda row: row.pool)
    assert (by_pool["shop"].blocked, by_pool["shop"].suspects) == (1, 0)
    assert (by_pool[None].blocked, by_pool[None].suspects) == (0, 2)
    assert session_stats(crawler)["verdicts/suspect"] == 2
    ends = [event for event in events if event.kind in ("blocked", "retired")]
    assert [(event.kind, event.session_id, event.pool) for event in ends] == [
        ("blocked", "shop#1", "shop"),
        ("retired", "shop#1", "shop"),
    ]
    assert all((event.url or "").startswith(site.url("/fail?times=…")) for event in ends)
    assert all(event.detail.endswith(" (status 403)") for event in ends)
    assert "hunter2" not in str(events)
