"""The data that a report reads from a store."""

from __future__ import annotations

from typing import Any

import pytest

from scrapy_sessions.analytics.model import FOLDED, HOUR, Event, HourCounts
from scrapy_sessions.models import Cookie, Metrics, SessionInfo
from scrapy_sessions.report import gather
from scrapy_sessions.report.data import Report, Session
from scrapy_sessions.report.gather import MOST_SESSIONS
from scrapy_sessions.storage import Key, MemoryStore
from scrapy_sessions.storage.base import Row
from scrapy_sessions.testing import Clock, make_row
from tests.support.plain_store import PlainStore
from tests.support.report_stores import NOW, empty, record, save

DAY = 24.0 * HOUR


def hour(session_id: str, hours_ago: int, *, pool: str | None = "catalog", **numbers: Any) -> HourCounts:
    return HourCounts("shop", pool, session_id, int(NOW - hours_ago * HOUR), **numbers)


def event(session_id: str, ago: float, kind: Any, detail: str = "", *, pool: str | None = "catalog") -> Event:
    return Event("shop", session_id, pool, NOW - ago, kind, detail)


def of(report: Report, session_id: str) -> Session:
    (found,) = (session for session in report.sessions if session.key.session_id == session_id)
    return found


async def test_totals_and_pools_add_up() -> None:
    """Totals are of all sessions, a pool's of its own; records give the counters, hours what records don't have."""
    store = empty()
    numbers = Metrics(requests=12, responses={"200": 8, "403": 2}, logins=2, failures=1)
    await save(
        store,
        record("a", pool="catalog", pages_visited=8, metrics=numbers),
        record("b", pool="catalog", status="retired", retired_reason="blocked", pages_visited=3),
        record("late", pool="catalog", idle_timeout=10.0),
        record("alice", pages_visited=4, status="new", metrics=numbers),
    )
    await store.add_analytics([hour("a", 2, logins=1, login_failures=3, login_seconds=4.5, blocked=1)], [])
    report = await gather(store, now=NOW)
    totals = report.totals
    assert totals.states == {"ready": 1, "retired": 1, "expired": 1, "new": 1}
    assert (totals.sessions, totals.pools, totals.pages, totals.requests, totals.answered) == (4, 1, 15, 24, 20)
    assert (totals.errors, totals.logins, totals.login_failures, totals.blocked) == (4, 4, 3, 1)
    assert totals.login_time == 4.5
    pools = {pool.name: pool for pool in report.pools}
    assert set(pools) == {"catalog", None}
    assert pools["catalog"].states == {"ready": 1, "retired": 1, "expired": 1}
    assert (pools["catalog"].pages, pools["catalog"].errors, pools["catalog"].blocked) == (11, 2, 1)
    assert of(report, "late").reason == "idle_timeout"


async def test_namespace_pool_and_time_narrow_it() -> None:
    """Only sessions of the namespace and pool asked for are in it, and those active since the time asked for."""
    store = empty()
    await save(
        store,
        record("a", pool="catalog"),
        record("b", pool="staff"),
        record("c", pool="catalog", namespace="other"),
        record("d", pool="catalog", start_time=NOW - 9 * DAY, last_activity=NOW - 5 * DAY),
    )
    rows = [hour("a", 3, pages=5), hour("b", 3, pool="staff", pages=7), hour("d", 5 * 24, pages=11)]
    await store.add_analytics(rows, [event("d", 5 * DAY, "login"), event("gone", 5 * DAY, "deleted")])
    report = await gather(store, namespace="shop", pool="catalog", since=NOW - DAY, now=NOW)
    assert [session.key for session in report.sessions] == [Key("shop", "a")]
    assert [bucket.pages for bucket in report.buckets] == [5]


async def test_the_first_hour_of_a_report_adds_no_removed_sessions() -> None:
    """A session that was active in the first hour, but before the time asked for, doesn't count as removed."""
    store = empty()
    await save(store, record("early", last_activity=NOW - 5 * HOUR + 60))
    await store.add_analytics([hour("early", 5, pages=1)], [])
    report = await gather(store, since=NOW - 5 * HOUR + 1800, now=NOW)
    assert report.sessions == []


