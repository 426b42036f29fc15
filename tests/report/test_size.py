"""The size of a report is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from scrapy_sessions.analytics.model import HOUR, Event, HourCounts
from scrapy_sessions.models import Cookie, Metrics
from scrapy_sessions.report import build
from scrapy_sessions.report.aggregates import Bounded
from scrapy_sessions.report.gather import MOST_COOKIES, MOST_POOLS, MOST_SESSIONS, MOST_URLS
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.testing import Clock
from tests.support.report_stores import NOW, empty, record, save

pytestmark = pytest.mark.heavy

SESSIONS, POOLS = 11_000, 300  # more than a bounded collection keeps
LONG = "&" * 200  # five times as long when it is escaped


async def filled(file: Path, sessions: int) -> str:
    """The page on that many sessions, each with an id, pool, URL and cookie of its own, as long as may be."""
    store = SQLiteStore(file, clock=Clock(NOW))
    await store.open()
    for start in range(0, sessions, 2000):
        records = [
            record(
                f"{n:05}{LONG}",
                pool=f"pool-{n % POOLS}{LONG[:100]}",
                status="retired" if n % 2 else "ready",
                retired_reason=f"{n} {LONG}" if n % 2 else None,
                pages_visited=n,
                metrics=Metrics(requests=n, responses={"200": n, "403": 1}, failures=n % 7),
                actions_performed=[f"GET https://shop.example/{n}/{LONG} 403"],
                cookies=[Cookie(name=f"c{n}{LONG}", value="v", domain=f"{n}.example", expires=NOW + n)],
            )
            for n in range(start, min(start + 2000, sessions))
        ]
        await save(store, *records)
    names = [f"{n:05}{LONG}" for n in range(min(sessions, 300))]
    hours = [
        HourCounts(
            "shop", "pool-1", name, int(NOW - (1 + ago) * HOUR), pages=1, responses={200: 1, 302: 1, 404: 1, 500: 1}
        )
        for name in names[:20]
        for ago in range(24 * 14)
    ]
    events = [Event("shop", name, "pool-1", NOW - 60 * n, "login_failed", LONG) for name in names for n in range(30)]
    events += [Event("shop", name, "pool-1", NOW - 60 * n, "login", "9.9 s") for name in names for n in range(3)]
    await store.add_analytics(hours, events)
    page = await build(store, now=NOW)
    await store.close()
    return page


async def test_a_page_on_many_sessions_is_small(tmp_path: Path) -> None:
    """Thousands of hostile sessions make a page far below 5 MB, hardly larger than one of 1,200 sessions."""
    few, many = await filled(tmp_path / "few.db", 1200), await filled(tmp_path / "many.db", SESSIONS)
    assert len(many.encode()) < 4_000_000
    assert len(many) < 1.1 * len(few)
    assert f"{SESSIONS:,}" in many
    for kept, left_out in (
        (MOST_SESSIONS, SESSIONS - MOST_SESSIONS),
        (MOST_POOLS, POOLS - MOST_POOLS),
        (MOST_URLS, SESSIONS - MOST_URLS),
        (MOST_COOKIES, SESSIONS - MOST_COOKIES),
    ):
        assert f"{left_out:,} other " in many, kept


def test_a_bounded_collection_keeps_the_highest_weights() -> None:
    """A frequent key is kept beside thousands that come once; the dropped ones are counted."""
    found: Bounded[int, list[int]] = Bounded(lambda value: value[1])
    for n in range(30_000):
        for key in (n, -1):
            found.get(key, lambda key: [key, 0])[1] += 1
    assert len(found._values) <= 10_000
    heaviest, others = found.heaviest(1)
    assert heaviest == [[-1, 30_000]]
    assert others == 30_000


@pytest.mark.parametrize("sessions", [0, 1])
async def test_a_page_on_next_to_nothing(sessions: int) -> None:
    """A store without sessions makes a page that says so and how to change it; with one session it is a report."""
    store = empty()
    await save(store, *(record(f"s-{n}") for n in range(sessions)))
    page = await build(store, now=NOW)
    assert ("This store contains no sessions yet. Run a spider" in page) is not bool(sessions)
    assert ('id="table-sessions"' in page) is bool(sessions)


async def test_a_page_on_nothing_that_matches() -> None:
    """Asked for a pool that isn't there, the page says which options narrow it."""
    store = empty()
    await save(store, record("a", pool="catalog"))
    page = await build(store, pool="other", now=NOW)
    assert "Leave out --namespace, --pool or --since" in page
