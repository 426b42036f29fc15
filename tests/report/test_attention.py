"""The report begins with what needs attention, and says nothing that its data doesn't show."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from scrapy_sessions.analytics.model import FOLDED, HOUR, Event, HourCounts
from scrapy_sessions.analytics.runs import Run
from scrapy_sessions.report import build
from scrapy_sessions.report.parts import NOT_KNOWN
from scrapy_sessions.storage import MemoryStore
from tests.support.plain_store import PlainStore
from tests.support.report_stores import NOW, empty, record, save

DAY = 24 * HOUR


def event(session_id: str, ago: float, kind: Any, detail: str = "", *, pool: str | None = "staff") -> Event:
    return Event("shop", session_id, pool, NOW - ago, kind, detail)


def bans(hours_ago: float, number: int, responses: int = 100, pool: str = "catalog") -> HourCounts:
    hour = int(NOW - hours_ago * HOUR)
    return HourCounts("shop", pool, "s", hour, blocked=number, responses={200: responses})


def run_events(started: float, reason: str | None, run_id: str = "00000001") -> list[Event]:
    run = Run(run_id, "shop", "prices", started)
    events = [Event("shop", FOLDED, None, started, "run_started", run.detail)]
    if reason is not None:
        end = run._replace(finished=started + 90, reason=reason, pages=1, requests=4)
        events.append(Event("shop", FOLDED, None, started + 90, "run_finished", end.detail))
    return events


async def alerts(store: Any, **options: Any) -> dict[str, list[str]]:
    """The entries of the first section by the heading of their alert; its text under ``""`` if there is none."""
    page = html.unescape(await build(store, now=NOW, **options))
    first = re.search(r'<section id="([^"]*)"(.*?)</section>', page, re.DOTALL)
    assert first is not None
    assert first[1] == "attention"
    found = {
        title: [re.sub(r"<[^>]*>", "", entry) for entry in re.findall(r"<li>(.*?)</li>", rest, re.DOTALL)]
        for title, rest in re.findall(r"<h3>(.*?)</h3>(.*?)</div>", first[2], re.DOTALL)
    }
    return found or {"": [re.sub(r"<[^>]*>", "", first[2].partition("</h2>")[2])]}


async def test_nothing_needs_attention() -> None:
    """A store without problems says so, and what was looked at."""
    store = empty()
    await save(store, record("alice"))
    words = (await alerts(store))[""][0]
    assert words == (
        "Nothing needs attention: no login fails, no account is retired, no pool has rising bans, no page is closed, "
        "and no run ended badly."
    )


async def test_a_store_without_analytics_says_less() -> None:
    """Of a store that has no events, only what the records contain is said."""
    store = PlainStore()
    await save(store, record("alice"))
    assert await alerts(store) == {"": ["Nothing needs attention: no login fails, no account is retired."]}


async def test_logins_that_fail() -> None:
    """A session whose last login failed is named, with the reason; one that logged in later, or is deleted, isn't."""
    store = empty()
    await save(store, *(record(name, pool="staff") for name in ("alice", "bob", "carol", "dave")))
    await store.add_analytics(
        [],
        [
            event("alice", 400, "login_failed", "no form"),
            event("alice", 300, "login", "1.0 s"),
            event("alice", 200, "login_failed", "503 at https://x.test/?pw=1"),
            event("bob", 400, "login_failed", "no form"),
            event("bob", 300, "login", "1.0 s"),
            event("carol", 400, "login_failed", "no form"),
            event("carol", 300, "login_failed", "wrong password"),
            event("carol", 299, "given_up", "could not be logged in"),
            event("dave", 400, "login_failed", "no form"),
            event("dave", 300, "deleted"),
            event("staff#9", 200, "login_failed", "an anonymous session, long replaced"),
        ],
    )
    assert await alerts(store) == {
        "Logins given up (1)": [
            "carol (staff): failed 2 times since the last login; at last: wrong password, 2026-03-01 23:55 UTC"
        ],
        "Logins that fail (1)": [
            "alice (staff): failed 1 time since the last login; at last: 503 at https://x.test/?…, 2026-03-01 23:56 UTC"
        ],
    }


async def test_retired_accounts() -> None:
    """A named session that is retired needs attention; the anonymous ones of a pool are replaced by others."""
    store = empty()
    await save(
        store,
        record("alice", pool="staff", status="retired", retired_reason="blocked at https://shop.example/ (status 403)"),
        record("bob", status="retired"),
        record("staff#3", pool="staff", status="retired", retired_reason="blocked"),
    )
    (entries,) = (await alerts(store)).values()
    assert sorted(entries) == [
        "alice (staff): blocked at https://shop.example/ (status 403), 2026-03-01 23:59 UTC",
        "bob: no reason given, 2026-03-01 23:59 UTC",
    ]