async def test_removed_sessions_are_shown_from_their_events() -> None:
    """A session without a record has its creation time, its end, and the counters of its hours."""
    store = empty()
    await store.add_analytics(
        [hour("gone", 9, pages=6, requests=7, responses={200: 6, 403: 1}), hour("gone", 8, pages=2)],
        [
            event("gone", 10 * HOUR, "created"),
            event("gone", 9 * HOUR, "login"),
            event("gone", 4 * HOUR, "expired", "max_age"),
        ],
    )
    report = await gather(store, now=NOW)
    gone = of(report, "gone")
    assert (gone.state, gone.reason, gone.pool) == ("removed", "expired: max_age", "catalog")
    assert (gone.created, gone.ended) == (NOW - 10 * HOUR, NOW - 4 * HOUR)
    assert (gone.pages, gone.answered) == (8, 7)
    assert [mark.kind for mark in gone.marks] == ["created", "login", "expired"]
    assert (report.totals.sessions, report.totals.states["removed"]) == (0, 1)


async def test_sessions_of_one_id() -> None:
    """An id that was blocked, deleted and created again has two lifetimes; the second one has not ended."""
    store = empty()
    await save(store, record("a", start_time=NOW - 2 * HOUR, last_activity=NOW - HOUR))
    await store.add_analytics(
        [],
        [
            event("a", 9 * HOUR, "created"),
            event("a", 6 * HOUR, "blocked", "blocked at https://shop.example/"),
            event("a", 5 * HOUR, "deleted"),
            event("a", 2 * HOUR, "created"),
        ],
    )
    report = await gather(store, now=NOW)
    assert [(each.exit, each.ended, each.retired) for each in report.lifetimes] == [
        (3 * HOUR, True, True),
        (HOUR, False, False),
    ]
    assert of(report, "a").ended is None


async def test_folded_hours_count_for_their_pool() -> None:
    """Hours that belong to no session any more keep their traffic, bans and logins, and make no session."""
    store = empty()
    await store.add_analytics([hour(FOLDED, 30, pages=9, blocked=2, logins=3, login_seconds=6.0)], [])
    report = await gather(store, now=NOW)
    assert (report.buckets[0].pages, report.totals.blocked, report.totals.login_time) == (9, 2, 2.0)
    assert (report.pools[0].name, report.pools[0].blocked) == ("catalog", 2)
    assert report.sessions == []


async def test_bars_get_wider_with_the_time_they_cover() -> None:
    """A month of hours is drawn with no more bars than a week has, and none is lost."""
    store = empty()
    await store.add_analytics([hour("a", ago, pages=1) for ago in range(1, 30 * 24)], [])
    report = await gather(store, now=NOW)
    assert report.bucket_seconds == 6 * HOUR
    assert len(report.buckets) <= 168
    assert sum(bucket.pages for bucket in report.buckets) == 30 * 24 - 1


async def test_errors_by_url() -> None:
    """A URL has the errors of all histories and the bans that name it, whatever its query was."""
    store = empty()
    bad = "GET https://shop.example/search?q=1 403"
    await save(
        store,
        record("a", actions_performed=[bad, bad, "GET https://shop.example/ 200", "looked at 403"]),
        record("b", actions_performed=[bad.replace("q=1", "q=2"), "GET https://shop.example/x 500"]),
    )
    await store.add_analytics([], [event("c", 60, "blocked", "blocked at https://shop.example/search?q=…")])
    report = await gather(store, now=NOW)
    assert [(each.url, dict(each.statuses), each.sessions, each.bans) for each in report.urls] == [
        ("https://shop.example/search", {403: 3}, 2, 1),
        ("https://shop.example/x", {500: 1}, 1, 0),
    ]


async def test_lifetimes_of_cookies() -> None:
    """Cookies are counted by name and domain: their lifetimes from when they were set, and their ages."""
    store = empty()

    def cookie(name: str, age: float, lifetime: float | None) -> Cookie:
        created = NOW - age
        expires = None if lifetime is None else created + lifetime
        return Cookie(name=name, value="v", domain="shop.example", expires=expires, created=created, updated=created)

    await save(
        store,
        record("a", cookies=[cookie("sid", 60, None), cookie("tag", 2 * DAY, DAY)]),
        record("b", cookies=[cookie("sid", 120, HOUR)]),
    )
    report = await gather(store, now=NOW)
    sid, tag = report.cookies
    assert (sid.name, sid.count, sid.dated, sid.lifetime, sid.expired, sid.age, sid.oldest) == (
        *("sid", 2, 1, HOUR, 0),
        *(180, 120),
    )
    assert (tag.name, tag.count, tag.dated, tag.lifetime, tag.expired) == ("tag", 1, 1, DAY, 1)
    assert report.cookie_lifetimes == {"no date": 1, "up to 1 hour": 1, "up to 1 day": 1}
    assert report.cookie_ages == {"up to 1 hour": 2, "up to 1 week": 1}


