"""Words and charts of the page."""

from __future__ import annotations

import re

import pytest

from scrapy_sessions.analytics.model import HOUR, HourCounts
from scrapy_sessions.report import build
from scrapy_sessions.report.format import in_words
from scrapy_sessions.storage import MemoryStore
from tests.support.report_stores import NOW, empty, record, save

DAY = 24.0 * HOUR


async def section(store: MemoryStore, name: str) -> str:
    """The section *name* of the page on *store*."""
    found = re.search(rf'<section id="{name}".*?</section>', await build(store, now=NOW), re.DOTALL)
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 seconds"), (89.0, "89 seconds"), (90.0, "2 minutes"), (1.4 * DAY, "34 hours"), (2.6 * DAY, "3 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """A duration is rounded to the largest unit of which there are two."""
    assert in_words(seconds) == words


async def test_the_median_in_words() -> None:
    """The median lifetime is a sentence; if more than half are still in use, that is what it says."""
    store = empty()
    ended = [
        record(f"s-{n}", start_time=NOW - 9 * DAY, last_activity=NOW - (9 - n) * DAY, idle_timeout=1.0)
        for n in range(1, 6)
    ]
    await save(store, *ended)
    words = await section(store, "survival")
    assert "Half of the sessions lasted longer than 3 days." in words
    assert "More than half of the sessions were not retired before 5 days, as far as they were observed." in words


async def test_pools_over_time() -> None:
    """Pages and bans are drawn by pool and hour, and are in a table; pools beyond the fourth are one."""
    store = empty()
    pools = [f"p{n}" for n in range(6)]
    await save(store, *(record("s", namespace=pool, pool=pool, pages_visited=9 - n) for n, pool in enumerate(pools)))
    start = int(NOW - HOUR)
    rows = [HourCounts(pool, pool, "s", start, pages=9 - n, blocked=n) for n, pool in enumerate(pools)]
    await store.add_analytics(rows, [])
    drawn = await section(store, "history")
    assert re.findall(r"<g data-from[^>]*><title>([^<]*)</title>", drawn) == [
        "2026-03-01 23:00 UTC: p0/p0 9, p1/p1 8, p2/p2 7, p3/p3 6, other pools 9 pages",
        "2026-03-01 23:00 UTC: p1/p1 1, p2/p2 2, p3/p3 3, other pools 9 bans",
    ]
    assert drawn.count("<tr>") == 1 + 6


async def test_no_ban() -> None:
    """Without a ban, that is said instead of an empty chart."""
    store = empty()
    await save(store, record("s", pool="p"))
    await store.add_analytics([HourCounts("shop", "p", "s", int(NOW - HOUR), pages=1)], [])
    drawn = await section(store, "history")
    assert "There was no ban." in drawn
    assert drawn.count('role="img"') == 1