async def test_closed_pages() -> None:
    """A closed page is named with its statuses and the number of sessions, without its query."""
    store = empty()
    await save(store, record("alice"))
    detail = "https://shop.example/admin?id=… (status 403)"
    await store.add_analytics([], [event(name, 60, "closed_page", detail) for name in ("alice", "bob", "bob")])
    assert await alerts(store) == {
        "Closed pages (1)": ["https://shop.example/admin: status 403, in 2 sessions, 2026-03-01 23:59 UTC"]
    }


@pytest.mark.parametrize(
    ("rows", "rising"),
    [
        ([bans(30, 2, 1000), bans(3, 12, 1000)], True),
        ([bans(30, 5, 1000), bans(3, 6, 1000)], False),  # chance
        ([bans(30, 0, 1000), bans(3, 2, 1000)], False),  # too few
        ([bans(3, 50, 1000)], False),  # nothing to compare with
        ([bans(30, 1, 10), bans(3, 9, 1000)], False),  # hardly anything before
        ([bans(30, 50, 1000), bans(3, 50, 1000), bans(24 * 9, 0, 10**6)], False),  # longer ago than a week
        ([bans(30, 3000, 10**6), bans(3, 3400, 10**6)], True),
        ([bans(30, 3000, 10**6), bans(3, 3050, 10**6)], False),
    ],
)
async def test_rising_bans(rows: list[HourCounts], rising: bool) -> None:
    """Bans rise if there are more in the last day than chance explains: a trend from too little data isn't shown."""
    store = empty()
    await save(store, record("s", pool="catalog"))
    await store.add_analytics(rows, [])
    assert ("Pools with rising bans (1)" in await alerts(store)) is rising


async def test_the_words_of_rising_bans() -> None:
    """Both numbers are given, with their share of the responses."""
    store = empty()
    await save(store, record("s", pool="catalog"))
    await store.add_analytics([bans(30, 2, 1000), bans(3, 12, 1000)], [])
    assert await alerts(store) == {
        "Pools with rising bans (1)": [
            "catalog: 12 bans in the last day (1.2% of responses), 2 in the week before (0.2%)"
        ]
    }


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (run_events(NOW - 7200, "finished"), None),
        (run_events(NOW - 7200, "shutdown"), None),
        (run_events(NOW - 7200, None), "prices: started, and no end was recorded: it was killed, 2026-03-01 22:00 UTC"),
        (run_events(NOW - 1800, None), None),  # it may still run
        (
            run_events(NOW - 7290, "session_login_failed"),
            "prices: finished with 'session_login_failed' after 1 page, 2026-03-01 22:00 UTC",
        ),
        ([*run_events(NOW - 7200, None), *run_events(NOW - 3600, "finished", "00000002")], None),
    ],
)
async def test_runs_that_ended_badly(events: list[Event], found: str | None) -> None:
    """The last run of a spider that sessions ended, or that was killed, needs attention; an earlier one doesn't."""
    store = empty()
    await save(store, record("alice", last_activity=NOW - 7200))
    await store.add_analytics([], events)
    shown = await alerts(store)
    assert shown.get("Runs that ended badly (1)") == (None if found is None else [found])
    assert ("" in shown) is (found is None)


async def test_many_problems_stay_short() -> None:
    """Eight are named, and the others counted."""
    store = empty()
    await save(store, *(record(f"a-{n}") for n in range(130)))
    await store.add_analytics([], [event(f"a-{n}", 60 + n, "login_failed", "why", pool=None) for n in range(130)])
    ((title, entries),) = (await alerts(store)).items()
    assert title == "Logins that fail (130)"
    assert [entry.partition(":")[0] for entry in entries] == [*(f"a-{n}" for n in range(8)), "122 more"]


async def test_namespaces_are_told_apart() -> None:
    """In a report on several namespaces, each name has its own."""
    store = empty()
    bad: dict[str, Any] = {"status": "retired", "retired_reason": "why"}
    await save(store, record("alice", **bad), record("bob", namespace="news"))
    assert list((await alerts(store)).values()) == [["shop/alice: why, 2026-03-01 23:59 UTC"]]
    assert list((await alerts(store, namespace="shop")).values()) == [["alice: why, 2026-03-01 23:59 UTC"]]


async def test_the_runs_are_listed() -> None:
    """The table of runs has each run with its finish reason, the latest first."""
    store: MemoryStore = empty()
    await save(store, record("alice"))
    await store.add_analytics([], [*run_events(NOW - 9000, "shutdown"), *run_events(NOW - 60, None, "00000002")])
    page = await build(store, now=NOW)
    table = re.search(r'<table id="table-runs".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert table is not None
    rows = [re.findall(r">([^<>]+)<", row) for row in re.findall(r"<tr>(.*?)</tr>", table[1])]
    assert rows == [
        ["prices", "2026-03-01 23:59", NOT_KNOWN, "none yet", NOT_KNOWN, NOT_KNOWN],
        ["prices", "2026-03-01 21:30", "1.5 min", "shutdown", "1", "4"],
    ]