async def test_sessions_with_most_problems_and_most_pages_are_shown() -> None:
    """Of more sessions than are shown individually, half have the most problems, the others are the most active."""
    store = empty()
    quiet = [record(f"quiet-{n}", pages_visited=1) for n in range(MOST_SESSIONS + 50)]
    problematic = [record(f"bad-{n}", metrics=Metrics(failures=1 + n)) for n in range(MOST_SESSIONS)]
    active = [record(f"busy-{n}", pages_visited=100 + n) for n in range(10)]
    await save(store, *quiet, *problematic, *active)
    report = await gather(store, now=NOW)
    names = [session.key.session_id for session in report.sessions]
    assert len(names) == MOST_SESSIONS
    assert names[0] == f"bad-{MOST_SESSIONS - 1}"
    assert sum(name.startswith("bad") for name in names) == MOST_SESSIONS // 2
    assert {f"busy-{n}" for n in range(10)} <= set(names)
    assert report.totals.sessions == 2 * MOST_SESSIONS + 60


class Busy(MemoryStore):
    """A store in which a crawl moves a session, not read yet, to the front while the first page is read."""

    moved = False

    async def list_with_expiry(self, **options: Any) -> list[tuple[SessionInfo, float | None]]:
        page = await super().list_with_expiry(**options)
        if not self.moved:
            self.moved = True
            row = await self.load(Key("shop", "s-5999"))
            assert row is not None
            moved = record("s-5999", revision=2, start_time=row.start_time, last_activity=NOW)
            await save(self, moved)
            await save(self, record("s-new", start_time=NOW, last_activity=NOW))
        return page


async def test_sessions_that_move_while_they_are_read() -> None:
    """A session that a running crawl touches between two pages, or makes, is in the report once."""
    store = Busy(clock=Clock(NOW))
    await save(store, *(record(f"s-{n}", last_activity=NOW - 10 - n) for n in range(6000)))
    report = await gather(store, now=NOW)
    assert report.totals.sessions == 6001


async def test_a_store_without_analytics() -> None:
    """The records alone still make a report; it says where the store is, without a password."""
    store = PlainStore()
    store.location = "plain://user:hunter2@server/0"
    await save(store, record("a", pages_visited=3))
    report = await gather(store, now=NOW)
    assert not report.analytics
    assert (report.totals.pages, report.buckets) == (3, [])
    assert report.location == "plain://server"


async def test_records_that_cannot_be_read() -> None:
    """An unreadable record is counted, left out and stays in the store; quarantined ones are counted too."""
    store = empty()
    row: Row = make_row("broken")
    await store.save([row, make_row("aside")])
    await store.quarantine(Key("shop", "aside"), 1, "why")
    await save(store, record("a"))
    report = await gather(store, now=NOW)
    assert (report.totals.unreadable, report.totals.quarantined, report.totals.sessions) == (1, 1, 1)
    assert await store.load(row.key) == row


async def test_progress_is_reported() -> None:
    """The callback gets the number of sessions of each page."""
    store = empty()
    await save(store, *(record(f"s-{n}") for n in range(700)))
    progress: list[int] = []
    await gather(store, now=NOW, on_progress=progress.append)
    assert progress == [500, 200]


@pytest.mark.parametrize("kind", ["blocked", "retired"])
async def test_a_retired_session_ended_when_it_was_retired(kind: str) -> None:
    """Its end is that of the event, also if its last response came later."""
    store = empty()
    await save(store, record("a", status="retired", retired_reason="why", last_activity=NOW - 60))
    await store.add_analytics([], [event("a", 2 * HOUR, kind)])
    report = await gather(store, now=NOW)
    assert of(report, "a").ended == NOW - 2 * HOUR
    assert report.lifetimes[0].retired
